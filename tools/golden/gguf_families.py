"""Write the family fixtures as GGUF, as llama.cpp's converter would, and hold llama.cpp against them.

    pip install -r tools/golden/requirements.txt
    python tools/golden/gguf_families.py            # into tests/golden/gguf-families/
    python tools/golden/gguf_families.py --check    # only compare llama.cpp's logits, write nothing

The checkpoints and their expected values are those of tests/golden/families/. Names of tensors and keys
come from the `gguf` package. llama.cpp gets every file with its weights in f32 and has to give logits
with a cosine above 0.9999 to those of transformers at every position: so the layout is the real one.
Fixtures with something that no GGUF file can say are left out.
"""

import argparse
import json
import tempfile
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter
from safetensors.torch import load_file

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
OUT = GOLDEN / "gguf-families"
QUIET = llama_cpp.llama_log_callback(lambda *_: None)
MIN_COSINE = 0.9999

ARCHITECTURES = {
    "mistral": "llama",
    "mixtral": "llama",
    "gemma3_text": "gemma3",
    "gpt_neox": "gptneox",
    "qwen2_moe": "qwen2moe",
    "qwen3_moe": "qwen3moe",
}
NEIGHBOURS = ["llama", "granite", "smollm3"]

# Fixtures that a GGUF file can describe, and what llama.cpp cannot be asked about them.
CASES = {
    "llama-yarn": "",
    "mistral-tied": "",
    "mixtral-top-1": "",
    "qwen2-tied": "",
    "qwen3-one-kv-head": "",
    "qwen2-moe-shared": "",
    "qwen3-moe-norm": "",
    "gemma-one-kv-head": "",
    "gemma2-head-scale": "",
    "gemma3-head-scale": "",
    "phi3-window": "",
    "phi3-longrope-within": "it chooses the factors by the size of the cache, which is never that small",
    "phi3-longrope-beyond": "",
    "olmo2-one-kv-head": "",
    "olmoe-plain": "it takes as many heads of keys as of queries for granted",
    "olmoe-all-heads": "",
    "granite-multipliers": "",
    "smollm3-interval": "",
    "gpt-neox-parallel": "",
    "gpt-neox-whole": "",
    "gpt2-defaults": "",
}


