"""Golden decodes of every ggml block type the project reads.

Makes   testdata/blocks/golden.safetensors
From    random bytes (fixed seed) with chosen f16 scale fields, decoded by the `gguf` package.
Run     python tools/golden_blocks.py        (from the repository root; seconds)

For each type T two tensors:
  T.bytes   uint8   [blocks, block_bytes]
  T.values  float32 [blocks, block_len]
Scales walk through negative, zero, subnormal and largest finite f16 values; the last four blocks of
a quantized type have every non-scale byte 0x00 (two) or 0xFF (two). All decoded values are finite.
Every product in these formats is exact in f32, so a decoder with or without fused multiply-add gives the
same bits; the sign of zero counts too (0 * -8 is -0.0).
"""

from importlib.metadata import version
from pathlib import Path

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize
from safetensors.numpy import save_file

OUT = Path("testdata/blocks/golden.safetensors")
SEED = 20260101
BLOCKS = 24
FLOATS = 256

# Byte offsets of the f16 fields (d, then dmin or m) inside one block.
SCALE_FIELDS = {
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
    T.IQ4_NL: [0], T.IQ4_XS: [0],
}

# fmt: off
SCALES = np.array([
    1.0, -1.0, 0.0, -0.0, 65504.0, -65504.0,        # unit, zeros, largest finite
    2.0**-24, -(2.0**-24), 1023 * 2.0**-24,         # smallest and largest subnormals
    2.0**-14, -(2.0**-14),                          # smallest normal
    0.0123, -3.5e-4, 7.0e-6, 0.333, -2.75, 117.0, -4096.0, 1.5e-3, 0.0625,
], dtype=np.float16)
# fmt: on
FILL_SCALES = np.array([1.5, -0.0375, 0.0123, -65504.0], dtype=np.float16)


def quantized_blocks(rng: np.random.Generator, qtype: T) -> np.ndarray:
    _, size = GGML_QUANT_SIZES[qtype]
    blocks = rng.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
    blocks[-4:-2] = 0x00
    blocks[-2:] = 0xFF
    for n, offset in enumerate(SCALE_FIELDS[qtype]):
        # The second field is stepped differently, so that both meet many pairs.
        walk = SCALES[(np.arange(BLOCKS - 4) * (1 + 6 * n) + 3 * n) % len(SCALES)]
        field = np.concatenate([walk, np.roll(FILL_SCALES, n)]).astype("<f2")
        blocks[:, offset : offset + 2] = field.view(np.uint8).reshape(BLOCKS, 2)
    return blocks


def float_blocks(rng: np.random.Generator, qtype: T) -> np.ndarray:
    """256 values: the corners of the format, then random finite bit patterns."""
    exponent, mantissa, uint = {T.F32: (8, 23, "<u4"), T.F16: (5, 10, "<u2"), T.BF16: (8, 7, "<u2")}[qtype]
    sign, inf, one = 1 << (exponent + mantissa), ((1 << exponent) - 1) << mantissa, 1 << mantissa
    # 0, smallest and largest subnormal, smallest normal, largest finite, 1, 1 + ulp; both signs.
    unit = ((1 << (exponent - 1)) - 1) << mantissa
    corners = [0, 1, one - 1, one, inf - 1, unit, unit + 1]
    corners += [c | sign for c in corners]
    corners += rng.integers(0, one, 16).tolist()  # more subnormals
    draw = rng.integers(0, inf, FLOATS - len(corners)) | (rng.integers(0, 2, FLOATS - len(corners)) * sign)
    bits = np.array(corners + draw.tolist(), dtype=np.uint64).astype(uint)
    return bits.view(np.uint8).reshape(FLOATS, -1)


def main() -> None:
    tensors = {}
    for qtype in [T.F32, T.F16, T.BF16, *SCALE_FIELDS]:
        rng = np.random.default_rng([SEED, int(qtype)])
        make = quantized_blocks if qtype in SCALE_FIELDS else float_blocks
        data = make(rng, qtype)
        values = np.ascontiguousarray(dequantize(data, qtype), dtype=np.float32)
        assert values.shape == (len(data), GGML_QUANT_SIZES[qtype][0]), qtype
        assert np.isfinite(values).all(), qtype
        tensors[f"{qtype.name}.bytes"] = data
        tensors[f"{qtype.name}.values"] = values
        print(f"{qtype.name:7} {data.shape} -> {values.shape}, max |x| {np.abs(values).max():.4g}")
    OUT.parent.mkdir(parents=True, exist_ok=True)
    # One metadata key only: safetensors writes several in no fixed order.
    save_file(tensors, OUT, metadata={"gguf": version("gguf")})
    OUT.chmod(0o644)


if __name__ == "__main__":
    main()
