"""Write tiny random checkpoints of every model family and what transformers computes from them.

    pip install -r tools/golden/requirements.txt
    python tools/golden/families.py            # all cases, into tests/golden/families/
    python tools/golden/families.py NAME...    # only these
    python tools/golden/families.py --check    # compute again and compare, with any version

Every case is first written out as a checkpoint, its config.json by hand in the spelling the case is
there to cover, and then loaded back through transformers: the expected values come from exactly the
files that are shipped. All parameters are random, norms and biases too. Prompts are token ids.

The sites are those of docs/GLOSSARY.md: `attn_out` and `mlp_out` are what is added to the stream, so
after a norm that follows and times a multiplier; `resid_mid` is resid_pre + attn_out also where the MLP
does not read it.
"""

import argparse
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.utils import logging

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "families"
GREEDY_STEPS = 12
MIN_MARGIN = 1e-2  # between the two best logits of every greedy step
BF16, F16, F32 = torch.bfloat16, torch.float16, torch.float32


@dataclass
class Case:
    """One checkpoint; `config` goes into config.json as it stands."""

    name: str
    config: dict
    prompt_len: int = 21
    dtype: torch.dtype = BF16
    linear_std: float = 0.25
    embed_std: float = 0.5
    newest_only: bool = False  # spelt as transformers 4 does not read it
    cached: bool = True  # generate() with its cache gives the same tokens
    seed: int = field(default=0, init=False)


def shape(d_model=32, d_ff=44, n_layers=3, n_heads=4, n_kv_heads=2, vocab=131, context=64, **more):
    return {
        "hidden_size": d_model,
        "intermediate_size": d_ff,
        "num_hidden_layers": n_layers,
        "num_attention_heads": n_heads,
        "num_key_value_heads": n_kv_heads,
        "vocab_size": vocab,
        "max_position_embeddings": context,
        **more,
    }


def without(config, *names):
    return {key: value for key, value in config.items() if key not in names}


def llama():
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
    yield Case("llama-yarn", shape(n_kv_heads=1, rope_theta=500.0, rope_scaling=yarn, torch_dtype="bfloat16"))
    mscale = {**yarn, "type": "yarn", "mscale": 1.2, "mscale_all_dim": 0.7, "beta_fast": 16, "beta_slow": 2}
    yield Case("llama-yarn-mscale", shape(head_dim=20, rope_scaling=mscale, mlp_bias=True), dtype=F16)
    dynamic = {"type": "dynamic", "factor": 3.0}
    yield Case("llama-dynamic-within", shape(context=33, rope_scaling=dynamic))
    yield Case("llama-dynamic-beyond", shape(context=13, rope_scaling=dynamic), cached=False)
    # Stretched after training: the prompt is longer than the length that the file says.
    linear = {"type": "linear", "factor": 3.0}
    yield Case("llama-linear-beyond", shape(context=12, max_sequence_length=36, rope_scaling=linear))
    yield Case("llama-gelu", shape(hidden_act="gelu", attention_bias=True, rope_theta=100))


def mistral():
    yield Case("mistral-window", shape(n_kv_heads=1, head_dim=12, sliding_window=7, rms_norm_eps=1e-5))
    # As many key and value heads as the family has by default, and no head_dim.
    config = shape(n_heads=8, sliding_window=None, tie_word_embeddings=True, dtype="float16")
    yield Case("mistral-tied", without(config, "num_key_value_heads"), dtype=F16)


def qwen2():
    yield Case("qwen2-tied", shape(tie_word_embeddings=True, rope_theta=1000000.0, use_sliding_window=False))
    windows = {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1}
    yield Case("qwen2-window", shape(n_kv_heads=1, **windows), dtype=F16)
    types = ["sliding_attention", "full_attention", "sliding_attention"]
    yarn = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 9}
    yield Case("qwen2-yarn-beyond", shape(context=9, rope_scaling=yarn, sliding_window=9, use_sliding_window=False))
    yield Case("qwen2-types", shape(layer_types=types, use_sliding_window=True, sliding_window=5))


