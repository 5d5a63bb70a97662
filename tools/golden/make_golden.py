"""Write tiny random Llama checkpoints and what transformers computes from them.

    pip install -r tools/golden/requirements.txt
    python tools/golden/make_golden.py            # all cases, into tests/golden/
    python tools/golden/make_golden.py NAME...    # only these

Every case is first written out as a checkpoint, its config.json by hand in the spelling
the case is there to cover, and then loaded back through transformers: the expected values
come from exactly the files that are shipped. Weights are stored in the dtype of the case
and computed with in float32.
"""

import argparse
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden"
SITES = ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post")
GREEDY_STEPS = 24
MIN_MARGIN = 1e-2  # between the two best logits of every greedy step
SPECIALS = ("<|bos|>", "<|eos|>", "<|eot|>")

# How a Llama 3 tokenizer splits text before merging: contractions, words with at most one
# leading mark, numbers by threes, runs of marks, line ends, and other white space.
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CORPUS = [
    "The driller lowers the whipstaff into the well, and the bit turns away from the vertical.",
    "A well that was meant to go straight down now leans, a little at a time, toward the oil.",
    "There is more than one way to steer: the helmsman on the old ship held a whipstaff, too.",
    "He could not see the sea from where he stood; he steered by the compass and by the voice.",
    "Steering a model is the same kind of work. The weights stay where they are, and the stream bends.",
    "Counting from 0 to 10: 0 1 2 3 4 5 6 7 8 9 10. Then 100, then 1000, then 2026.",
    "It's the crew's ship; they've sailed it, we'll sail it, and I'd sail it again.",
    "What does the other one say? The other one says that there are other ways.",
    "The rain in the harbour fell on the nets, the ropes, the barrels and the men.",
    "Über den Wellen ist die Freiheit; déjà vu; el niño está en el barco.",
]

PROMPT = (
    "The helmsman held the whipstaff and said: \"Steer 12 degrees to the north, then wait.\" "
    "It's déjà vu 🙂, the others thought, and the ship turned away from the harbour again."
)

TEXTS = [
    "",
    " ",
    "   ",
    "\n",
    "\n\n\n",
    "\t",
    "a",
    "The well leans toward the oil.",
    " leading space",
    "trailing space ",
    "  two before, two after  ",
    "one\ntwo\n\nthree\r\nfour",
    "indented:\n    four\n\teight",
    "space before newline \n and after",
    "0 7 42 365 2026 12345 1234567890",
    "3.14159, -17%, $1,000.00, 0x7f, 1e-5",
    "It's, they've, we'll, I'd, DON'T, YOU'RE",
    "CamelCase snake_case kebab-case",
    "(\"Quoted?!\" -- she said...) [ok] {x: 1};",
    "naïve café Ünïcödé ß Œuvre",
    "cafe\u0301 with a combining accent",
    "a\u00a0no-break space, \u2003em space, \u200bzero width",
    "中文字符和标点。",
    "日本語のテキスト、カタカナ",
    "한국어 문장",
    "Привет, мир! Καλημέρα κόσμε",
    "שלום עולם مرحبا",
    "नमस्ते दुनिया ๑๒๓",
    "🙂",
    "a👩‍👩‍👧‍👦b 👍🏽 🇳🇱",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ½ ² Ⅷ ①",
    "\x00\x01\x7f control",
    "\ufeffbyte order mark, \ufffd replacement",
    "text <|eos|> in the text",
    "<|bos|><|eos|><|eot|>",
    "<|bos|>The well",
    "not special: <|eos> <eos|> < |eos|>",
    "User: What does it say?\nAssistant: It says no.",
]


@dataclass
class Case:
    """One checkpoint: `config` goes into config.json as it stands, the ids added."""

    name: str
    dtype: torch.dtype
    seed: int
    prompt_len: int
    vocab_size: int
    llama3_tokenizer: bool  # Llama 3 splitting and special tokens last; else GPT-2's, and first
    config: dict
    generation: dict
    gen_eos: tuple = ("<|eos|>",)  # written as a list if there are several
    max_shard_size: str = "1GB"
    embed_std: float = 0.5
    linear_std: float = 0.2


