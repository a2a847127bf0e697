"""Attention kernels for accelerators: when they apply, and how arrays are made to fit them.

    cudnn.py       NVIDIA GPUs: cuDNN's fused attention, by `jax.nn.dot_product_attention`;
    pallas_tpu.py  TPUs: our own kernels;
    flash_tpu.py   those kernels;
    tiles_tpu.py   how they reach the tiles of their arrays;
    sizes_tpu.py   how large the tiles are.

There is no Pallas kernel for GPUs. JAX 0.12 deprecates lowering Pallas by Triton, and its successor
takes kernels that are written for one generation of GPUs, which nobody here could run. A GPU
attends by cuDNN or by XLA's routes.
"""