def qwen3():
    yield Case("qwen3-one-kv-head", shape(n_kv_heads=1, head_dim=20, attention_bias=False))
    windows = {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2}
    yield Case("qwen3-bias", shape(head_dim=10, attention_bias=True, tie_word_embeddings=True, **windows), dtype=F32)


def gemma():
    acts = {"hidden_act": "gelu_pytorch_tanh", "hidden_activation": None}
    yield Case("gemma-one-kv-head", shape(n_kv_heads=1, head_dim=10, **acts), linear_std=0.3, embed_std=0.1)
    yield Case(
        "gemma-untied",
        shape(head_dim=16, hidden_act="gelu_new", tie_word_embeddings=False, attention_bias=True),
        dtype=F16,
    )


def gemma2():
    caps = {"attn_logit_softcapping": 4.0, "final_logit_softcapping": 9.0}
    config = shape(n_layers=4, n_kv_heads=1, head_dim=12, query_pre_attn_scalar=24, sliding_window=5, **caps)
    yield Case("gemma2-caps", config, linear_std=0.3, embed_std=0.1)
    types = ["full_attention", "sliding_attention", "sliding_attention"]
    nothing = {"attn_logit_softcapping": None, "final_logit_softcapping": None}
    config = shape(head_dim=8, layer_types=types, sliding_window=9, hidden_activation="gelu", **nothing)
    yield Case("gemma2-types", config, dtype=F16, linear_std=0.3, embed_std=0.1)
    # As every released model but the largest: the only scale that a GGUF file can say.
    config = shape(n_layers=4, n_kv_heads=1, head_dim=12, query_pre_attn_scalar=12, sliding_window=5, **caps)
    yield Case("gemma2-head-scale", config, linear_std=0.3, embed_std=0.1)


def gemma3():
    config = shape(n_layers=4, n_kv_heads=1, head_dim=12, query_pre_attn_scalar=10, sliding_window=6)
    linear = {"rope_type": "linear", "factor": 8.0}
    yield Case("gemma3-pattern", {**config, "sliding_window_pattern": 2, "rope_scaling": linear, "rope_theta": 5000.0}, linear_std=0.3, embed_std=0.1)
    config = shape(n_layers=6, head_dim=8, sliding_window=9, rope_local_base_freq=50.0, vocab=67)
    yield Case("gemma3-defaults", {**config, "final_logit_softcapping": 12.0}, dtype=F16, linear_std=0.3, embed_std=0.1)
    config = shape(n_layers=7, n_kv_heads=1, head_dim=12, query_pre_attn_scalar=12, sliding_window=6)
    yield Case("gemma3-head-scale", {**config, "rope_scaling": linear, "rope_theta": 5000.0}, linear_std=0.3, embed_std=0.1)
    ropes = {
        "full_attention": {"rope_type": "linear", "factor": 2.0, "rope_theta": 3000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 70.0},
    }
    types = ["sliding_attention", "full_attention", "sliding_attention"]
    config = shape(head_dim=16, sliding_window=7, layer_types=types, rope_parameters=ropes)
    yield Case("gemma3-two-ropes", {**config, "tie_word_embeddings": False}, newest_only=True)


def phi3():
    yield Case("phi3-window", shape(n_kv_heads=1, sliding_window=9))
    longrope = {
        "type": "longrope",
        "short_factor": [1.0, 1.1, 1.3],
        "long_factor": [1.5, 2.0, 5.0],
    }
    part = {"partial_rotary_factor": 0.75, "rope_scaling": longrope, "tie_word_embeddings": True}
    yield Case("phi3-longrope-within", shape(original_max_position_embeddings=40, **part), dtype=F16)
    yield Case("phi3-longrope-beyond", shape(original_max_position_embeddings=16, **part))