CASES = [
    Case(
        name="llama-gqa-tied-bf16",
        dtype=torch.bfloat16,
        seed=40,
        prompt_len=34,
        vocab_size=304,
        llama3_tokenizer=True,
        config={
            "hidden_size": 64,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 8,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "hidden_act": "silu",
            "max_position_embeddings": 256,
            "rms_norm_eps": 1e-05,
            "rope_theta": 200.0,
            "rope_scaling": {
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
                "rope_type": "llama3",
            },
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "use_cache": True,
        },
        generation={"do_sample": True, "temperature": 0.6, "top_p": 0.9},
    ),
    Case(
        name="llama-untied-bias-f32",
        dtype=torch.float32,
        seed=40,
        prompt_len=36,
        vocab_size=300,
        llama3_tokenizer=False,
        config={
            "dtype": "float32",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,  # not hidden_size / num_attention_heads
            "hidden_act": "silu",
            "max_position_embeddings": 256,
            "rms_norm_eps": 1e-06,
            "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0},
            "attention_bias": True,
            "mlp_bias": True,
            "tie_word_embeddings": False,
        },
        generation={},
        linear_std=0.3,
    ),
    Case(
        name="llama-mha-sharded-f16",
        dtype=torch.float16,
        seed=22,
        prompt_len=36,
        vocab_size=296,
        llama3_tokenizer=False,
        config={  # as the first Llama files were: no head_dim, no num_key_value_heads
            "hidden_size": 48,
            "intermediate_size": 76,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "hidden_act": "silu",
            "max_position_embeddings": 128,
            "rms_norm_eps": 1e-06,
            "rope_theta": 10000.0,
            "rope_scaling": None,
            "tie_word_embeddings": False,
            "torch_dtype": "float16",
        },
        generation={},
        gen_eos=("<|eos|>", "<|eot|>"),
        max_shard_size="70KB",
    ),
    Case(
        name="llama-new-llama3-f32",
        dtype=torch.float32,
        seed=36,
        prompt_len=34,
        vocab_size=299,
        llama3_tokenizer=True,
        config={
            "dtype": "float32",
            "hidden_size": 48,
            "intermediate_size": 100,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 12,
            "hidden_act": "silu",
            "max_position_embeddings": 96,
            "rms_norm_eps": 1e-05,
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 500.0,
                "factor": 4.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 3.0,
                "original_max_position_embeddings": 24,
            },
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": True,
        },
        generation={},
    ),
]


def make_tokenizer(case: Case) -> Tokenizer:
    """A byte-level BPE of `case.vocab_size` entries which puts <|bos|> before every text."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=case.llama3_tokenizer))
    first, last = ([], list(SPECIALS)) if case.llama3_tokenizer else (list(SPECIALS), [])
    if case.llama3_tokenizer:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(LLAMA3_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=case.vocab_size - len(last),
        special_tokens=first,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(last)
    add_bos = processors.TemplateProcessing(
        single="<|bos|> $A",
        pair="<|bos|> $A <|bos|>:1 $B:1",
        special_tokens=[("<|bos|>", tokenizer.token_to_id("<|bos|>"))],
    )
    if case.llama3_tokenizer:
        tokenizer.post_processor = processors.Sequence(
            [processors.ByteLevel(trim_offsets=False), add_bos]
        )
    else:
        tokenizer.post_processor = add_bos
    assert tokenizer.get_vocab_size() == case.vocab_size, "the corpus has too few merges"
    return tokenizer


def randomise(model: LlamaForCausalLM, case: Case) -> None:
    """Seeded weights, wide enough that attention, positions and norms all show."""
    rng = np.random.default_rng(case.seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.from_numpy(rng.standard_normal(parameter.shape, dtype=np.float32))
            if name.endswith("norm.weight"):
                parameter.copy_(1.0 + 0.2 * noise)
            elif "embed_tokens" in name:
                parameter.copy_(case.embed_std * noise)
            else:
                parameter.copy_(case.linear_std * noise)


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def write_checkpoint(case: Case, folder: Path) -> None:
    """The files a model folder holds, config.json in the spelling of the case."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer = make_tokenizer(case)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)

    bos = tokenizer.token_to_id("<|bos|>")
    gen_eos = [tokenizer.token_to_id(token) for token in case.gen_eos]
    config = {
        "architectures": ["LlamaForCausalLM"],
        "bos_token_id": bos,
        "eos_token_id": tokenizer.token_to_id("<|eos|>"),
        "model_type": "llama",
        **case.config,
        "vocab_size": case.vocab_size,
    }
    write_json(folder / "config.json", config)
    model = LlamaForCausalLM(LlamaConfig.from_pretrained(folder))
    randomise(model, case)
    model.to(case.dtype).save_pretrained(folder, max_shard_size=case.max_shard_size)

    # save_pretrained has written its own two; these are the ones to ship.
    write_json(folder / "config.json", config)
    eos = gen_eos if len(gen_eos) > 1 else gen_eos[0]
    generation = {"bos_token_id": bos, "eos_token_id": eos, **case.generation}
    write_json(folder / "generation_config.json", generation)


