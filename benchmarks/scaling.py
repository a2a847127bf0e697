"""How time and memory grow with inputs, outputs, batch and latents.

    python -m benchmarks.scaling [--axis=inputs,outputs,batch,latents] [--modes=forward,train]
        [--contenders=ours,plain] [--sizes=1024,4096] [--repeats=3] [--json=FILE]
        [--plot=FILE.svg] [--config.FIELD=VALUE]

  inputs    1,024 to 1,048,576 pixels, read by one cross-attend of Perceiver's ImageNet model (512 x
            1024 latents), and no tower
  outputs   1,024 to 1,048,576 pixels, asked of 512 x 512 latents by the decoder of Perceiver IO
  batch     1 to 8 examples of 50,176 pixels through that cross-attend
  latents   128 to 2048 latents in it

Each size is measured as `python -m benchmarks.run` does it (its --help says how), by processes of
their own. A contender that fails at a size, for want of memory or patience, is not tried at larger
ones. The table shows how much more time and memory each size takes than the one before.

`--config.FIELD=VALUE` changes the config of all models: --config.encoder.latent_channels=64.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from absl import flags

from benchmarks import contenders, measuring_flags, plots, rows, scaling_table
from benchmarks.measuring_flags import Reference
from benchmarks.rounds import Options, measure
from benchmarks.rows import Row
from benchmarks.scaling_table import Point
from benchmarks.works import Mode, Work
from perceiver_jax.errors import UserError, run_main_with_overrides


@dataclasses.dataclass(frozen=True)
class Axis:
    """One size that grows."""

    model: str  # See models.py.
    sizes: tuple[int, ...]
    changes: Callable[[int], dict[str, str]]  # Of the model's config, for a size.
    batch: Callable[[int], int] = lambda size: 1


def _grid(field: str) -> Callable[[int], dict[str, str]]:
    """Square images of so many pixels."""

    def changes(size: int) -> dict[str, str]:
        side = math.isqrt(size)
        if side * side != size:
            raise UserError(f"--sizes has {size}; the pixels of a square image are a square.")
        return {field: f"{side},{side}"}

    return changes


_PIXELS = tuple(side * side for side in (32, 64, 128, 256, 512, 1024))
AXES: Mapping[str, Axis] = {
    "inputs": Axis("cross_attend", _PIXELS, _grid("preprocessor.shape")),
    "outputs": Axis("dense_decoder", _PIXELS, _grid("decoder.query.shape")),
    "batch": Axis("cross_attend", (1, 2, 4, 8), lambda size: {}, batch=lambda size: size),
    "latents": Axis(
        "cross_attend",
        (128, 256, 512, 1024, 2048),
        lambda size: {"encoder.num_latents": str(size)},
    ),
}


def define_flags() -> None:
    """Defines the flags; here and not on import, so that importing this file changes nothing."""
    flags.DEFINE_list("axis", list(AXES), "What grows.")
    flags.DEFINE_list("contenders", ["ours", "plain"], "ours, plain, or both.")
    flags.DEFINE_list("sizes", None, "Sizes to measure instead of those above, of one axis.")
    measuring_flags.define(repeats=3, limit=120.0, plots="time and memory over size")
    flags.adopt_module_key_flags(measuring_flags)  # So that --help lists them.


def main(argv: Sequence[str], changes: dict[str, str]) -> None:
    """Entry point; see `perceiver_jax.errors.run_main_with_overrides`."""
    measuring_flags.check(argv)
    given = flags.FLAGS
    for name in given.axis:
        if name not in AXES:
            raise UserError(f"--axis has {name!r}; the axes are {', '.join(AXES)}.")
    if given.sizes and len(given.axis) > 1:
        raise UserError("--sizes are those of one axis; name it by --axis.")
    known = {"ours": contenders.OURS, "plain": contenders.OTHERS["plain"]}
    if not given.contenders or not set(given.contenders) <= set(known):
        raise UserError(f"--contenders must be among {', '.join(known)}.")
    chosen = [known[name] for name in given.contenders]
    options = measuring_flags.options()
    points: list[Point] = []

    def keep(point: Point) -> None:
        points.append(point)
        measuring_flags.finished([point.row], f"{point.axis} {point.size:,}: ")
        if given.json:
            rows.write(given.json, [each.as_json() for each in points])

    with measuring_flags.reference(options) as reference:
        for name in given.axis:
            sizes = measuring_flags.numbers("sizes", given.sizes or AXES[name].sizes)
            for mode in given.modes:
                grow(name, mode, sorted(sizes), chosen, changes, options, reference, keep)
    measuring_flags.tell("")
    print(scaling_table.render(points, markdown=given.markdown))
    if given.plot:
        plots.write(given.plot, plots.growth(points))


def grow(
    name: str,
    mode: Mode,
    sizes: Sequence[int],
    chosen: Sequence[contenders.Contender],
    changes: Mapping[str, str],
    options: Options,
    reference: Reference,
    keep: Callable[[Point], None],
) -> None:
    """Measures one axis in one mode.

    Args:
      name: the axis.
      mode: forward or train.
      sizes: in rising order.
      chosen: the contenders.
      changes: of the config, at all sizes.
      options: how to measure.
      reference: describes, and measures the rate of matrix products.
      keep: is given each point, as soon as it is known.
    """
    axis = AXES[name]
    failed: dict[str, int] = {}
    for size in sizes:
        work = Work(axis.model, mode, axis.batch(size), {**axis.changes(size), **changes})
        trying = [each for each in chosen if each.name not in failed]
        found = measure(reference.describe(work), trying, options, reference.matmul)
        by_name = {row.contender: row for row in found}
        for contender in chosen:
            row = by_name.get(contender.name)
            if row is None:
                reason = f"not tried, because it failed at {failed[contender.name]:,}"
                row = Row(work.model, mode, work.batch, contender.name, error=reason)
            elif row.error is not None:
                failed[contender.name] = size
            keep(Point(name, size, row))


if __name__ == "__main__":
    run_main_with_overrides(main, define_flags)
