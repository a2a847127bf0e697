"""What a device could compute at best: its peak rate, by JAX's name for its kind.

The makers' numbers, for matrix products without structured sparsity (NVIDIA prints twice as much
for products with it). A device that is not listed has no known peak, and no utilisation is shown
for it.
"""

import dataclasses
import re

# float32 products that JAX leaves to the device's habit: TPUs multiply in bfloat16, NVIDIA's GPUs
# from Ampere on in TF32.
_HABIT = (None, "default", "fastest", "high", "bfloat16", "tensorfloat32", "BF16_BF16_F32")


@dataclasses.dataclass(frozen=True)
class Peak:
    """Operations a second of one JAX device, in units of 1e12, by what is multiplied."""

    bfloat16: float | None  # None: the device has no units for it.
    float16: float | None
    tf32: float | None
    float32: float | None


def _tpu(bfloat16: float) -> Peak:
    """A TPU's matrix units take bfloat16; float32 is made of several such products."""
    return Peak(bfloat16, None, None, None)


def _ampere(half: float, tf32: float, float32: float) -> Peak:
    return Peak(half, half, tf32, float32)


# (pattern in `jax.Device.device_kind`, peak): the first that is found decides, so variants stand
# before the plain name. The TPU names are all that JAX has had for a generation.
_PEAKS: tuple[tuple[str, Peak], ...] = (
    # Jouppi et al., "A domain-specific supercomputer for training deep neural networks", CACM
    # 63(7), 2020, Table 3: 46 and 123 a chip, and a JAX device is one of a chip's two cores.
    (r"TPU v2", _tpu(46 / 2)),
    (r"TPU v3", _tpu(123 / 2)),
    # https://cloud.google.com/tpu/docs/v4: 275 a chip, which is one device.
    (r"TPU v4$", _tpu(275)),
    # https://cloud.google.com/tpu/docs/v5e: 197.
    (r"TPU v5 ?(lite|e)", _tpu(197)),
    # https://cloud.google.com/tpu/docs/v5p: 459.
    (r"TPU v5p?$", _tpu(459)),
    # https://cloud.google.com/tpu/docs/v6e: 918.
    (r"TPU v6 ?(lite|e)", _tpu(918)),
    # https://cloud.google.com/tpu/docs/tpu7x: 2,307 a chip, and a device is one of two chiplets.
    (r"TPU ?v?7x?$", _tpu(2307 / 2)),
    # V100 data sheet (https://images.nvidia.com/content/technologies/volta/pdf/
    # volta-v100-datasheet-update-us-1165301-r5.pdf): PCIe 112 and 14, SXM2 125 and 15.7.
    (r"V100-PCIE", Peak(None, 112, None, 14.0)),
    (r"V100", Peak(None, 125, None, 15.7)),
    # T4 data sheet (https://www.nvidia.com/en-us/data-center/tesla-t4/).
    (r"\bT4\b", Peak(None, 65, None, 8.1)),
    # A100 data sheet (https://www.nvidia.com/en-us/data-center/a100/), all forms alike.
    (r"A100", _ampere(312, 156, 19.5)),
    # A30, A10 data sheets (https://www.nvidia.com/en-us/data-center/products/a30-gpu/, a10-gpu/).
    (r"\bA30\b", _ampere(165, 82, 10.3)),
    (r"\bA10\b", _ampere(125, 62.5, 31.2)),
    # L4 and L40S data sheets (https://www.nvidia.com/en-us/data-center/l4/, l40s/); the 242 and 120
    # that are printed for the L4 are with sparsity.
    (r"\bL4\b", _ampere(121, 60, 30.3)),
    (r"L40S", _ampere(362, 183, 91.6)),
    # H100 data sheet (https://resources.nvidia.com/en-us-tensor-core/
    # nvidia-tensor-core-gpu-datasheet), printed with sparsity: SXM 1,979 and 989, PCIe 1,513 and
    # 756, NVL 1,671 and 835 for bfloat16 and TF32.
    (r"H100 PCIe", _ampere(756.5, 378, 51)),
    (r"H100 NVL", _ampere(835.5, 417.5, 60)),
    (r"H100|GH200", _ampere(989.5, 494.5, 67)),
    # H200 data sheet (https://www.nvidia.com/en-us/data-center/h200/), printed as for the H100.
    (r"H200 NVL", _ampere(835.5, 417.5, 60)),
    (r"H200", _ampere(989.5, 494.5, 67)),
    # HGX data sheets (https://www.nvidia.com/en-us/data-center/hgx/): eight B200 have 36e15 and
    # 18e15 with sparsity, and 600e12 in float32. A GB200 superchip of two has 10e15, 5e15 and
    # 160e12 (https://www.nvidia.com/en-us/data-center/gb200-nvl72/).
    (r"GB200", _ampere(2500, 1250, 80)),
    (r"\bB200", _ampere(2250, 1125, 75)),
)


def peak_flops(
    device_kind: str, compute_dtype: str = "float32", matmul_precision: str | None = None
) -> float | None:
    """Returns the operations a second that one device reaches at best, or None if not known.

    Args:
      device_kind: `jax.Device.device_kind`, such as "TPU v4" or "NVIDIA H100 80GB HBM3".
      compute_dtype: what the model's products are computed in: "bfloat16", "float16" or "float32".
      matmul_precision: `jax.config.jax_default_matmul_precision`, which decides for float32 whether
        NVIDIA's GPUs may round to TF32.
    """
    peak = next((peak for pattern, peak in _PEAKS if re.search(pattern, device_kind)), None)
    if peak is None:
        return None
    if compute_dtype == "bfloat16" or "TPU" in device_kind:
        value = peak.bfloat16
    elif compute_dtype == "float16":
        value = peak.float16
    elif peak.tf32 is not None and matmul_precision in _HABIT:
        value = peak.tf32
    else:
        value = peak.float32
    return None if value is None else value * 1e12
