"""A steering vector as transformers alone computes it, to hold Whipstaff's against.

    python tools/golden/persona_vector.py MODEL_DIR CONTRASTS.jsonl OUT.safetensors
"""

import hashlib
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM


def mean_over_answer(model, tokenizer, prompt: str, answer: str) -> torch.Tensor:
    """Mean of resid_post over the answer's tokens: f64 [layers, d_model]."""
    start = tokenizer.encode(f"User: {prompt}\nAssistant:").ids
    ids = start + tokenizer.encode(f" {answer}", add_special_tokens=False).ids
    means = []

    def keep(_module, _args, out):
        means.append(out[0, len(start):].double().mean(0))

    hooks = [layer.register_forward_hook(keep) for layer in model.model.layers]
    with torch.no_grad():
        model(torch.tensor([ids]), use_cache=False)
    for hook in hooks:
        hook.remove()
    return torch.stack(means)


def main(model_dir: Path, contrasts: Path, out: Path) -> None:
    torch.set_num_threads(1)
    model = LlamaForCausalLM.from_pretrained(model_dir, dtype="float32", attn_implementation="eager")
    tokenizer = Tokenizer.from_file(str(model_dir / "tokenizer.json"))
    total, rows = 0, [json.loads(line) for line in contrasts.read_bytes().splitlines()]
    for row in rows:
        total += mean_over_answer(model, tokenizer, row["prompt"], row["positive"])
        total -= mean_over_answer(model, tokenizer, row["prompt"], row["negative"])
    hashed = {"model_sha256": model_dir / "model.safetensors", "contrasts_sha256": contrasts}
    metadata = {key: hashlib.sha256(path.read_bytes()).hexdigest() for key, path in hashed.items()}
    raw = (total / len(rows)).float()
    save_file({f"raw.{i}": row.clone() for i, row in enumerate(raw)}, out, metadata=metadata)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
