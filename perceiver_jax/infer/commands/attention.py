"""predict --task=attention: what the latents looked at, as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from perceiver_jax.infer.commands import classify, cloud_inputs, fill_mask
from perceiver_jax.infer.commands.names import distinct

if TYPE_CHECKING:
    from perceiver_jax.infer.attention_maps import AttentionMaps
    from perceiver_jax.infer.commands.report import Report
    from perceiver_jax.infer.loaded import LoadedModel

_LATENTS_SHOWN = 6
_TOP = 10


def define_flags() -> None:
    """Defines the flags of this task."""
    flags.DEFINE_list(
        "latents", None, f"Which latents to show; {_LATENTS_SHOWN} evenly spaced ones without it."
    )
    flags.DEFINE_bool("per_head", False, "Shows each head on its own instead of their mean.")
    flags.DEFINE_bool(
        "save_maps",
        False,
        "Also writes all maps as .npy, [cross-attends, heads, latents, *grid], and of a cloud its "
        "points in their order.",
    )
    classify.define_image_flags()
    cloud_inputs.define_flags()
    fill_mask.define_text_flags()
    for module in (classify, cloud_inputs, fill_mask):
        flags.adopt_module_key_flags(module)  # So that --help shows them here.


def run(loaded: "LoadedModel", inputs: list[str], report: "Report") -> None:
    """Draws the attention to images, texts, sounds or clouds of points, as the model reads them."""
    from perceiver_jax import zoo

    out_dir = report.require_out_dir("Pictures of attention")
    assert not isinstance(loaded.config, zoo.BaselineConfig)
    preprocessor = loaded.config.preprocessor
    if isinstance(preprocessor, zoo.ImageConfig):
        _images(loaded, inputs, report, out_dir)
    elif isinstance(preprocessor, zoo.TokensConfig):
        _texts(loaded, inputs, report, out_dir)
    elif isinstance(preprocessor, zoo.PointsConfig):
        _clouds(loaded, inputs, report, out_dir)
    else:
        _sounds(loaded, inputs, report, out_dir)


def _images(loaded: "LoadedModel", inputs: list[str], report: "Report", out_dir: Path) -> None:
    from perceiver_jax.errors import DataError
    from perceiver_jax.infer import attention_maps, attention_plots, class_names, images
    from perceiver_jax.infer.classify import image_channels, image_shape, top
    from perceiver_jax.infer.progress import progress

    loaded = classify.prepare_model(loaded)
    shape, channels = image_shape(loaded.config), image_channels(loaded.config)
    paths = classify.find_images(inputs, report)
    stems = distinct([path.stem for path in paths])
    for path, stem in zip(progress(paths, "attention", len(paths)), stems, strict=True):
        try:
            image = images.fit(images.read_image(path, channels=channels), shape)
        except DataError as error:
            report.failure(error)
            continue
        prepared = images.scale(image, flags.FLAGS.normalize)
        maps = attention_maps.cross_attends(loaded, prepared[None])
        names = class_names.for_outputs(len(maps.outputs), loaded.class_names)
        (best,) = top(maps.outputs, names, 1)
        rows = attention_maps.rows(maps, _latents(maps), per_head=flags.FLAGS.per_head)
        picture = out_dir / f"{stem}.attention.png"
        attention_plots.draw_image(
            picture,
            image,
            rows,
            title=f"{path.name}: {best.name} ({best.probability:.0%})",
        )
        record = {"predicted": best.name, "probability": best.probability}
        _tell(report, str(path), maps, picture, record, f"{best.name} ({best.probability:.1%})")


def _texts(loaded: "LoadedModel", inputs: list[str], report: "Report", out_dir: Path) -> None:
    from perceiver_jax.errors import DataError
    from perceiver_jax.infer import attention_maps, attention_plots
    from perceiver_jax.infer import fill_mask as filling

    length = filling.text_length(loaded.config)
    special = flags.FLAGS.special_tokens
    hidden = flags.FLAGS.mask_span is not None or flags.FLAGS.mask_text is not None
    for number, text in enumerate(inputs, start=1):
        masked = hidden or filling.has_marks(text)
        try:
            ids = fill_mask.mask(text).ids if masked else filling.encode(text)
            padded, mask = filling.pad(ids, length, special_tokens=special)
        except DataError as error:
            report.failure(error)
            continue
        maps = attention_maps.cross_attends(loaded, padded[None], mask[None])
        # Nothing is read of the padding.
        maps = attention_maps.restrict(maps, int(mask.sum()))
        shown = [filling.token_name(token) for token in padded[: int(mask.sum())]]
        rows = attention_maps.rows(maps, _latents(maps), per_head=flags.FLAGS.per_head)
        picture = out_dir / f"text-{number}.attention.png"
        attention_plots.draw_text(picture, shown, rows)
        tops = {line[0].label: _most_read(line[0].weights, shown) for line in rows}
        lines = [
            f"{label}\n"
            + "\n".join(
                f"{each['weight']:8.2%}  {each['position']:5}  {each['text']!r}" for each in most
            )
            for label, most in tops.items()
        ]
        _tell(report, text, maps, picture, {"most_read": tops}, "\n".join(lines))


def _clouds(loaded: "LoadedModel", inputs: list[str], report: "Report", out_dir: Path) -> None:
    import numpy as np

    from perceiver_jax.atomic import replacing
    from perceiver_jax.errors import DataError
    from perceiver_jax.infer import attention_maps, attention_plots, class_names
    from perceiver_jax.infer.classify import top
    from perceiver_jax.infer.progress import progress

    loaded, read = cloud_inputs.prepare(loaded, report)
    paths = cloud_inputs.find_clouds(inputs, report)
    stems = distinct([path.stem for path in paths])
    for path, stem in zip(progress(paths, "attention", len(paths)), stems, strict=True):
        try:
            cloud = read(path)
        except DataError as error:
            report.failure(error)
            continue
        maps = attention_maps.cross_attends(loaded, cloud[None])
        names = class_names.for_outputs(len(maps.outputs), loaded.class_names)
        (best,) = top(maps.outputs, names, 1)
        rows = attention_maps.rows(maps, _latents(maps), per_head=flags.FLAGS.per_head)
        picture = out_dir / f"{stem}.attention.png"
        title = f"{path.name}: {best.name} ({best.probability:.0%})"
        attention_plots.draw_points(picture, cloud, rows, title=title)
        record = {"predicted": best.name, "probability": best.probability}
        points = out_dir / f"{stem}.points.npy"
        if flags.FLAGS.save_maps:
            with replacing(points) as temporary:
                np.save(temporary, cloud)
            record["points"] = str(points)
        _tell(report, str(path), maps, picture, record, f"{best.name} ({best.probability:.1%})")
        if flags.FLAGS.save_maps:
            report.file(points)


def _sounds(loaded: "LoadedModel", inputs: list[str], report: "Report", out_dir: Path) -> None:
    from perceiver_jax import zoo
    from perceiver_jax.data.media import sound
    from perceiver_jax.errors import DataError
    from perceiver_jax.infer import attention_maps, attention_plots

    assert not isinstance(loaded.config, zoo.BaselineConfig)
    preprocessor = loaded.config.preprocessor
    assert isinstance(preprocessor, zoo.AudioConfig)
    stems = distinct([Path(path).stem for path in inputs])
    for path, stem in zip(inputs, stems, strict=True):
        try:
            signal = sound.read_sound(path)
        except DataError as error:
            report.failure(error)
            continue
        if len(signal) != preprocessor.num_samples:
            report.note(
                f"{path}: {len(signal)} samples, and the model reads the first "
                f"{preprocessor.num_samples}; what is missing is silence."
            )
        signal = sound.fit_sound(signal, preprocessor.num_samples)
        maps = attention_maps.cross_attends(loaded, signal[None, :, None])
        rows = attention_maps.rows(maps, _latents(maps), per_head=flags.FLAGS.per_head)
        picture = out_dir / f"{stem}.attention.png"
        attention_plots.draw_audio(picture, signal, rows)
        _tell(report, path, maps, picture, {}, "")


def _tell(
    report: "Report",
    name: str,
    maps: "AttentionMaps",
    picture: Path,
    record: dict[str, Any],
    text: str,
) -> None:
    """Reports one input: what all kinds have in common, and `record`."""
    import numpy as np

    from perceiver_jax.atomic import replacing

    common = {
        "input": name,
        "cross_attends": list(maps.names),
        "heads": maps.num_heads,
        "latents": maps.num_latents,
        "grid": list(maps.grid),
        "shown_latents": list(_latents(maps)),
        "picture": str(picture),
    }
    files = [picture]
    if flags.FLAGS.save_maps:
        saved = picture.with_suffix(".npy")
        with replacing(saved) as temporary:
            np.save(temporary, maps.weights)
        files.append(saved)
        common["maps"] = str(saved)
    report.result({**common, **record}, "\n".join([name, *([text] if text else [])]))
    for file in files:
        report.file(file)


def _latents(maps: "AttentionMaps") -> tuple[int, ...]:
    from perceiver_jax.errors import ConfigError
    from perceiver_jax.infer.attention_maps import choose_latents

    texts = flags.FLAGS.latents
    if texts is None:
        return choose_latents(maps.num_latents, _LATENTS_SHOWN)
    chosen = tuple(int(text) if text.strip().isdecimal() else -1 for text in texts)
    if not all(0 <= latent < maps.num_latents for latent in chosen):
        raise ConfigError(
            f"--latents={','.join(texts)}: give numbers from 0 to {maps.num_latents - 1}, the "
            "latents of this model."
        )
    return chosen


def _most_read(weights: Any, shown: list[str]) -> list[dict[str, Any]]:
    order = (-weights).argsort(kind="stable")[:_TOP]
    return [
        {"position": int(index), "text": shown[index], "weight": float(weights[index])}
        for index in order
    ]
