"""Where clips lie: times worked out by hand, and sound that is cut where frames are."""

import numpy as np

from perceiver_jax.data.audioset.clip_times import Clip, length, random_clip, spread_clips


def test_sixteen_clips_over_ten_seconds() -> None:
    starts = [clip.first for clip in spread_clips(250, 32, 16)]
    # Every 218 / 15 = 14.533 frames, from 0 to the start of the last 1.28 s of 10 s.
    assert starts == [0, 15, 29, 44, 58, 73, 87, 102, 116, 131, 145, 160, 174, 189, 203, 218]
    assert {clip.num_frames for clip in spread_clips(250, 32, 16)} == {32}
    shown = np.concatenate([clip.frames_of(250) for clip in spread_clips(250, 32, 16)])
    assert set(shown) == set(range(250))  # They overlap, and together cover all of it.
    assert [clip.first for clip in spread_clips(42, 32, 3)] == [0, 5, 10]
    assert [clip.first for clip in spread_clips(42, 32, 1)] == [5]
    assert [clip.first for clip in spread_clips(20, 32, 4)] == [0, 0, 0, 0]


def test_sound_is_cut_where_frames_are() -> None:
    # Each sample says which frame is shown with it.
    samples = np.repeat(np.arange(250, dtype=np.int16), 1920)
    for clip in spread_clips(250, 32, 16):
        heard = clip.cut_sound(samples)
        assert heard.shape == (61_440,) == (clip.num_samples,)
        np.testing.assert_array_equal(heard, np.repeat(clip.frames_of(250), 1920))


def test_what_is_missing_is_silence_and_the_last_frame() -> None:
    clip = Clip(first=3, num_frames=4)
    samples = np.arange(1, 4 * 1920 + 1 + 960, dtype=np.int16)  # 4.5 frames.
    heard = clip.cut_sound(samples)
    np.testing.assert_array_equal(heard[:2880], samples[3 * 1920 :])
    assert heard.shape == (7680,) and not heard[2880:].any()
    assert list(clip.frames_of(5)) == [3, 4, 4, 4]
    assert list(clip.frames_of(2)) == [1, 1, 1, 1]
    assert not clip.cut_sound(samples[:1000]).any()
    # A recording lasts until the later end of its streams.
    assert [length(5, 0), length(5, 5 * 1920), length(5, 5 * 1920 + 1), length(0, 1)] == [
        5,
        5,
        6,
        1,
    ]


def test_random_clips_start_anywhere_as_often() -> None:
    drawn = [random_clip(42, 32, np.random.default_rng(seed)).first for seed in range(1100)]
    counts = np.bincount(drawn, minlength=11)
    assert len(counts) == 11 and 60 < counts.min() and counts.max() < 140
    assert random_clip(32, 32, np.random.default_rng(0)) == Clip(0, 32)
    assert random_clip(7, 32, np.random.default_rng(0)) == Clip(0, 32)
