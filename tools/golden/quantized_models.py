"""Does llama.cpp read what `whipstaff quantize` writes, and give the same greedy tokens?

    pip install -r tools/golden/requirements.txt
    python tools/golden/quantized_models.py PROGRAM MODEL…

PROGRAM is `whipstaff`, each MODEL a folder with safetensors. Every model is written in each type; both
programs continue every prompt with the likeliest tokens, and how far they agree is printed. Both round what
quantised weights are multiplied with, each in its own way, so that tokens that are nearly as likely may part
them. What has to hold is about logits, as fractions of the largest: llama.cpp is within STRUCTURE of our exact
arithmetic (`--precision f32`) on the same file, which a wrong order of rows or a wrong rope is far beyond;
and our fast arithmetic is no further from llama.cpp than twice what llama.cpp's own rounding costs. It ends
with 1 if that does not hold.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import llama_cpp
import numpy as np
from safetensors.numpy import load_file

PROMPTS = ["The capital of France is", "Wind at the harbour, don't you think? 1234", "fn main() {\n    let"]
STEPS = 32
# llama.cpp's rounding costs 0.001 (no matrix quantised) to 0.08 (the smallest models of random weights).
STRUCTURE = 0.1
QUIET = llama_cpp.llama_log_callback(lambda *_: None)


def greedy(model: llama_cpp.Llama, ids: list[int]) -> list[int]:
    """The likeliest tokens after `ids`."""
    model.reset()
    model.eval(ids)
    tokens = []
    for _ in range(STEPS):
        tokens.append(int(np.argmax(model.scores[model.n_tokens - 1])))
        if tokens[-1] == model.token_eos():
            break
        model.eval(tokens[-1:])
    return tokens


def logits(program: str, path: str, ids: list[int], precision: str, folder: str) -> np.ndarray:
    """Ours, for every token of `ids`."""
    out = str(Path(folder) / "capture.safetensors")
    line = ["capture", "--model", path, "--ids", ",".join(map(str, ids)), "--logits", "--layers", "0"]
    run(program, [*line, "--precision", precision, "-o", out])
    return load_file(out)["logits"].astype(np.float64)


def run(program: str, line: list[str]) -> str:
    return subprocess.run([program, *line], check=True, capture_output=True, text=True).stdout


def main() -> None:
    llama_cpp.llama_log_set(QUIET, None)
    program, *models = sys.argv[1:]
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for source in models:
            for kind in ["q8_0", "q4_k"]:
                path = str(Path(folder) / f"{kind}.gguf")
                print(run(program, ["quantize", "--model", source, "--type", kind, "-o", path, "--force"]), end="")
                model = llama_cpp.Llama(path, n_ctx=256, n_threads=2, logits_all=True, verbose=False)
                for prompt in PROMPTS:
                    ids = model.tokenize(prompt.encode(), add_bos=True, special=True)
                    theirs = greedy(model, ids)
                    line = ["generate", "--model", path, "--raw", "--json", "--prompt", prompt]
                    ours = json.loads(run(program, [*line, "--max-tokens", str(STEPS)]))["runs"][0]["tokens"]
                    pairs = list(zip(ours, theirs))
                    same = next((i for i, (a, b) in enumerate(pairs) if a != b), len(pairs))

                    model.reset()
                    model.eval(ids)
                    read = np.array(model.scores[: len(ids)], dtype=np.float64)
                    fast, exact = (logits(program, path, ids, it, folder) for it in ["fast", "f32"])
                    largest = np.abs(exact).max()
                    apart, rounding = (np.abs(read - it).max() / largest for it in [fast, exact])
                    failed |= bool(rounding > STRUCTURE or apart > 2 * rounding)
                    print(f"  {Path(source).name} {kind} {prompt!r}: {same} of {len(pairs)} tokens alike;", end=" ")
                    print(f"llama.cpp is {apart:.4f} from fast, {rounding:.4f} from exact")
                model.close()
    sys.exit(failed)


if __name__ == "__main__":
    main()
