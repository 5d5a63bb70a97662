"""Write quantised blocks of every type that Whipstaff reads, and what the `gguf` package makes of them.

    pip install gguf==0.19.0
    python tools/golden/quant_blocks.py        # into tests/golden/quants/

A file is a sequence of records: the bytes of a block, then its weights as little-endian f32. The
bytes are random, which every type allows, except that the f16 factors of the first records are
chosen: ordinary ones, the smallest and the largest, zeros of both signs, infinity.
"""

from pathlib import Path

import numpy as np
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "quants"
# Where the f16 factors of each type stand in its block.
FACTORS = {
    "Q8_0": [0],
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "IQ4_NL": [0],
    "IQ4_XS": [0],
    "MXFP4": [],
}
CHOSEN = [0.01, -0.37, 1.0, 6e-8, 5.9e-5, 65504.0, 0.0, -0.0, np.inf]


def records(name: str, n_blocks: int, rng: np.random.Generator) -> bytes:
    """`n_blocks` random blocks of a type, each followed by its weights."""
    kind = GGMLQuantizationType[name]
    _, block_bytes = GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (n_blocks, block_bytes), dtype=np.uint8)
    for i, factor in enumerate(CHOSEN):
        for j, at in enumerate(FACTORS[name]):
            # A second factor takes another of the list, so that the two are seldom alike.
            value = np.float16(CHOSEN[(i + 4 * j) % len(CHOSEN)])
            blocks[i, at : at + 2] = np.frombuffer(value.tobytes(), dtype=np.uint8)
    if name == "MXFP4":  # exponents: the smallest, of which two are denormal, and the largest
        blocks[:5, 0] = [0, 1, 2, 127, 254]
    with np.errstate(all="ignore"):
        weights = dequantize(blocks, kind).astype("<f4")
    return b"".join(block.tobytes() + row.tobytes() for block, row in zip(blocks, weights))


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    for name in FACTORS:
        n_blocks = 12 if name.endswith("K") or name == "IQ4_XS" else 24
        (OUT / f"{name}.bin").write_bytes(records(name, n_blocks, rng))


if __name__ == "__main__":
    main()
