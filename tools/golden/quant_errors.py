"""Print the relative error that ggml's own quantiser makes of normal weights: what encode.rs is held to.

    pip install llama-cpp-python==0.3.36 gguf==0.19.0
    python tools/golden/quant_errors.py
"""

import ctypes
from pathlib import Path

import llama_cpp
import numpy as np
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize


def library() -> ctypes.CDLL:
    folder = Path(llama_cpp.__file__).parent / "lib"
    return ctypes.CDLL(str(next(folder.glob("libggml-base*"))))


def main() -> None:
    ggml = library()
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_int64] * 3 + [ctypes.c_void_p]
    x = np.random.default_rng(5).standard_normal((64, 256)).astype(np.float32)
    for name in ("Q8_0", "Q4_K"):
        kind = GGMLQuantizationType[name]
        out = np.zeros(x.size * 2, dtype=np.uint8)
        n = ggml.ggml_quantize_chunk(int(kind), x.ctypes.data, out.ctypes.data, 0, 64, 256, None)
        got = dequantize(out[:n].reshape(64, -1), kind)
        print(name, np.linalg.norm(got - x) / np.linalg.norm(x))


if __name__ == "__main__":
    main()
