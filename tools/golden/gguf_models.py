"""Write tiny GGUF models and tokenizers, and what has to come out of them.

    pip install -r tools/golden/requirements.txt
    python tools/golden/gguf_models.py            # into tests/golden/gguf/

The float models are the checkpoints of tests/golden/llama-*, which have their expected values beside
them. The quantised ones are one random model, quantised by llama.cpp; what they should give is
computed here in f64 from the dequantised weights, with the rotation that the file's row order is
made for, and checked against llama.cpp's own greedy tokens. Tokenizers are trained here; every text
is encoded by the original (`tokenizers`, or `sentencepiece`) and by llama.cpp.
"""

import argparse
import io
import json
import math
import tempfile
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import sentencepiece
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader, GGUFWriter, TokenType
from make_golden import CORPUS, LLAMA3_SPLIT, TEXTS
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
GREEDY_STEPS = 16
QUIET = llama_cpp.llama_log_callback(lambda *_: None)

# Hugging Face's names of the tensors, and the file's.
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
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


def stored_name(name: str) -> str:
    part, kind = name.rsplit(".", 1)
    if not part.startswith("model.layers."):
        return f"{NAMES[part]}.{kind}"
    layer, part = part.removeprefix("model.layers.").split(".", 1)
    return f"blk.{layer}.{NAMES[part]}.{kind}"


def interleave(rows: np.ndarray, n_heads: int) -> np.ndarray:
    """Rows [n_heads * head_dim, ...] so that the two that are rotated together are neighbours."""
    halves = rows.reshape(n_heads, 2, rows.shape[0] // n_heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


# Writing.


def add_shape(writer: GGUFWriter, config: dict, head_dim: int) -> None:
    writer.add_name("a tiny llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def add_rope(writer: GGUFWriter, config: dict, head_dim: int) -> None:
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = rope.get("rope_theta", config.get("rope_theta"))
    writer.add_rope_freq_base(theta)
    kind = rope.get("rope_type", "default")
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif kind == "llama3":
        context = rope["original_max_position_embeddings"]
        low, high = rope["low_freq_factor"], rope["high_freq_factor"]
        factors = []
        for i in range(0, head_dim, 2):
            turns = context / (2 * math.pi * theta ** (i / head_dim))
            keep = min(max((turns - low) / (high - low), 0.0), 1.0)
            factors.append(1.0 / ((1.0 - keep) / rope["factor"] + keep))
        writer.add_tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))


def add_byte_level(writer: GGUFWriter, tokenizer: dict, pre: str, add_bos: bool) -> None:
    """The vocabulary of a `tokenizer.json`."""
    ids = dict(tokenizer["model"]["vocab"])
    added = {token["content"]: token for token in tokenizer["added_tokens"]}
    ids.update({content: token["id"] for content, token in added.items()})
    tokens = sorted(ids, key=ids.get)
    assert [ids[token] for token in tokens] == list(range(len(tokens)))

    def kind(token: str) -> TokenType:
        if token not in added:
            return TokenType.NORMAL
        return TokenType.CONTROL if added[token]["special"] else TokenType.USER_DEFINED

    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([kind(token) for token in tokens])
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in merges])
    if "<|bos|>" in ids:
        writer.add_bos_token_id(ids["<|bos|>"])
        writer.add_eos_token_id(ids["<|eos|>"])
        writer.add_eot_token_id(ids["<|eot|>"])
        writer.add_add_bos_token(add_bos)


