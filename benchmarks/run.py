"""Speed and memory of our models, beside the plain definition and beside other projects.

    python -m benchmarks.run [--models=imagenet_fourier,mlm] [--modes=forward,train]
        [--peers=plain,huggingface,perceiver_io,perceiver_pytorch] [--batches=1,2] [--repeats=5]
        [--json=FILE] [--plot=FILE.svg] [--peer_python=PATH] [--config.FIELD=VALUE]

Contenders. `ours`: the model as it comes, with the recomputation of benchmarks/jax_worker.py in
training. `plain`: the same model by the textbook, every projection, all attention weights at once,
unrolled layers, derivatives left to JAX. `huggingface`, `perceiver_io` and `perceiver_pytorch`: the
PyPI projects of those names on PyTorch, each for the models it has, built at the same sizes. They
are installed as benchmarks/requirements.txt says, into an environment of their own whose Python is
named by --peer_python; without them their rows say so.

Work. `forward`: all outputs of a batch, in evaluation. `train`: the loss and its gradients for all
parameters, with no optimiser. All outputs of the video autoencoder are 803,297: ours encodes a
piece once and decodes in chunks, as `perceiver_jax.predict` does; plain and huggingface follow the
released procedure, 128 calls of the whole model, of which 3 are timed and stand for all (the row
says so). Its training decodes 512 pixels, 512 patches of sound and the label, as the paper's.

Measuring. Each contender has a process of its own. All of them live side by side and take turns,
one run each a round, after one run to warm up; a matrix product is timed in every round too. Shown
are the median and the spread. Peak memory is that of the whole process from its start, imports,
weights and compiling included. A contender that fails, or needs more than its limits, has a row
with the reason; one that has no room beside the others is measured alone, and says so.

Beside the models of the zoo there are `cross_attend`, `dense_decoder` and `latent_tower`: one
cross-attend, one decoder and the towers alone, in the sizes of the papers.

GFLOP are those of the plain mathematics (three times the forward pass for training), equal for
all contenders: recomputation does not count, and saved operations raise the rate.

`--config.FIELD=VALUE` changes the config of all models, for small trials:
--config.encoder.num_latents=16.
"""

import dataclasses
from collections.abc import Sequence

from absl import flags

from benchmarks import contenders, measuring_flags, plots, rows, table, works
from benchmarks.rounds import measure
from perceiver_jax.errors import run_main_with_overrides


def define_flags() -> None:
    """Defines the flags; here and not on import, so that importing this file changes nothing."""
    flags.DEFINE_list("models", list(works.MODELS), "Names of models of the zoo.")
    flags.DEFINE_list(
        "peers",
        list(contenders.OTHERS),
        "Whom to measure beside ours; each is left out for models that it does not have.",
    )
    flags.DEFINE_list("batches", ["1"], "Numbers of examples in a run.")
    flags.DEFINE_string("peer_python", None, "Interpreter that has the peers; this one by default.")
    measuring_flags.define(repeats=5, limit=600.0, plots="the ratios")
    flags.adopt_module_key_flags(measuring_flags)  # So that --help lists them.


def main(argv: Sequence[str], changes: dict[str, str]) -> None:
    """Entry point; see `perceiver_jax.errors.run_main_with_overrides`."""
    measuring_flags.check(argv)
    given = flags.FLAGS
    chosen = contenders.chosen(given.peers)
    batches = measuring_flags.numbers("batches", given.batches)
    options = measuring_flags.options(given.peer_python)
    found: list[rows.Row] = []
    with measuring_flags.reference(options) as reference:
        for work in (
            works.Work(model, mode, batch, changes)
            for model in given.models
            for mode in given.modes
            for batch in batches
        ):
            having = [each for each in chosen if each.has(work.model)]
            measured = measure(reference.describe(work), having, options, reference.matmul)
            found += measured
            measuring_flags.finished(measured)
            if given.json:
                rows.write(given.json, [dataclasses.asdict(row) for row in found])
    measuring_flags.tell("")
    print(table.render(found, markdown=given.markdown))
    if given["peers"].present:
        for each in chosen:
            if lacking := [model for model in given.models if not each.has(model)]:
                print(f"{each.name} does not have {', '.join(lacking)}.")
    if given.plot:
        plots.write(given.plot, plots.ratio_bars(found))


if __name__ == "__main__":
    run_main_with_overrides(main, define_flags)
