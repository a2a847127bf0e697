"""Compiles the TPU kernels for a TPU that is not there, and prints what each program needs.

    pip install libtpu
    python tools/compile_for_tpu.py [v4|v5e|v5p|v6e|7x] [default|highest]

libtpu brings the TPU's compiler, which runs on any Linux machine. It refuses what a lowering lets
through: tiles that do not fit a core's memory, operations that a generation has not.
"""

import os
import sys

# Before JAX: a machine without a TPU asks nobody which one it is.
os.environ.update(
    JAX_PLATFORMS="cpu",
    TPU_SKIP_MDS_QUERY="1",
    TPU_ACCELERATOR_TYPE="v5litepod-4",
    TPU_WORKER_HOSTNAMES="localhost",
    TPU_WORKER_ID="0",
)

import jax
import jax.numpy as jnp
from jax.experimental import topologies  # noqa: TID251 (has no public name)

from perceiver_jax.model.kernels.pallas_tpu import attend_pallas, declines

TOPOLOGIES = {
    "v4": "v4:2x2x1",
    "v5e": "v5e:2x2",
    "v5p": "v5p:2x2x1",
    "v6e": "v6e:2x2",
    "7x": "tpu7x:2x2x1",
}
# Batch, queries, keys, heads, channels of queries and keys, of values; the mask that is given.
SHAPES = {
    "ImageNet, encoder": ((2, 512, 50176, 1, 261, 261), ""),
    "ImageNet, towers": ((2, 512, 512, 8, 128, 128), ""),
    "ImageNet, decoder": ((2, 1, 512, 1, 1024, 1024), ""),
    "language, encoder": ((2, 256, 2048, 8, 32, 160), "key_mask"),
    "language, decoder": ((2, 2048, 256, 8, 32, 96), "query_mask"),
    "flow, encoder": ((1, 2048, 182528, 1, 322, 322), ""),
    "flow, decoder": ((1, 182528, 2048, 1, 512, 512), ""),
    "video, encoder": ((1, 784, 52097, 1, 704, 704), ""),
    "odd, any mask": ((2, 2049, 600, 3, 20, 36), "mask"),
    # The widest heads of each size of tiles, where their memory is tightest.
    **{
        f"{d_qk} and {d_v} channels": ((1, 1024, 2048, 1, d_qk, d_v), "mask")
        for d_qk in (256, 384, 512, 640, 768, 1024, 1280, 1536)
        for d_v in (128, d_qk)
    },
}


def main(generation: str = "v5e", precision: str = "default") -> None:
    topology = topologies.get_topology_desc(platform="tpu", topology_name=TOPOLOGIES[generation])
    place = jax.sharding.SingleDeviceSharding(topology.devices[0])
    jax.config.update("jax_default_matmul_precision", precision)
    print(f"{'forward and backward, ' + generation:34} {'dtype':9} kernels  temporary MiB")
    for name, ((b, q, k, h, d_qk, d_v), masked) in SHAPES.items():
        for dtype in (jnp.float32, jnp.bfloat16):
            if declines(qk_width=d_qk, v_width=d_v, dtype=dtype, backend="tpu"):
                continue
            shapes = ((b, q, h, d_qk), (b, k, h, d_qk), (b, k, h, d_v), (b, q, h * d_v))
            arrays = [jax.ShapeDtypeStruct(shape, dtype, sharding=place) for shape in shapes]
            shape = {"mask": (b, q, k), "query_mask": (b, q), "key_mask": (b, k)}.get(masked, ())
            mask = jax.ShapeDtypeStruct(shape, bool, sharding=place)

            def both(queries, keys, values, cotangent, mask, masked=masked):
                factors = {masked: mask} if masked else {}
                attended, gradients = jax.vjp(
                    lambda *qkv: attend_pallas(*qkv, **factors), queries, keys, values
                )
                return attended, gradients(cotangent)

            compiled = jax.jit(both).lower(*arrays, mask).compile()
            kernels = compiled.as_text().count('custom_call_target="tpu_custom_call"')
            memory = compiled.memory_analysis().temp_size_in_bytes / 2**20
            print(f"{name:34} {jnp.dtype(dtype).name:9} {kernels:7}  {memory:13.0f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
