"""Does llama.cpp read what `whipstaff quantize` writes of every family, and give transformers' logits and tokens?

    pip install -r tools/golden/requirements.txt
    python tools/golden/quantized_families.py PROGRAM              # `whipstaff`
    python tools/golden/quantized_families.py --tokenizer          # writes tests/golden/letters/tokenizer.json

Every fixture of tests/golden/families/ that `quantize` writes is written in F32, loaded by llama.cpp, and its
logits are held against the expected ones of transformers, position by position (cosine above 0.9999); from the
prompt on, llama.cpp has to choose the tokens that transformers chose. What `quantize` refuses is printed with the
reason. What llama.cpp itself cannot run is in CANNOT, with the reason; there it is only printed what it says.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import llama_cpp
import numpy as np
from gguf_families import GOLDEN, MIN_COSINE, QUIET
from safetensors.torch import load_file

TOKENIZER = GOLDEN / "letters" / "tokenizer.json"

# Fixtures that are right in the file and that llama.cpp cannot run as transformers do.
CANNOT = {
    "gemma-untied": "it does not know a head of its own in this family",
    "olmo2-bias": "it does not know biases in this family",
    "olmoe-plain": "it takes as many heads of keys as of queries for granted",
    "phi3-longrope-within": "it chooses the factors by the size of the cache, which is never that small",
    "phi3-window": "it leaves the windows of this family out",
}


def tokenizer() -> dict:
    """Byte-level BPE without merges: letters that stand for bytes, few enough for the fixtures' vocabularies."""
    letters = [chr(c) for c in (*range(ord("a"), ord("z") + 1), *range(ord("A"), ord("Z") + 1))]
    tokens = ["<end>", "<begin>", *letters, ".", ",", "Ċ", "Ġ"]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    bytes_as_letters = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "added_tokens": [{"id": i, "content": tokens[i], **flags} for i in range(2)],
        "normalizer": None,
        "pre_tokenizer": bytes_as_letters,
        "post_processor": None,
        "decoder": bytes_as_letters,
        "model": {"type": "BPE", "vocab": {token: i for i, token in enumerate(tokens)}, "merges": []},
    }


def cosine(got: np.ndarray, want: np.ndarray) -> float:
    norms = np.linalg.norm(got, axis=1) * np.linalg.norm(want, axis=1)
    return float(((got * want).sum(1) / norms).min())


def check(path: Path, folder: Path) -> tuple[float, bool]:
    """The least cosine of llama.cpp's logits to transformers', and whether it chooses the same tokens."""
    golden = json.loads((folder / "golden.json").read_text())
    ids, greedy = golden["prompt_ids"], golden["greedy"]
    want = load_file(folder / "golden.safetensors")["logits"].numpy().astype(np.float64)
    model = llama_cpp.Llama(str(path), n_ctx=64, n_threads=1, logits_all=True, verbose=False)
    model.eval(ids)
    closeness = cosine(np.array(model.scores[: len(ids)], dtype=np.float64), want)
    tokens = []
    for _ in greedy:
        tokens.append(int(np.argmax(model.scores[model.n_tokens - 1])))
        model.eval(tokens[-1:])
    model.close()
    return closeness, tokens == greedy


def main() -> None:
    if sys.argv[1:] == ["--tokenizer"]:
        TOKENIZER.parent.mkdir(exist_ok=True)
        TOKENIZER.write_text(json.dumps(tokenizer(), ensure_ascii=False) + "\n")
        return
    program = sys.argv[1]
    llama_cpp.llama_log_set(QUIET, None)
    failed = []
    for folder in sorted((GOLDEN / "families").iterdir()):
        with tempfile.TemporaryDirectory() as scratch:
            model, path = Path(scratch) / "model", Path(scratch) / "m.gguf"
            shutil.copytree(folder, model)
            shutil.copy(TOKENIZER, model)
            line = [program, "quantize", "--model", str(model), "--type", "f32", "-o", str(path)]
            ran = subprocess.run(line, capture_output=True, text=True)
            if ran.returncode == 3:
                print(f"{folder.name}: refused: {ran.stderr.strip().rsplit(': ', 1)[-1]}", flush=True)
                continue
            assert ran.returncode == 0, ran.stderr
            try:
                closeness, same = check(path, folder)
            except Exception as error:
                closeness, same = 0.0, False
                print(f"{folder.name}: {error}")
            why_not = CANNOT.get(folder.name, "")
            if not why_not and not (same and closeness > MIN_COSINE):
                failed.append(folder.name)
            tokens = "the same tokens" if same else "other tokens"
            print(f"{folder.name}: cosine to transformers {closeness:.7f}, {tokens} {why_not}", flush=True)
    assert not failed, failed


if __name__ == "__main__":
    main()