def write_file(writer: GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def checkpoint_tensors(folder: Path) -> dict[str, tuple[np.ndarray, Type]]:
    """The tensors of a checkpoint: bits for bf16, numbers for the rest."""
    tensors = {}
    for path in sorted(folder.glob("model*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():
                tensor = file.get_tensor(name)
                if str(tensor.dtype) == "torch.bfloat16":
                    bits = tensor.view(dtype=__import__("torch").int16).numpy().view(np.uint16)
                    tensors[name] = (bits, Type.BF16)
                else:
                    array = tensor.numpy()
                    tensors[name] = (array, Type.F16 if array.dtype == np.float16 else Type.F32)
    return tensors


def write_float_model(folder: Path, path: Path) -> None:
    """A checkpoint as it is, in one file; vectors are widened to f32, as llama.cpp wants them."""
    config = json.loads((folder / "config.json").read_text())
    config.setdefault("num_key_value_heads", config["num_attention_heads"])
    head_dim = config.get("head_dim", config["hidden_size"] // config["num_attention_heads"])
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    is_llama3 = tokenizer["pre_tokenizer"]["type"] == "Sequence"
    writer = GGUFWriter(path, "llama")
    add_shape(writer, config, head_dim)
    add_rope(writer, config, head_dim)
    add_byte_level(writer, tokenizer, "llama-bpe" if is_llama3 else "gpt-2", add_bos=True)
    for name, (tensor, kind) in checkpoint_tensors(folder).items():
        stored = stored_name(name)
        if ".attn_q." in stored:
            tensor = interleave(tensor, config["num_attention_heads"])
        if ".attn_k." in stored:
            tensor = interleave(tensor, config["num_key_value_heads"])
        if tensor.ndim == 1:
            wide = tensor.astype(np.uint32) << 16 if kind == Type.BF16 else tensor.astype(np.float32)
            writer.add_tensor(stored, wide.view(np.float32))
        elif kind == Type.BF16:
            writer.add_tensor(stored, np.ascontiguousarray(tensor).view(np.uint8), raw_dtype=kind)
        else:
            writer.add_tensor(stored, np.ascontiguousarray(tensor))
    write_file(writer)


# The quantised models.

SHAPE = {
    "hidden_size": 256,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
}
HEAD_DIM = 64
SEED = 16  # every greedy step has its best logit well ahead of the next

# Each quantised type once or more, wherever it comes to lie.
MIXED = {
    "token_embd": Type.Q6_K,
    "output": Type.Q5_1,
    "blk.0.attn_q": Type.Q2_K,
    "blk.0.attn_k": Type.Q3_K,
    "blk.0.attn_v": Type.Q4_1,
    "blk.0.attn_output": Type.Q5_0,
    "blk.0.ffn_gate": Type.Q5_1,
    "blk.0.ffn_up": Type.Q5_K,
    "blk.0.ffn_down": Type.Q6_K,
    "blk.1.attn_q": Type.Q4_K,
    "blk.1.attn_k": Type.Q8_0,
    "blk.1.attn_v": Type.BF16,
    "blk.1.attn_output": Type.Q4_0,
    "blk.1.ffn_gate": Type.Q2_K,
    "blk.1.ffn_up": Type.F16,
    "blk.1.ffn_down": Type.Q3_K,
}


def add_random_shape(writer: GGUFWriter) -> None:
    tokenizer = json.loads((GOLDEN / "llama-gqa-tied-bf16" / "tokenizer.json").read_text())
    config = {**SHAPE, "vocab_size": 304}
    add_shape(writer, config, HEAD_DIM)
    add_rope(writer, config, HEAD_DIM)
    add_byte_level(writer, tokenizer, "llama-bpe", add_bos=True)


def write_random_model(path: Path) -> None:
    rng = np.random.default_rng(SEED)
    d, ff = SHAPE["hidden_size"], SHAPE["intermediate_size"]
    kv = SHAPE["num_key_value_heads"] * HEAD_DIM
    writer = GGUFWriter(path, "llama")
    add_random_shape(writer)

    def add(name: str, *shape: int, std: float) -> None:
        writer.add_tensor(name, (std * rng.standard_normal(shape)).astype(np.float32))

    def add_norm(name: str) -> None:
        writer.add_tensor(name, (1.0 + 0.2 * rng.standard_normal(d)).astype(np.float32))

    add("token_embd.weight", 304, d, std=0.5)
    add("output.weight", 304, d, std=0.25)
    add_norm("output_norm.weight")
    for layer in range(SHAPE["num_hidden_layers"]):
        at = f"blk.{layer}."
        add_norm(at + "attn_norm.weight")
        add(at + "attn_q.weight", d, d, std=0.06)
        add(at + "attn_k.weight", kv, d, std=0.06)
        add(at + "attn_v.weight", kv, d, std=0.05)
        add(at + "attn_output.weight", d, d, std=0.05)
        add_norm(at + "ffn_norm.weight")
        add(at + "ffn_gate.weight", ff, d, std=0.05)
        add(at + "ffn_up.weight", ff, d, std=0.05)
        add(at + "ffn_down.weight", d, ff, std=0.05)
    write_file(writer)


def quantise(source: Path, to: Path, ftype: int, pure: bool = False) -> None:
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.pure, params.nthread = ftype, pure, 1
    assert llama_cpp.llama_model_quantize(str(source).encode(), str(to).encode(), params) == 0


def write_mixed(source: Path, to: Path, scratch: Path) -> None:
    """Every tensor in the type that MIXED gives it."""
    pure = {}
    for kind, ftype in [
        (Type.Q2_K, llama_cpp.LLAMA_FTYPE_MOSTLY_Q2_K),
        (Type.Q3_K, llama_cpp.LLAMA_FTYPE_MOSTLY_Q3_K_M),
        (Type.Q4_K, llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M),
        (Type.Q5_K, llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_M),
        (Type.Q6_K, llama_cpp.LLAMA_FTYPE_MOSTLY_Q6_K),
    ]:
        path = scratch / f"{kind.name}.gguf"
        quantise(source, path, ftype, pure=True)
        pure[kind] = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    writer = GGUFWriter(to, "llama")
    add_random_shape(writer)
    writer.add_quantization_version(2)
    for tensor in GGUFReader(source).tensors:
        kind = MIXED.get(tensor.name.removesuffix(".weight"), Type.F32)
        if kind in pure:
            assert pure[kind][tensor.name].tensor_type == kind, tensor.name
            writer.add_tensor(tensor.name, pure[kind][tensor.name].data, raw_dtype=kind)
        elif kind == Type.F32:
            writer.add_tensor(tensor.name, tensor.data)
        else:
            data = gguf.quants.quantize(np.array(tensor.data), kind)
            writer.add_tensor(tensor.name, data, raw_dtype=kind)
    write_file(writer)


# What a file should give, in f64.


class Reference:
    """The forward pass over a file's dequantised weights, its rows in the file's own order."""

    def __init__(self, path: Path):
        reader = GGUFReader(path)
        self.meta = {name: field.contents() for name, field in reader.fields.items()}
        self.weights, self.types = {}, {}
        for tensor in reader.tensors:
            weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
            self.weights[tensor.name] = weight.astype(np.float64)
            self.types[tensor.name] = tensor.tensor_type

    def key(self, name: str):
        return self.meta[f"llama.{name}"]

    def linear(self, x: np.ndarray, name: str, int8: bool) -> np.ndarray:
        weight, kind = self.weights[f"{name}.weight"], self.types[f"{name}.weight"]
        if int8 and kind not in (Type.F32, Type.F16, Type.BF16):
            x = eight_bits(x, 256 if kind.name.endswith("_K") else 32)
        return x @ weight.T + self.weights.get(f"{name}.bias", 0.0)

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        eps = self.key("attention.layer_norm_rms_epsilon")
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * self.weights[f"{name}.weight"]

    def logits(self, ids: list[int], int8: bool = False) -> np.ndarray:
        """[n, vocab]. With `int8`, what a quantised matrix is multiplied with is rounded to 8 bits."""
        n_heads, n_kv = self.key("attention.head_count"), self.key("attention.head_count_kv")
        head_dim, n = self.key("attention.key_length"), len(ids)
        pairs = np.arange(0, head_dim, 2)
        frequencies = self.key("rope.freq_base") ** (-pairs / head_dim)
        frequencies /= self.weights.get("rope_freqs.weight", 1.0)
        frequencies /= self.meta.get("llama.rope.scaling.factor", 1.0)
        turn = np.exp(1j * np.arange(n)[:, None, None] * frequencies)

        def rotate(x: np.ndarray, heads: int) -> np.ndarray:
            """Neighbours are the two parts of one complex number."""
            z = np.ascontiguousarray(x.reshape(n, heads, head_dim)).view(np.complex128) * turn
            return z.view(np.float64)

        x = self.weights["token_embd.weight"][ids]
        for layer in range(self.key("block_count")):
            at = f"blk.{layer}."
            h = self.norm(x, at + "attn_norm")
            q = rotate(self.linear(h, at + "attn_q", int8), n_heads)
            k = rotate(self.linear(h, at + "attn_k", int8), n_kv).repeat(n_heads // n_kv, axis=1)
            v = self.linear(h, at + "attn_v", int8).reshape(n, n_kv, head_dim)
            v = v.repeat(n_heads // n_kv, axis=1)
            scores = np.einsum("ihd,jhd->hij", q, k) / math.sqrt(head_dim)
            scores[:, np.triu(np.ones((n, n), bool), 1)] = -np.inf
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            weights /= weights.sum(-1, keepdims=True)
            mixed = np.einsum("hij,jhd->ihd", weights, v).reshape(n, n_heads * head_dim)
            x = x + self.linear(mixed, at + "attn_output", int8)
            h = self.norm(x, at + "ffn_norm")
            gate, up = self.linear(h, at + "ffn_gate", int8), self.linear(h, at + "ffn_up", int8)
            x = x + self.linear(gate / (1.0 + np.exp(-gate)) * up, at + "ffn_down", int8)
        head = "output" if "output.weight" in self.weights else "token_embd"
        return self.linear(self.norm(x, "output_norm"), head, int8)

    def greedy(self, prompt: list[int]) -> tuple[list[int], float]:
        """The next tokens, and the least margin between the two best."""
        ids, margin = list(prompt), math.inf
        for _ in range(GREEDY_STEPS):
            last = self.logits(ids)[-1]
            best = np.sort(last)[-2:]
            margin = min(margin, best[1] - best[0])
            ids.append(int(last.argmax()))
        return ids[len(prompt):], float(margin)


def eight_bits(x: np.ndarray, block: int) -> np.ndarray:
    """Rows rounded to 127 steps of the largest magnitude in each block."""
    blocks = x.reshape(*x.shape[:-1], -1, block)
    scale = np.abs(blocks).max(-1, keepdims=True) / 127.0
    return (np.rint(blocks / np.where(scale == 0, 1, scale)) * scale).reshape(x.shape)


def open_llama_cpp(path: Path, **options) -> llama_cpp.Llama:
    f32 = llama_cpp.GGML_TYPE_F32
    return llama_cpp.Llama(str(path), n_ctx=128, n_threads=1, type_k=f32, type_v=f32, verbose=False, **options)


def llama_cpp_greedy(path: Path, prompt: list[int], n: int) -> list[int]:
    llama = open_llama_cpp(path)
    tokens = []
    llama.eval(prompt)
    for _ in range(n):
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits(llama.ctx), (llama.n_vocab(),))
        tokens.append(int(logits.argmax()))
        llama.eval(tokens[-1:])
    return tokens


def worst(got: np.ndarray, want: np.ndarray) -> float:
    """The largest error as a fraction of the largest magnitude."""
    return float(np.abs(got - want).max() / np.abs(want).max())


def agreed(a: list[int], b: list[int]) -> str:
    n = next((i for i, pair in enumerate(zip(a, b)) if pair[0] != pair[1]), len(a))
    return f"llama.cpp's greedy tokens agree for {n} of {len(a)}"


def write_float_models(out: Path) -> None:
    for folder in sorted(GOLDEN.glob("llama-*")):
        path = out / f"{folder.name.removeprefix('llama-')}.gguf"
        write_float_model(folder, path)
        golden = json.loads((folder / "golden.json").read_text())
        logits = load_file(folder / "golden.safetensors")["logits"]
        off = worst(Reference(path).logits(golden["prompt_ids"]), logits)
        assert off < 2e-5, f"{path.name}: off by {off}"
        tokens = llama_cpp_greedy(path, golden["prompt_ids"], len(golden["greedy"]))
        if path.stem.endswith("f32"):
            assert tokens == golden["greedy"], f"{path.name}: llama.cpp disagrees"
        print(f"{path.name}: off by {off:.1e}; {agreed(golden['greedy'], tokens)}")


def write_quantised_models(out: Path) -> None:
    prompt = json.loads((GOLDEN / "llama-gqa-tied-bf16" / "golden.json").read_text())["prompt_ids"][:24]
    tensors, greedy = {"input_ids": np.array(prompt)}, {}
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source.gguf"
        write_random_model(source)
        quantise(source, out / "q8_0.gguf", llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0)
        quantise(source, out / "q4_0.gguf", llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0)
        quantise(source, out / "q4_k_m.gguf", llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M)
        write_mixed(source, out / "mixed.gguf", Path(scratch))
    for name in ["q8_0", "q4_0", "q4_k_m", "mixed"]:
        path = out / f"{name}.gguf"
        reference = Reference(path)
        exact, int8 = reference.logits(prompt), reference.logits(prompt, int8=True)
        tensors[f"{name}.logits"] = exact.astype(np.float32)
        tensors[f"{name}.logits_int8"] = int8.astype(np.float32)
        greedy[name], margin = reference.greedy(prompt)
        tokens = llama_cpp_greedy(path, prompt, GREEDY_STEPS)
        print(
            f"{path.name}: {path.stat().st_size / 1024:.0f} KB, {len(set(reference.types.values()))} types, "
            f"8-bit activations off by {worst(int8, exact):.1e}, least margin {margin:.3f}, "
            f"{agreed(greedy[name], tokens)}"
        )
    save_file(tensors, out / "quantised.safetensors")
    (out / "quantised.json").write_text(json.dumps({"prompt_ids": prompt, "greedy": greedy}) + "\n")


# Tokenizers.

QWEN2_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN_SPLIT = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

MORE_TEXTS = [
    "a  b   c    d     e      f",
    " " * 17,
    "\n \n  \n   \n",
    "x<tool>y <tool> z",
    "<|bos|> spaced <|eot|> out",
    "I'LL we'Ll THEY'VE it'S 'tis",
    "HTTPServer iPhone McDonald's",
    "a/b//c\n//d",
    "cafe\u0301 a\u0308\u0323 \u1100\u1161",
    "1234567 12 ١٢٣ ④⑤",
]


def byte_level(split: str | None, digits: bool, compose: bool, ignore_merges: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if compose:
        tokenizer.normalizer = normalizers.NFC()
    steps = [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None)]
    if split is not None:
        steps.insert(0, pre_tokenizers.Split(Regex(split), behavior="isolated"))
    if digits:
        steps.insert(0, pre_tokenizers.Digits(individual_digits=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS + TEXTS, trainer)
    tokenizer.add_special_tokens(["<|bos|>", "<|eos|>", "<|eot|>"])
    tokenizer.add_tokens(["<tool>"])
    return tokenizer


def cases_of(texts: list[str], encode, decode, path: Path, known: set[str]) -> list[dict]:
    """The original's ids of every text; llama.cpp must agree but for the texts in `known`."""
    llama = open_llama_cpp(path, vocab_only=True)
    cases = []
    for text in texts:
        ids = encode(text)
        theirs = llama.tokenize(text.encode(), add_bos=False, special=True) if text else []
        assert (ids == theirs) != (text in known), f"{path.name}: {text!r}: {ids}, llama.cpp: {theirs}"
        cases.append({"text": text, "ids": ids, "decoded": decode(ids)})
    return cases


def write_byte_level(out: Path, pre: str, known: set[str], **rule) -> list[dict]:
    tokenizer = byte_level(**rule)
    path = out / f"tokenizer-{pre}.gguf"
    writer = GGUFWriter(path, "llama")
    add_byte_level(writer, json.loads(tokenizer.to_str()), pre, add_bos=False)
    write_file(writer)
    return cases_of(
        TEXTS + MORE_TEXTS,
        lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
        lambda ids: tokenizer.decode(ids, skip_special_tokens=True),
        path,
        known,
    )


def add_pieces(writer: GGUFWriter, original: sentencepiece.SentencePieceProcessor) -> None:
    """What a SentencePiece model knows of its tokens: texts, scores, kinds."""

    def kind(i: int) -> TokenType:
        if original.is_unknown(i):
            return TokenType.UNKNOWN
        if original.is_control(i):
            return TokenType.CONTROL
        if original.is_byte(i):
            return TokenType.BYTE
        return TokenType.USER_DEFINED if original.id_to_piece(i) == "<tool>" else TokenType.NORMAL

    ids = range(original.get_piece_size())
    writer.add_token_list([original.id_to_piece(i) for i in ids])
    writer.add_token_scores([original.get_score(i) for i in ids])
    writer.add_token_types([kind(i) for i in ids])


def write_sentencepiece(out: Path, prefix_space: bool) -> list[dict]:
    """Only texts without special tokens: SentencePiece itself does not look for them."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS + [text for text in TEXTS if text.isprintable()]),
        model_writer=model,
        model_type="bpe",
        vocab_size=480,
        byte_fallback=True,
        split_digits=True,
        add_dummy_prefix=prefix_space,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        normalization_rule_name="identity",
        character_coverage=0.98,
        user_defined_symbols=["<tool>"],
        minloglevel=2,
        num_threads=1,
    )
    original = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())

    path = out / f"tokenizer-spm{'' if prefix_space else '-no-prefix'}.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    add_pieces(writer, original)
    writer.add_bos_token_id(original.bos_id())
    writer.add_eos_token_id(original.eos_id())
    writer.add_add_space_prefix(prefix_space)
    write_file(writer)
    texts = [text for text in TEXTS + MORE_TEXTS if "<tool>" not in text and "\x00" not in text]
    return cases_of(texts, original.encode, original.decode, path, set())


def write_tokenizers(out: Path) -> None:
    # llama.cpp does not compose characters, and cuts words of Devanagari at vowel signs.
    composed = {"cafe\u0301 with a combining accent", "cafe\u0301 a\u0308\u0323 \u1100\u1161"}
    signs = {"नमस्ते दुनिया ๑๒๓"}
    plain = {"split": None, "digits": False, "compose": False, "ignore_merges": False}
    cases = {
        "smollm": write_byte_level(out, "smollm", set(), **{**plain, "digits": True}),
        "qwen2": write_byte_level(out, "qwen2", composed, **{**plain, "split": QWEN2_SPLIT, "compose": True}),
        "tekken": write_byte_level(out, "tekken", signs, **{**plain, "split": TEKKEN_SPLIT, "ignore_merges": True}),
        "spm": write_sentencepiece(out, True),
        "spm-no-prefix": write_sentencepiece(out, False),
    }
    lines = []
    for name, entries in cases.items():
        entries = ",\n".join("    " + json.dumps(entry) for entry in entries)
        lines.append(f"  {json.dumps(name)}: [\n{entries}\n  ]")
        print(f"tokenizer-{name}.gguf: {len(cases[name])} texts")
    (out / "tokenizers.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=GOLDEN / "gguf", help="folder of the files")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    llama_cpp.llama_log_set(QUIET, None)
    write_float_models(out)
    write_quantised_models(out)
    write_tokenizers(out)


if __name__ == "__main__":
    main()
