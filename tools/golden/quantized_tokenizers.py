"""Does llama.cpp cut texts as the original where `whipstaff quantize` has written the tokenizer?

    pip install -r tools/golden/requirements.txt
    python tools/golden/quantized_tokenizers.py PROGRAM              # `whipstaff`

Each tokenizer of tests/golden/chat/ is written with the smallest Llama, and the texts that are not composed first
have to get the same ids from llama.cpp as from the `tokenizers` package. SentencePiece's are given the merges that
released ones have, every way to make a piece of two others: those of the fixtures were learnt one by one.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import llama_cpp
import numpy as np
from gguf_families import GOLDEN, QUIET
from safetensors.numpy import save_file
from tokenizers import Tokenizer

D_MODEL, VOCAB = 32, 640
NAMES = ["gemma", "granite", "llama2", "llama3", "olmo", "smollm"]
TEXTS = [
    "Where the whale road bends, 12 gulls cry: aye!",
    "   three spaces, then\n\n\ttabs  and trailing  ",
    "Hallo Wörld",
    "鯨の道 кит 🐋",
    "The captain's harbour lies still; don't you think so?",
]


def weights() -> dict[str, np.ndarray]:
    square, ones = np.zeros((D_MODEL, D_MODEL), np.float16), np.ones(D_MODEL, np.float16)
    tensors = {"model.embed_tokens.weight": np.zeros((VOCAB, D_MODEL), np.float16), "model.norm.weight": ones}
    attention = [f"self_attn.{it}_proj" for it in "qkvo"]
    for part in [*attention, "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]:
        tensors[f"model.layers.0.{part}.weight"] = square
    for part in ["input_layernorm", "post_attention_layernorm"]:
        tensors[f"model.layers.0.{part}.weight"] = ones
    return tensors


def as_released(tokenizer: dict) -> dict:
    """With every way to make a piece of two others, if it is SentencePiece's."""
    if tokenizer["model"].get("byte_fallback"):
        vocab, merges = tokenizer["model"]["vocab"], []
        for piece in map("".join, tokenizer["model"]["merges"]):
            cuts = [(piece[:i], piece[i:]) for i in range(len(piece) - 1, 0, -1)]
            merges += [[left, right] for left, right in cuts if left in vocab and right in vocab]
        tokenizer["model"]["merges"] = merges
        if "Prepend" in json.dumps(tokenizer["normalizer"]):
            strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
            tokenizer["decoder"]["decoders"].append(strip)
    return tokenizer


def main() -> None:
    llama_cpp.llama_log_set(QUIET, None)
    config = {
        "model_type": "llama",
        "hidden_size": D_MODEL,
        "intermediate_size": D_MODEL,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "vocab_size": VOCAB,
        "tie_word_embeddings": True,
    }
    for name in NAMES:
        with tempfile.TemporaryDirectory() as scratch:
            folder, path = Path(scratch), str(Path(scratch) / "m.gguf")
            save_file(weights(), str(folder / "model.safetensors"))
            (folder / "config.json").write_text(json.dumps(config))
            tokenizer = as_released(json.loads((GOLDEN / "chat" / name / "tokenizer.json").read_text()))
            (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
            line = [sys.argv[1], "quantize", "--model", scratch, "--type", "q8_0", "-o", path]
            subprocess.run(line, check=True, capture_output=True)
            original = Tokenizer.from_file(str(folder / "tokenizer.json"))
            model = llama_cpp.Llama(path, vocab_only=True, verbose=False)
            for text in TEXTS:
                want = original.encode(text, add_special_tokens=False).ids
                got = model.tokenize(text.encode(), add_bos=False, special=True)
                assert got == want, (name, text, got, want)
            print(f"{name}: {len(TEXTS)} texts", flush=True)


if __name__ == "__main__":
    main()
