"""Released models at full size: outputs and latents equal the golden arrays."""

import json

import haiku as hk
import jax
import numpy as np
import pytest

import perceiver_jax
from tests import golden_cases
from tests.zoo import released_arrays

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("highest_precision")]

FULL = golden_cases.GOLDEN / "full"
DIGESTS = json.loads((FULL / "sha256_16.json").read_text())
# The golden arrays' own error, several times over: what they were given with.
ATOL = {"imagenet_fourier": 3e-4, "mlm": 5e-3}


@pytest.mark.parametrize("name", ATOL)
def test_outputs_equal_golden(name):
    model = perceiver_jax.build(name)
    shapes, state_shapes = model.abstract_params()
    params = released_arrays.tree(shapes, released_arrays.parameter)
    inputs = released_arrays.inputs(name)
    drawn = {f"params/{path}": x for path, x in golden_cases.flatten(params).items()}
    drawn |= {f"inputs/{i}": x for i, x in enumerate(inputs)}
    assert {key: released_arrays.digest(x) for key, x in drawn.items()} == DIGESTS[name]

    @jax.jit
    def forward(params, *inputs):
        encoded = {}

        def keep_latents(next_f, args, kwargs, context):
            value = next_f(*args, **kwargs)
            if context.module.module_name == "perceiver_encoder":
                encoded["z"] = value
            return value

        with hk.intercept_methods(keep_latents):
            outputs, _ = model.apply(params, {}, None, *inputs)
        return outputs, encoded["z"]

    outputs, latents = map(np.asarray, forward(params, *inputs))
    with np.load(FULL / f"{name}.npz") as file:
        golden = {key: file[key] for key in file.files}
    _, rows, columns = latents.shape
    golden_cases.assert_close(
        latents[:, :: rows // 16, :: columns // 16], golden["z/slice"], "latents", atol=ATOL[name]
    )
    z = latents.astype(np.float64)
    stats = [z.mean(), z.std(), z.min(), z.max(), np.abs(z).mean()]
    golden_cases.assert_close(stats, golden["z/stats"], "latents", atol=ATOL[name])
    golden_cases.assert_close(outputs, golden["outputs/out"], "outputs", atol=ATOL[name])