def record_sites(model: LlamaForCausalLM, ids: torch.Tensor) -> dict[str, torch.Tensor]:
    """One forward pass over `ids` [n]: every site of every layer, and the logits."""
    seen = {}
    handles = []

    def keep(site, value):
        value = value[0] if isinstance(value, tuple) else value
        seen[site] = value[0].detach().clone()

    def before(module, site):
        handles.append(module.register_forward_pre_hook(lambda _, args: keep(site, args)))

    def after(module, site):
        handles.append(module.register_forward_hook(lambda _, args, out: keep(site, out)))

    for index, layer in enumerate(model.model.layers):
        before(layer, f"resid_pre.{index}")
        after(layer.self_attn, f"attn_out.{index}")
        before(layer.post_attention_layernorm, f"resid_mid.{index}")
        after(layer.mlp, f"mlp_out.{index}")
        after(layer, f"resid_post.{index}")
    with torch.no_grad():
        seen["logits"] = model(ids[None], use_cache=False).logits[0].clone()
    for handle in handles:
        handle.remove()

    for index in range(len(model.model.layers)):
        pre, attn, mid, mlp, post = (seen[f"{site}.{index}"] for site in SITES)
        assert torch.equal(pre + attn, mid) and torch.equal(mid + mlp, post)
    return seen


def greedy(model: LlamaForCausalLM, prompt: torch.Tensor) -> tuple[list[int], float]:
    """The next GREEDY_STEPS tokens, each from a whole forward pass, and the least margin."""
    ids, margin = prompt, float("inf")
    for _ in range(GREEDY_STEPS):
        with torch.no_grad():
            best = model(ids[None], use_cache=False).logits[0, -1].topk(2)
        margin = min(margin, float(best.values[0] - best.values[1]))
        ids = torch.cat([ids, best.indices[:1]])
    cached = model.generate(
        prompt[None],
        attention_mask=torch.ones_like(prompt)[None],
        max_new_tokens=GREEDY_STEPS,
        do_sample=False,
        temperature=None,
        top_p=None,
    )
    assert torch.equal(cached[0], ids), "generate() disagrees: does it meet an end-of-text token?"
    return ids[len(prompt):].tolist(), margin


def tokenisation(tokenizer: Tokenizer) -> list[dict]:
    cases = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        cases.append({
            "text": text,
            "ids": ids,
            "decoded": tokenizer.decode(ids, skip_special_tokens=True),
            "decoded_with_special": tokenizer.decode(ids, skip_special_tokens=False),
        })
    return cases


def write_golden(case: Case, folder: Path) -> str:
    """Expected values from the files in `folder`; returns a line about them."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    model = LlamaForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    assert model.get_input_embeddings().weight.dtype == torch.float32

    ids = torch.tensor(tokenizer.encode(PROMPT).ids[: case.prompt_len])
    tensors = {"input_ids": ids, **record_sites(model, ids)}
    made_with = f"torch {torch.__version__.split('+')[0]}, transformers {transformers.__version__}"
    save_file(tensors, folder / "golden.safetensors", metadata={"made_with": made_with})

    tokens, margin = greedy(model, ids)
    assert margin > MIN_MARGIN, f"{case.name}: a greedy step is near a tie ({margin:.1e})"
    assert len(set(tokens)) > GREEDY_STEPS // 2, f"{case.name}: greedy output repeats itself"
    lines = ",\n".join("    " + json.dumps(entry) for entry in tokenisation(tokenizer))
    (folder / "golden.json").write_text(
        f'{{\n  "prompt_ids": {json.dumps(ids.tolist())},\n  "greedy": {json.dumps(tokens)},\n'
        f'  "cases": [\n{lines}\n  ]\n}}\n'
    )
    for path in folder.iterdir():
        path.chmod(0o644)
    size = sum(path.stat().st_size for path in folder.iterdir())
    return f"{size / 1024:.0f} KB, least margin {margin:.4f}, {len(set(tokens))} distinct"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="cases to write (default: all)")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the cases")
    args = parser.parse_args()
    unknown = set(args.names) - {case.name for case in CASES}
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")

    logging.disable_progress_bar()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    for case in CASES:
        if not args.names or case.name in args.names:
            folder = args.out / case.name
            write_checkpoint(case, folder)
            print(f"{case.name}: {write_golden(case, folder)}")


if __name__ == "__main__":
    main()
