"""Checkpoints of exactly the shapes of Llama 3.2 1B and SmolLM2 135M, with seeded random weights.

    python bench/fixtures.py OUT_DIR [--models llama-1b,smollm2-135m] [--formats hf,bf16,q8_0,q4_k_m]
    python bench/fixtures.py --verify OUT_DIR

They are for measuring: speed and memory depend on the shape, not on what the weights say. What is
there already is left alone. OUT_DIR then holds, for each model NAME,

    NAME/                 a Hugging Face folder: config, tokenizer, model.safetensors in bf16
    NAME-bf16.gguf        the same weights; NAME-q8_0.gguf and NAME-q4_k_m.gguf are made from it

A folder with weights in f32 (the bf16 values, so the same model) comes of `--formats hf-f32` as
NAME-f32/. `hf` needs numpy and tokenizers, GGUF needs the package gguf as well, and the quantised
files are written by llama.cpp's own quantiser, through llama-cpp-python.
"""

import argparse
import json
import math
import os
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import byte_level

FORMATS = ["hf", "bf16", "q8_0", "q4_k_m"]
SEED = 1


@dataclass(frozen=True)
class Shape:
    """A model's blueprint, in the terms of a Hugging Face config."""

    layers: int
    hidden: int
    ffn: int
    heads: int
    kv_heads: int
    vocab: int
    context: int
    rope_theta: float
    llama3_rope: bool
    tokenizer: byte_level.Layout
    head_dim: int = 64
    eps: float = 1e-5


SHAPES = {
    "llama-1b": Shape(
        layers=16, hidden=2048, ffn=8192, heads=32, kv_heads=8, vocab=128256, context=131072,
        rope_theta=500000.0, llama3_rope=True, tokenizer=byte_level.LLAMA3,
    ),
    "smollm2-135m": Shape(
        layers=30, hidden=576, ffn=1536, heads=9, kv_heads=3, vocab=49152, context=8192,
        rope_theta=100000.0, llama3_rope=False, tokenizer=byte_level.SMOLLM,
    ),
}

LLAMA3_ROPE = {
    "factor": 32.0,
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 8192,
    "rope_type": "llama3",
}


# The Hugging Face folder.


def write_hf(shape: Shape, folder: Path, dtype: str = "BF16") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_level.make(shape.tokenizer, shape.vocab)
    tokenizer.save(str(folder / "tokenizer.json"))
    bos, eos = tokenizer.token_to_id(shape.tokenizer.bos), tokenizer.token_to_id(shape.tokenizer.eos)
    ids = {"bos_token_id": bos, "eos_token_id": eos}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "head_dim": shape.head_dim,
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "initializer_range": 0.02,
        "intermediate_size": shape.ffn,
        "max_position_embeddings": shape.context,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": shape.eps,
        "rope_scaling": LLAMA3_ROPE if shape.llama3_rope else None,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": True,
        "torch_dtype": {"BF16": "bfloat16", "F32": "float32"}[dtype],
        "use_cache": True,
        "vocab_size": shape.vocab,
    }
    write_json(folder / "config.json", dict(sorted({**config, **ids}.items())))
    write_json(folder / "generation_config.json", ids)
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": shape.tokenizer.bos,
        "eos_token": shape.tokenizer.eos,
        "pad_token": shape.tokenizer.eos,
        "model_max_length": shape.context,
    })
    write_whole(folder / "model.safetensors", lambda path: write_safetensors(shape, path, dtype))


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def write_whole(path: Path, write) -> None:
    """A file that exists is whole: it is written under another name first."""
    part = path.with_name(path.name + ".part")
    write(part)
    os.replace(part, path)