def olmo2():
    yield Case("olmo2-one-kv-head", shape(n_kv_heads=1))
    yield Case("olmo2-bias", shape(attention_bias=True, tie_word_embeddings=True, rope_theta=500000.0), dtype=F16)


def granite():
    multipliers = {
        "embedding_multiplier": 3.0,
        "residual_multiplier": 0.37,
        "attention_multiplier": 0.21,
        "logits_scaling": 1.7,
    }
    yield Case("granite-multipliers", shape(n_kv_heads=1, tie_word_embeddings=True, **multipliers), linear_std=0.4, embed_std=0.1)
    biases = {"attention_bias": True, "mlp_bias": True, "attention_multiplier": 0.3}
    yield Case("granite-bias", shape(**biases), dtype=F16)


def smollm3():
    yield Case("smollm3-interval", shape(n_layers=5, d_ff=36, n_kv_heads=1))
    lists = {"no_rope_layers": [1, 0, 1], "use_sliding_window": True, "sliding_window": 5}
    yield Case("smollm3-list", shape(tie_word_embeddings=False, attention_bias=True, **lists), dtype=F16)


def gpt_neox():
    config = without(shape(), "num_key_value_heads")
    yield Case("gpt-neox-parallel", {**config, "rotary_pct": 0.25, "rotary_emb_base": 10000})
    more = {"use_parallel_residual": False, "rotary_pct": 0.75, "hidden_act": "gelu_new", "attention_bias": False}
    yield Case("gpt-neox-serial", {**config, **more, "tie_word_embeddings": True}, dtype=F16)
    yield Case("gpt-neox-whole", {**config, "rotary_pct": 1.0, "rotary_emb_base": 300}, dtype=F32)


def gpt2():
    config = {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "vocab_size": 131}
    yield Case("gpt2-defaults", config)
    more = {"n_inner": 52, "scale_attn_by_inverse_layer_idx": True, "activation_function": "gelu"}
    yield Case("gpt2-inverse", {**config, **more, "tie_word_embeddings": False}, dtype=F16)


def mixtral():
    experts = {"num_local_experts": 5, "num_experts_per_tok": 2}
    yield Case("mixtral-window", shape(d_ff=20, n_kv_heads=1, sliding_window=6, **experts))
    experts = {"num_local_experts": 3, "num_experts_per_tok": 1, "rms_norm_eps": 1e-6}
    yield Case("mixtral-top-1", shape(d_ff=24, head_dim=12, **experts), dtype=F16)


def qwen2_moe():
    experts = {"num_experts": 5, "num_experts_per_tok": 2, "moe_intermediate_size": 18}
    yield Case("qwen2-moe-shared", shape(d_ff=30, shared_expert_intermediate_size=22, **experts))
    more = {"norm_topk_prob": True, "decoder_sparse_step": 2, "mlp_only_layers": [3], "qkv_bias": False}
    config = shape(n_layers=4, d_ff=30, n_kv_heads=1, shared_expert_intermediate_size=14, **experts, **more)
    yield Case("qwen2-moe-some-layers", config, dtype=F16)


def qwen3_moe():
    experts = {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 14}
    yield Case("qwen3-moe-norm", shape(n_kv_heads=1, head_dim=12, norm_topk_prob=True, **experts))
    more = {"mlp_only_layers": [1], "attention_bias": True, "tie_word_embeddings": True}
    yield Case("qwen3-moe-some-layers", shape(d_ff=30, head_dim=8, **experts, **more), dtype=F16)


def olmoe():
    experts = {"num_experts": 6, "num_experts_per_tok": 2}
    yield Case("olmoe-plain", shape(d_ff=18, n_kv_heads=1, **experts))
    yield Case("olmoe-all-heads", shape(d_ff=18, n_kv_heads=4, **experts))
    yield Case("olmoe-norm", shape(d_ff=18, norm_topk_prob=True, tie_word_embeddings=True, **experts), dtype=F16)


