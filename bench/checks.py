"""Did two engines do the same work? Plain Python, on what they wrote."""

import math
from array import array
from pathlib import Path

# Both sum in f32, but round activations at other places (llama.cpp and PyTorch to bf16 or f16).
SAME = 0.999
# On quantised weights llama.cpp also rounds activations to 8 bits: the logits wander a little more.
SAME_QUANTISED = 0.995
# Of cosines in a figure, which are themselves rounded like the activations.
SAME_FIGURE = 0.01


def read_floats(path: Path) -> array:
    floats = array("f")
    floats.frombytes(path.read_bytes())
    return floats


def cosine(a, b) -> float:
    dot = math.sumprod if hasattr(math, "sumprod") else lambda x, y: sum(p * q for p, q in zip(x, y))
    norm = math.sqrt(dot(a, a) * dot(b, b))
    return dot(a, b) / norm if norm else float("nan")


def least_cosine(a, b, width: int, rows: int) -> float:
    """The least cosine over the first rows of two tables."""
    return min(cosine(a[i * width : (i + 1) * width], b[i * width : (i + 1) * width]) for i in range(rows))


def equal_start(a: list, b: list) -> int:
    """How many tokens two answers share before they part."""
    for i, (x, y) in enumerate(zip(a, b)):
        if x != y:
            return i
    return min(len(a), len(b))


def largest_gap(a, b) -> float:
    """Of two nested tables of numbers of the same shape."""
    if isinstance(a, list):
        assert len(a) == len(b)
        return max(largest_gap(x, y) for x, y in zip(a, b))
    return abs(a - b)
