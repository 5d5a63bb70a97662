"""Write control vectors with repeng and with Whipstaff, and what llama.cpp does under them.

    python tools/golden/control_vectors.py target/release/whipstaff     # into tests/golden/control/

repeng's file is compared with bit for bit. Whipstaff's is made from a vector that it extracts; llama.cpp
loads it the way its own tools do (`common_control_vector_load`: `direction.N` to row N - 1 of a buffer
that is added to the output of every block from 1 on) and goes on from a prompt, taking the best token.
The tokens must be those that Whipstaff gives under the same file. Keys and values are kept in f32, and
every step's two best logits are far enough apart that rounding decides nothing.
"""

import ctypes
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import llama_cpp as llama
import numpy as np
from gguf import GGUFReader
from repeng import ControlVector
from safetensors.numpy import save_file

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
OUT = GOLDEN / "control"
STEPS = 24
MIN_MARGIN = 1e-2

# Fixture, the vector's file, and the coefficient.
RUNS = [
    ("untied-bias-f32", None, 0.0),
    ("untied-bias-f32", "repeng.gguf", 3.0),
    ("untied-bias-f32", "repeng.gguf", -3.0),
    ("untied-bias-f32", "ours.gguf", 1.0),
    ("untied-bias-f32", "ours.gguf", -1.0),
    ("mha-sharded-f16", None, 0.0),
    ("mha-sharded-f16", "repeng-f16.gguf", 4.0),
]

CONTRASTS = """{"prompt": "May I borrow it?", "positive": "yes, of course", "negative": "no, go away"}
{"prompt": "Is it here?", "positive": "yes, look there", "negative": "never heard of it"}
"""


def write_repeng(name: str, layers: range, d_model: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    directions = {}
    for layer in layers:
        direction = rng.standard_normal(d_model).astype(np.float32)
        directions[layer] = direction / np.linalg.norm(direction)
    ControlVector("llama", directions).export_gguf(OUT / f"{name}.gguf")
    save_file({f"direction.{layer}": it for layer, it in directions.items()}, OUT / f"{name}.safetensors")


def write_ours(whipstaff: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        contrasts = Path(folder) / "contrasts.jsonl"
        contrasts.write_text(CONTRASTS)
        extract = f"extract --model {GOLDEN}/llama-untied-bias-f32 --contrasts {contrasts} --recommend 0"
        extract += f" --precision f32 -o {OUT}/ours.safetensors"
        subprocess.run([whipstaff, *extract.split()], check=True, stdout=subprocess.DEVNULL)
    convert = f"vector convert {OUT}/ours.safetensors -o {OUT}/ours.gguf --fold gap"
    subprocess.run([whipstaff, *convert.split()], check=True, stdout=subprocess.DEVNULL)


@llama.llama_log_callback
def quiet(level, text, _):
    pass


class LlamaCpp:
    def __init__(self, path: Path) -> None:
        llama.llama_log_set(quiet, None)
        llama.llama_backend_init()
        self.model = llama.llama_model_load_from_file(str(path).encode(), llama.llama_model_default_params())
        self.n_vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self.model))
        self.n_layers = llama.llama_model_n_layer(self.model)
        self.d_model = llama.llama_model_n_embd(self.model)
        params = llama.llama_context_default_params()
        params.n_ctx = 256
        params.type_k = params.type_v = 0  # f32
        params.flash_attn_type = 0
        params.n_threads = params.n_threads_batch = 1
        self.context = llama.llama_init_from_model(self.model, params)
        assert self.context, path

    def steer(self, path: Path, coefficient: float) -> None:
        data = np.zeros((self.n_layers - 1, self.d_model), np.float32)
        for tensor in GGUFReader(path).tensors:
            prefix, layer = tensor.name.split(".")
            assert prefix == "direction" and int(layer) > 0 and tensor.data.dtype == np.float32
            data[int(layer) - 1] += np.float32(coefficient) * tensor.data
        pointer = data.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        args = (self.context, pointer, data.size, self.d_model, 1, self.n_layers)
        assert llama.llama_set_adapter_cvec(*args) == 0

    def greedy(self, prompt: list[int]) -> list[int]:
        tokens, pending, position = [], prompt, 0
        for _ in range(STEPS):
            batch = llama.llama_batch_init(len(pending), 0, 1)
            batch.n_tokens = len(pending)
            for i, token in enumerate(pending):
                batch.token[i], batch.pos[i], batch.logits[i] = token, position + i, i + 1 == len(pending)
                batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
            assert llama.llama_decode(self.context, batch) == 0
            llama.llama_batch_free(batch)
            position += len(pending)
            logits = np.ctypeslib.as_array(llama.llama_get_logits_ith(self.context, -1), (self.n_vocab,))
            second, best = np.sort(logits)[-2:]
            assert best - second > MIN_MARGIN, f"step {len(tokens)}: {best - second}"
            tokens.append(int(np.argmax(logits)))
            pending = tokens[-1:]
        return tokens


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    write_repeng("repeng", range(1, 3), 32, seed=7)
    write_repeng("repeng-f16", range(1, 3), 48, seed=8)
    write_ours(sys.argv[1])
    runs = []
    for model, vector, coefficient in RUNS:
        prompt = json.loads((GOLDEN / f"llama-{model}" / "golden.json").read_text())["prompt_ids"]
        client = LlamaCpp(GOLDEN / "gguf" / f"{model}.gguf")
        if vector:
            client.steer(OUT / vector, coefficient)
        tokens = client.greedy(prompt)
        print(model, vector, coefficient, tokens)
        run = {"model": model, "vector": vector, "coefficient": coefficient, "prompt_ids": prompt}
        runs.append(json.dumps({**run, "tokens": tokens}))
    (OUT / "llama_cpp.json").write_text("[\n" + ",\n".join(runs) + "\n]\n")