FAMILIES = {
    "llama": llama,
    "mistral": mistral,
    "qwen2": qwen2,
    "qwen3": qwen3,
    "gemma": gemma,
    "gemma2": gemma2,
    "gemma3_text": gemma3,
    "phi3": phi3,
    "olmo2": olmo2,
    "granite": granite,
    "smollm3": smollm3,
    "gpt_neox": gpt_neox,
    "gpt2": gpt2,
    "mixtral": mixtral,
    "qwen2_moe": qwen2_moe,
    "qwen3_moe": qwen3_moe,
    "olmoe": olmoe,
}


def load(folder: Path):
    options = {"dtype": F32, "attn_implementation": "eager"}
    config = AutoConfig.from_pretrained(folder)
    if "moe" in config.model_type and not transformers.__version__.startswith("4."):
        options["experts_implementation"] = "eager"  # its own kernel does not take odd widths
    model = AutoModelForCausalLM.from_pretrained(folder, **options).eval()
    assert model.get_input_embeddings().weight.dtype == F32
    return model


def randomise(model, case: Case) -> None:
    """Seeded weights, wide enough that attention, positions and norms all show."""
    rng = np.random.default_rng(case.seed)
    plus_one = model.config.model_type.startswith("gemma")
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.from_numpy(rng.standard_normal(parameter.shape, dtype=np.float32))
            last = name.split(".")[-2]
            if "norm" in last or last.startswith("ln_"):
                centre = 0.0 if plus_one or name.endswith("bias") else 1.0
                parameter.copy_(centre + 0.2 * noise)
            elif "embed" in last or last in ("wte", "wpe"):
                parameter.copy_(case.embed_std * noise)
            else:
                parameter.copy_(case.linear_std * noise)