def tensor_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor, in file order."""
    d, q, kv = shape.hidden, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    shapes = {"model.embed_tokens.weight": (shape.vocab, d)}
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        shapes |= {
            prefix + "input_layernorm.weight": (d,),
            prefix + "self_attn.q_proj.weight": (q, d),
            prefix + "self_attn.k_proj.weight": (kv, d),
            prefix + "self_attn.v_proj.weight": (kv, d),
            prefix + "self_attn.o_proj.weight": (d, q),
            prefix + "post_attention_layernorm.weight": (d,),
            prefix + "mlp.gate_proj.weight": (shape.ffn, d),
            prefix + "mlp.up_proj.weight": (shape.ffn, d),
            prefix + "mlp.down_proj.weight": (d, shape.ffn),
        }
    return shapes | {"model.norm.weight": (d,)}


def round_to_bf16(values: np.ndarray) -> np.ndarray:
    """The bf16 bits (u16) of finite f32 values, rounded to nearest, ties to even."""
    bits = values.view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


def draw_rows(shape: Shape, name: str, size: tuple[int, ...]):
    """A tensor in blocks of rows, as bf16 bits; it depends on nothing but its name and size."""
    rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    if len(size) == 1:
        yield round_to_bf16(1.0 + 0.1 * rng.standard_normal(size, dtype=np.float32))
        return
    # Products keep the scale of what goes in, and what is added to the stream adds up to that scale:
    # then the blocks, not the embedding alone, decide the next token, and greedy answers vary.
    std = 0.02 if "embed" in name else 1 / math.sqrt(size[1])
    if name.endswith(("o_proj.weight", "down_proj.weight")):
        std /= math.sqrt(2 * shape.layers)
    for start in range(0, size[0], 1024):
        rows = min(1024, size[0] - start)
        yield round_to_bf16(std * rng.standard_normal((rows, size[1]), dtype=np.float32))


def write_safetensors(shape: Shape, path: Path, dtype: str) -> None:
    """Length of the header, the header as JSON, and the tensors."""
    width = {"BF16": 2, "F32": 4}[dtype]
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, size in tensor_shapes(shape).items():
        end = offset + width * math.prod(size)
        header[name] = {"dtype": dtype, "shape": size, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, size in tensor_shapes(shape).items():
            for block in draw_rows(shape, name, size):
                if dtype == "F32":
                    block = block.astype("<u4") << 16
                file.write(block.astype(block.dtype.newbyteorder("<"), copy=False).data)


# GGUF.

GGUF_NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def gguf_name(name: str) -> str:
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    _, _, layer, part = name.removesuffix(".weight").split(".", 3)
    return f"blk.{layer}.{GGUF_NAMES[part]}.weight"


def interleave(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of q or k in llama.cpp's order: it rotates neighbours, Hugging Face rotates halves."""
    n, width = rows.shape
    return rows.reshape(heads, 2, n // heads // 2, width).swapaxes(1, 2).reshape(n, width)


def rope_factors(shape: Shape) -> np.ndarray:
    """What llama.cpp divides the rope frequencies by, `[head_dim / 2]`: the llama3 rule, tabulated."""
    factor, context = LLAMA3_ROPE["factor"], LLAMA3_ROPE["original_max_position_embeddings"]
    low, high = LLAMA3_ROPE["low_freq_factor"], LLAMA3_ROPE["high_freq_factor"]
    frequency = shape.rope_theta ** (-np.arange(0, shape.head_dim, 2) / shape.head_dim)
    turns = context * frequency / (2 * np.pi)  # within the original context
    smooth = np.clip((turns - low) / (high - low), 0, 1)
    return (1 / ((1 - smooth) / factor + smooth)).astype(np.float32)


def mapped_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a bf16 safetensors file, mapped, as u16."""
    with path.open("rb") as file:
        n = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(n))
    header.pop("__metadata__", None)
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + n)
    view = lambda it: data[slice(*it["data_offsets"])].view("<u2").reshape(it["shape"])
    return {name: view(it) for name, it in header.items()}


def write_gguf(name: str, shape: Shape, hf: Path, path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_vocab_size(shape.vocab)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(shape.eps)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    add_vocabulary(writer, shape, hf)

    if shape.llama3_rope:
        writer.add_tensor("rope_freqs.weight", rope_factors(shape))
    for tensor, bits in mapped_tensors(hf / "model.safetensors").items():
        if bits.ndim == 1:
            writer.add_tensor(gguf_name(tensor), (bits.astype("<u4") << 16).view("<f4"))
            continue
        if "q_proj" in tensor or "k_proj" in tensor:
            bits = interleave(bits, shape.heads if "q_proj" in tensor else shape.kv_heads)
        writer.add_tensor(gguf_name(tensor), bits, raw_dtype=gguf.GGMLQuantizationType.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_vocabulary(writer, shape: Shape, hf: Path) -> None:
    import gguf

    tokenizer = json.loads((hf / "tokenizer.json").read_text())
    model = tokenizer["model"]
    special = {it["id"]: it["content"] for it in tokenizer["added_tokens"]}
    tokens = {id: token for token, id in model["vocab"].items()} | special
    assert sorted(tokens) == list(range(shape.vocab)), "ids without gaps"
    kind = lambda id: gguf.TokenType.CONTROL if id in special else gguf.TokenType.NORMAL
    ids = {token: id for id, token in special.items()}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(shape.tokenizer.gguf_pre)
    writer.add_token_list([tokens[id] for id in range(shape.vocab)])
    writer.add_token_types([kind(id) for id in range(shape.vocab)])
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_bos_token_id(ids[shape.tokenizer.bos])
    writer.add_eos_token_id(ids[shape.tokenizer.eos])
    writer.add_add_bos_token(shape.tokenizer.adds_bos)


def quantise(source: Path, path: Path, format: str) -> None:
    import llama_cpp

    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, None)
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = {
        "q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0,
        "q4_k_m": llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M,
    }[format]
    params.nthread = len(os.sched_getaffinity(0))
    failed = llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(path), params)
    if failed:
        raise SystemExit(f"llama.cpp could not quantise {source.name} to {format}")


# All of it.


def build(out: Path, models: list[str], formats: list[str]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name in models:
        shape, hf, bf16 = SHAPES[name], out / name, out / f"{name}-bf16.gguf"
        for format in formats:
            path = {"hf": hf, "hf-f32": out / f"{name}-f32"}.get(format, out / f"{name}-{format}.gguf")
            whole = path / "model.safetensors" if path.suffix == "" else path
            if whole.exists():
                continue
            print(f"making {path.name}", file=sys.stderr)
            match format:
                case "hf":
                    write_hf(shape, path)
                case "hf-f32":
                    write_hf(shape, path, "F32")
                case "bf16":
                    write_whole(path, lambda part: write_gguf(name, shape, hf, part))
                case _:
                    write_whole(path, lambda part: quantise(bf16, part, format))


def verify(out: Path, name: str) -> None:
    """Transformers (f32) on the folder and llama.cpp on the bf16 GGUF must see the same model."""
    from array import array

    from checks import cosine, equal_start
    from child import Worker

    peers = Path(__file__).resolve().parent / "peers"
    ids = [1000 + 37 * i for i in range(24)]
    answers = []
    for script, model in [("transformers_peer.py", name), ("llama_cpp_peer.py", f"{name}-bf16.gguf")]:
        worker = Worker([sys.executable, peers / script, "--model", out / model], out / "verify.log")
        if not worker.ready:
            raise SystemExit(f"{script}: {worker.hello['error']}")
        path = out / "verify.f32"
        worker.ask("prefill", ids=ids, logits=str(path))
        logits = array("f", path.read_bytes())
        # The rows of vectors are not used: there is no steering. Any file of whole rows will do.
        tokens = worker.ask("decode", ids=ids, n=12, vectors=os.devnull, steerings=[[]])["tokens"][0]
        answers.append((logits, tokens))
        path.unlink()
        worker.close()
    (a, a_tokens), (b, b_tokens) = answers
    same = equal_start(a_tokens, b_tokens)
    print(f"{name}: cosine of logits {cosine(a, b):.6f}; {same} of {len(a_tokens)} greedy tokens equal")
    if cosine(a, b) < 0.999:
        raise SystemExit(f"{name}: the folder and the GGUF hold different models")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--models", default=",".join(SHAPES), help="of " + ", ".join(SHAPES))
    parser.add_argument("--formats", default=",".join(FORMATS), help="of " + ", ".join([*FORMATS, "hf-f32"]))
    parser.add_argument("--verify", action="store_true", help="only compare HF with GGUF, by greedy tokens")
    args = parser.parse_args()
    models = args.models.split(",")
    if args.verify:
        for name in models:
            verify(args.out_dir, name)
    else:
        build(args.out_dir, models, args.formats.split(","))


if __name__ == "__main__":
    main()
