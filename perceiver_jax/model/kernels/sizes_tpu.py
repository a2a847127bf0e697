"""How large the tiles are in which the TPU kernels compute attention. Needs no Pallas."""

LANES = 128  # Numbers in a row of a vector register: last axes are padded to multiples of it.
SUBLANES = 32  # Rows that the registers of the smallest dtype, int8, have: likewise, next to last.
# Queries and keys that a tile may have, best first. Keys pass by queries, so more queries at a time
# means fewer readings of all keys; 512 by 512 scores are 1 MiB.
TILE_SIZES = ((512, 512), (512, 256), (256, 256), (256, 128), (128, 128))
# Memory that a kernel may use of the 16 MiB that XLA lets it have by default.
TILE_BYTES = 12 * 2**20


def round_up(size: int, multiple: int) -> int:
    """The least multiple of `multiple` that is at least `size`."""
    return -(-size // multiple) * multiple


def tile_sizes(qk_width: int, v_width: int, itemsize: int) -> tuple[int, int] | None:
    """How many queries and keys are in a tile at most; None where the smallest does not fit.

    Args:
      qk_width: channels of a head's queries and keys.
      v_width: channels of a head's values.
      itemsize: bytes of a number.
    """
    channels = round_up(qk_width, LANES) + round_up(v_width, LANES)
    for num_queries, num_keys in TILE_SIZES:
        # Each backward kernel reads queries, keys, values and a cotangent. It holds them twice, to
        # copy one while it uses the other, and its result likewise, besides the float32 sum of it.
        inputs = 2 * (num_queries + num_keys) * channels * itemsize
        outputs = max(num_queries, num_keys) * channels * (2 * itemsize + 4)
        scores = 4 * num_queries * num_keys * 4
        if inputs + outputs + scores <= TILE_BYTES:
            return num_queries, num_keys
    return None


def fill(length: int, most: int, multiple: int) -> tuple[int, int]:
    """The size of a tile, and the length filled up to whole tiles, all nearly full.

    Args:
      length: what there is of queries or keys.
      most: the largest tile.
      multiple: what a tile is a multiple of.
    """
    tile = round_up(-(-length // -(-length // most)), multiple)
    return tile, round_up(length, tile)