def write_checkpoint(family: str, case: Case, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = {"model_type": family, **case.config, "bos_token_id": 1, "eos_token_id": 0}
    if family in ("phi3", "smollm3"):
        config["pad_token_id"] = 0  # the default lies outside our vocabulary
    text = json.dumps(config, indent=2) + "\n"
    (folder / "config.json").write_text(text)
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    randomise(model, case)
    model.to(case.dtype).save_pretrained(folder)
    for path in folder.iterdir():
        if path.name != "model.safetensors":
            path.unlink()
    (folder / "config.json").write_text(text)


def blocks_of(model):
    """Every block with its attention, its MLP, and the norms that follow them."""
    inner = getattr(model, "model", model.base_model)
    for block in getattr(inner, "layers", None) or inner.h:
        attention = getattr(block, "self_attn", None) or getattr(block, "attention", None) or block.attn
        after = getattr(block, "post_feedforward_layernorm", None)
        norms = (block.post_attention_layernorm, after) if after is not None else (None, None)
        yield block, attention, block.mlp if hasattr(block, "mlp") else block.block_sparse_moe, norms


def record_sites(model, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """One forward pass over `ids` [n]: the sites of every layer, and the logits."""
    seen, handles = {}, []

    def keep(site, value, scale=1.0):
        value = value[0] if isinstance(value, tuple) else value
        seen[site] = (scale * value.reshape(len(ids), -1)).detach().clone()

    def after(module, site, scale=1.0):
        handles.append(module.register_forward_hook(lambda _, args, out: keep(site, out, scale)))

    scale = getattr(model.config, "residual_multiplier", 1.0)
    blocks = list(blocks_of(model))
    for i, (block, attention, mlp, norms) in enumerate(blocks):
        if i == 0:
            handles.append(block.register_forward_pre_hook(lambda _, args: keep("resid_pre.0", args)))
        after(norms[0] or attention, f"attn_out.{i}", scale)
        after(norms[1] or mlp, f"mlp_out.{i}", scale)
        after(block, f"resid_post.{i}")
    with torch.no_grad():
        seen["logits"] = model(ids[None], use_cache=False).logits[0].clone()
    for handle in handles:
        handle.remove()
    for i in range(len(blocks)):
        pre = seen["resid_pre.0"] if i == 0 else seen[f"resid_post.{i - 1}"]
        seen[f"resid_mid.{i}"] = pre + seen[f"attn_out.{i}"]
        post = seen[f"resid_mid.{i}"] + seen[f"mlp_out.{i}"]
        error = (post - seen[f"resid_post.{i}"]).abs().max() / post.abs().max()
        assert error < 1e-6, f"layer {i}: the sites do not add up ({error})"
    return seen


def greedy(model, prompt: torch.Tensor, cached: bool) -> tuple[list[int], float]:
    """The next tokens, each from a whole forward pass, and the least margin."""
    ids, margin = prompt, float("inf")
    for _ in range(GREEDY_STEPS):
        with torch.no_grad():
            best = model(ids[None], use_cache=False).logits[0, -1].topk(2)
        margin = min(margin, float(best.values[0] - best.values[1]))
        ids = torch.cat([ids, best.indices[:1]])
    if cached:
        options = {"max_new_tokens": GREEDY_STEPS, "do_sample": False, "eos_token_id": None}
        again = model.generate(prompt[None], attention_mask=torch.ones_like(prompt)[None], **options)
        assert torch.equal(again[0], ids), "generate() disagrees"
    return ids[len(prompt):].tolist(), margin


def prompt_of(case: Case) -> torch.Tensor:
    rng = np.random.default_rng(1000 + case.seed)
    vocab = case.config["vocab_size"]
    return torch.from_numpy(rng.integers(2, vocab, case.prompt_len))


def write(family: str, case: Case, out: Path) -> str:
    """Writes a case under the first seed whose greedy steps are clear and whose tokens vary."""
    folder = out / case.name
    for case.seed in range(200):
        write_checkpoint(family, case, folder)
        model, ids = load(folder), prompt_of(case)
        tokens, margin = greedy(model, ids, False)
        if margin > MIN_MARGIN and len(set(tokens)) > GREEDY_STEPS // 2:
            break
    else:
        raise AssertionError(f"{case.name}: no seed will do")
    greedy(model, ids, case.cached)
    model = load(folder)  # some kinds of rope remember the longest text they have seen
    version = f"torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}"
    tensors = {name: value.contiguous() for name, value in record_sites(model, ids).items()}
    save_file(tensors, folder / "golden.safetensors", metadata={"made_with": version})
    golden = {"prompt_ids": ids.tolist(), "greedy": tokens}
    (folder / "golden.json").write_text(json.dumps(golden) + "\n")
    size = sum(path.stat().st_size for path in folder.iterdir())
    return f"{size / 1024:.0f} KB, seed {case.seed}, least margin {margin:.3f}, {len(set(tokens))} distinct"


def check(case: Case, out: Path) -> str:
    """The largest relative difference between the files and what this version computes."""
    if case.newest_only and transformers.__version__.startswith("4."):
        return "not read by this version"
    folder = out / case.name
    golden = json.loads((folder / "golden.json").read_text())
    model, ids = load(folder), torch.tensor(golden["prompt_ids"])
    expected, worst = load_file(folder / "golden.safetensors"), 0.0
    for name, value in record_sites(model, ids).items():
        worst = max(worst, float((value - expected[name]).abs().max() / expected[name].abs().max()))
    same = greedy(model, ids, False)[0] == golden["greedy"]
    return f"{worst:.1e}, greedy tokens {'equal' if same else 'DIFFER'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases or families (default: all)")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the cases")
    parser.add_argument("--check", action="store_true", help="compare with what is there")
    args = parser.parse_args()

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    for family, cases in FAMILIES.items():
        for case in cases():
            if not args.names or family in args.names or case.name in args.names:
                done = check(case, args.out) if args.check else write(family, case, args.out)
                print(f"{case.name}: {done}", flush=True)


if __name__ == "__main__":
    main()