def interleave(rows: torch.Tensor, n_heads: int) -> torch.Tensor:
    """Rows [n_heads * head_dim, ...] so that the two that are rotated together are neighbours."""
    halves = rows.reshape(n_heads, 2, rows.shape[0] // n_heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


class Case:
    def __init__(self, name: str):
        self.folder = GOLDEN / "families" / name
        self.config = json.loads((self.folder / "config.json").read_text())
        self.family = self.config["model_type"]
        self.arch = ARCHITECTURES.get(self.family, self.family)
        get = self.get
        self.d_model, self.n_layers = get("hidden_size", "n_embd"), get("num_hidden_layers", "n_layer")
        self.n_heads = get("num_attention_heads", "n_head")
        kv = 8 if self.family == "mistral" else self.n_heads
        self.n_kv_heads = get("num_key_value_heads", default=kv)
        self.head_dim = get("head_dim", default=self.d_model // self.n_heads)

    def get(self, *names, default=None):
        return next((self.config[it] for it in names if self.config.get(it) is not None), default)

    def keys(self, writer: GGUFWriter) -> None:
        get, rope = self.get, self.get("rope_scaling", default={})
        context = get("max_position_embeddings", "n_positions")
        writer.add_context_length(context)
        writer.add_embedding_length(self.d_model)
        writer.add_block_count(self.n_layers)
        writer.add_feed_forward_length(get("intermediate_size", default=4 * self.d_model))
        writer.add_head_count(self.n_heads)
        writer.add_head_count_kv(self.n_kv_heads)
        writer.add_vocab_size(get("vocab_size"))
        writer.add_tokenizer_model("no_vocab")
        if get("head_dim"):
            writer.add_key_length(self.head_dim)
            writer.add_value_length(self.head_dim)
        eps = 1e-5 if self.family in ("phi3", "olmo2", "olmoe", "mixtral", "gpt_neox", "gpt2") else 1e-6
        if self.arch in ("gptneox", "gpt2"):
            writer.add_layer_norm_eps(eps)
        else:
            writer.add_layer_norm_rms_eps(get("rms_norm_eps", default=eps))
        if self.arch != "gpt2":
            default = {"smollm3": 2e6, "mixtral": 1e6, "gemma3_text": 1e6}.get(self.family, 1e4)
            part = get("partial_rotary_factor", "rotary_pct", default=1.0)
            writer.add_rope_dimension_count(int(self.head_dim * part))
            writer.add_rope_freq_base(get("rope_theta", "rotary_emb_base", default=default))
        kind = rope.get("rope_type", rope.get("type"))
        if kind in ("yarn", "linear"):
            writer.add_rope_scaling_type(gguf.RopeScalingType(kind))
            writer.add_rope_scaling_factor(rope["factor"])
        original = rope.get("original_max_position_embeddings", get("original_max_position_embeddings"))
        if original:
            writer.add_rope_scaling_orig_ctx_len(original)
        if kind == "longrope":
            scale = 1 + np.log(context / original) / np.log(original)
            writer.add_rope_scaling_attn_factors(float(np.sqrt(scale)))
            for length in ("short", "long"):
                factors = np.array(rope[f"{length}_factor"], dtype=np.float32)
                writer.add_tensor(f"rope_factors_{length}.weight", factors)
        if self.family in ("gemma2", "gemma3_text", "phi3") and get("sliding_window"):
            writer.add_sliding_window(get("sliding_window"))
        if self.family == "gemma2":
            writer.add_attn_logit_softcapping(get("attn_logit_softcapping"))
            writer.add_final_logit_softcapping(get("final_logit_softcapping"))
        if self.arch == "gptneox":
            writer.add_parallel_residual(get("use_parallel_residual", default=True))
        if get("num_experts", "num_local_experts"):
            writer.add_expert_count(get("num_experts", "num_local_experts"))
            writer.add_expert_used_count(get("num_experts_per_tok"))
        if get("moe_intermediate_size"):
            writer.add_expert_feed_forward_length(get("moe_intermediate_size"))
        if get("shared_expert_intermediate_size"):
            writer.add_expert_shared_feed_forward_length(get("shared_expert_intermediate_size"))
        if self.family == "granite":
            writer.add_attention_scale(get("attention_multiplier"))
            writer.add_embedding_scale(get("embedding_multiplier"))
            writer.add_residual_scale(get("residual_multiplier"))
            writer.add_logit_scale(get("logits_scaling"))

    def tensors(self) -> dict[str, torch.Tensor]:
        """The checkpoint's tensors with what the converter does to them, by their names in the file."""
        arch = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[self.arch]
        names, stored, experts = gguf.get_tensor_name_map(arch, self.n_layers), {}, {}
        for name, weight in load_file(self.folder / "model.safetensors").items():
            if name.endswith((".attn.bias", ".masked_bias", "inv_freq")):
                continue
            if ".experts." in name:
                before, after = name.split(".experts.")
                expert, part = after.split(".", 1)
                experts.setdefault(f"{before}.experts.{part}", {})[int(expert)] = weight
                continue
            stored[name] = weight
        for name, by_number in experts.items():
            stored[name] = torch.stack([by_number[i] for i in range(len(by_number))])
        tensors = {}
        for name, weight in stored.items():
            if self.family.startswith("gemma") and name.endswith("norm.weight"):
                weight = weight.float() + 1.0
            if self.arch in NEIGHBOURS and ".q_proj." in name:
                weight = interleave(weight, self.n_heads)
            if self.arch in NEIGHBOURS and ".k_proj." in name:
                weight = interleave(weight, self.n_kv_heads)
            if self.arch == "gptneox" and ".query_key_value." in name:
                heads = weight.reshape(self.n_heads, 3, self.head_dim, *weight.shape[1:])
                weight = heads.swapaxes(0, 1).reshape(weight.shape)
            if self.arch == "gpt2" and name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
                weight = weight.T
            if name.endswith("shared_expert_gate.weight"):
                weight = weight.squeeze()
            new = names.get_name(name, try_suffixes=(".weight", ".bias"))
            assert new, name
            tensors[new] = weight.contiguous()
        return tensors

    def write(self, path: Path, f32: bool) -> None:
        """With `f32`, everything in f32; else matrices in the types of the checkpoint."""
        writer = GGUFWriter(path, self.arch)
        self.keys(writer)
        for name, weight in self.tensors().items():
            if f32 or weight.ndim == 1 or weight.dtype == torch.float32 or "ffn_gate_inp" in name:
                writer.add_tensor(name, weight.float().numpy())
            elif weight.dtype == torch.float16:
                writer.add_tensor(name, weight.numpy())
            else:
                raw = weight.view(torch.uint8).numpy()
                writer.add_tensor(name, raw, raw_dtype=Type.BF16)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()

    def cosine(self) -> float:
        """The least over positions, of llama.cpp's logits and those of transformers."""
        ids = json.loads((self.folder / "golden.json").read_text())["prompt_ids"]
        want = load_file(self.folder / "golden.safetensors")["logits"].numpy().astype(np.float64)
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "f32.gguf"
            self.write(path, True)
            options = {"n_ctx": 64, "n_threads": 1, "logits_all": True, "verbose": False}
            model = llama_cpp.Llama(str(path), **options)
            model.eval(ids)
            got = np.array(model.scores[: len(ids)], dtype=np.float64)
            model.close()
        if self.family == "phi3" and self.get("sliding_window"):
            # llama.cpp leaves the windows of this family out: what lies within the first is comparable.
            got, want = got[: self.get("sliding_window")], want[: self.get("sliding_window")]
        norms = np.linalg.norm(got, axis=1) * np.linalg.norm(want, axis=1)
        return float(((got * want).sum(1) / norms).min())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases (default: all)")
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args()
    llama_cpp.llama_log_set(QUIET, None)
    OUT.mkdir(exist_ok=True)
    worst = 1.0
    for name, why_not in CASES.items():
        if args.names and name not in args.names:
            continue
        case = Case(name)
        if not args.check:
            case.write(OUT / f"{name}.gguf", False)
        if why_not:
            print(f"{name}: llama.cpp cannot be asked: {why_not}", flush=True)
            continue
        cosine = case.cosine()
        worst = min(worst, cosine)
        print(f"{name}: {case.arch}, cosine to llama.cpp {cosine:.7f}", flush=True)
    assert worst > MIN_COSINE, "llama.cpp disagrees"


if __name__ == "__main__":
    main()
