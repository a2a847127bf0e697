"""Moving between space and channels: patches of images and videos."""

import jax
import jax.numpy as jnp


def space_to_depth(
    x: jax.Array,  # [b, y, x, c] or [b, t, y, x, c]
    *,
    temporal_block: int = 1,
    spatial_block: int = 1,
) -> jax.Array:
    """Turns non-overlapping blocks into channels, ordered (time, row, column, channel).

    Returns:
      [b, y / s, x / s, s * s * c] for an image, with s = spatial_block; for a video with
      k = temporal_block, [b, t / k, y / s, x / s, k * s * s * c].

    Raises:
      ValueError: `x` is no image or video, or its size is not a multiple of the block's.
    """
    blocks = _blocks(x, temporal_block, spatial_block)
    dims = x.shape[1:-1]
    for size, block in zip(dims, blocks, strict=True):
        if size % block:
            raise ValueError(
                f"an input of size {dims} cannot be cut into patches of {blocks}: {size} is not a "
                f"multiple of {block}. Crop or resize it."
            )
    split: list[int] = [x.shape[0]]
    for size, block in zip(dims, blocks, strict=True):
        split += [size // block, block]
    n = len(dims)
    outer, inner = range(1, 2 * n + 1, 2), range(2, 2 * n + 1, 2)
    x = x.reshape(*split, x.shape[-1]).transpose(0, *outer, *inner, 2 * n + 1)
    return x.reshape(*x.shape[: n + 1], -1)


def depth_to_space(
    x: jax.Array,  # [b, y, x, c] or [b, t, y, x, c]
    *,
    temporal_block: int = 1,
    spatial_block: int = 1,
) -> jax.Array:
    """The inverse of `space_to_depth`.

    Raises:
      ValueError: `x` is no image or video, or its channels do not fill a block.
    """
    blocks = _blocks(x, temporal_block, spatial_block)
    dims = x.shape[1:-1]
    block_size = 1
    for block in blocks:
        block_size *= block
    if x.shape[-1] % block_size:
        raise ValueError(
            f"{x.shape[-1]} channels cannot be spread over blocks of {blocks}: they are not a "
            f"multiple of {block_size}."
        )
    n = len(dims)
    x = x.reshape(x.shape[0], *dims, *blocks, x.shape[-1] // block_size)
    interleaved = [axis for i in range(n) for axis in (1 + i, 1 + n + i)]
    x = x.transpose(0, *interleaved, 2 * n + 1)
    sizes = [size * block for size, block in zip(dims, blocks, strict=True)]
    return x.reshape(x.shape[0], *sizes, x.shape[-1])


def extract_patches(
    images: jax.Array,  # [b, y, x, c]
    *,
    sizes: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    rates: tuple[int, int] = (1, 1),
    padding: str = "VALID",
) -> jax.Array:  # [b, y', x', sizes[0] * sizes[1] * c]
    """Overlapping patches as channels, ordered (row, column, channel).

    Args:
      images: the images.
      sizes: height and width of a patch.
      strides: distance of neighbouring patches.
      rates: distance of neighbouring samples within a patch.
      padding: "VALID", only patches inside the image, or "SAME", zeros around it.

    Raises:
      ValueError: the arguments are no image, or no known padding.
    """
    if images.ndim != 4:
        raise ValueError(f"extract_patches takes [batch, y, x, channels]; got {images.shape}.")
    extents = [(size - 1) * rate + 1 for size, rate in zip(sizes, rates, strict=True)]
    if padding == "SAME":
        pads = [(0, 0)]
        for size, extent, stride in zip(images.shape[1:3], extents, strides, strict=True):
            total = max((-(-size // stride) - 1) * stride + extent - size, 0)
            pads.append((total // 2, total - total // 2))
        images = jnp.pad(images, [*pads, (0, 0)])
    elif padding != "VALID":
        raise ValueError(f"padding must be 'VALID' or 'SAME'; got {padding!r}.")
    counts = [
        (size - extent) // stride + 1
        for size, extent, stride in zip(images.shape[1:3], extents, strides, strict=True)
    ]
    # Slices rather than a convolution with one-hot kernels: exact, and the same on every backend.
    pieces = [
        images[
            :,
            row * rates[0] : row * rates[0] + (counts[0] - 1) * strides[0] + 1 : strides[0],
            column * rates[1] : column * rates[1] + (counts[1] - 1) * strides[1] + 1 : strides[1],
        ]
        for row in range(sizes[0])
        for column in range(sizes[1])
    ]
    return jnp.concatenate(pieces, axis=-1)


def neighbourhoods(frames: jax.Array, size: int) -> jax.Array:
    """Each pixel's `size` x `size` surroundings as its channels, zeros beyond the border.

    Perceiver IO, App. H: 3 x 3 for optical flow.

    Args:
      frames: [b, t, y, x, c].
      size: odd side of the neighbourhood.

    Returns:
      [b, t, y, x, size * size * c].
    """
    b, t, height, width, channels = frames.shape
    margin = size // 2
    padded = jnp.pad(frames, [(0, 0), (0, 0), (margin, margin), (margin, margin), (0, 0)])
    patches = extract_patches(
        padded.reshape(b * t, height + 2 * margin, width + 2 * margin, channels),
        sizes=(size, size),
    )
    return patches.reshape(b, t, height, width, -1)


def _blocks(x: jax.Array, temporal_block: int, spatial_block: int) -> tuple[int, ...]:
    if x.ndim == 5:
        return temporal_block, spatial_block, spatial_block
    if x.ndim == 4 and temporal_block == 1:
        return spatial_block, spatial_block
    raise ValueError(
        "patches need [batch, y, x, channels], or [batch, t, y, x, channels] if they span time; "
        f"got shape {x.shape} and temporal_block={temporal_block}."
    )
