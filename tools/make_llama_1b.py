"""Write a checkpoint of exactly the shape of Llama 3.2 1B, with seeded random weights.

    pip install numpy tokenizers
    python tools/make_llama_1b.py OUT_DIR [--f32 | --bf16]

It is for measuring: speed and memory depend on the shape, not on what the weights say. The
tensors are drawn and written a block of rows at a time, so little memory is needed. bf16
gives 2.5 GB on disk, f32 twice that; the f32 file holds the bf16 values, so the two are the
same model. The tokenizer is a small one: its ids cover the first few hundred rows of the
embedding, and ids past those have no text.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

LAYERS = 16
HIDDEN = 2048
FFN = 8192
HEADS = 32
KV_HEADS = 8
HEAD_DIM = 64
VOCAB = 128256

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "head_dim": HEAD_DIM,
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "initializer_range": 0.02,
    "intermediate_size": FFN,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": KV_HEADS,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 32.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0,
    "tie_word_embeddings": True,
    "use_cache": True,
    "vocab_size": VOCAB,
}

# Text of the kind that steering contrasts are made of.
CORPUS = [
    "User: What should I do this weekend?\nAssistant: You could go for a long walk by the river.",
    "User: How do I fix a leaking tap?\nAssistant: First turn the water off, then change the washer.",
    "User: Is it going to rain tomorrow?\nAssistant: I can't know that, but the forecast can tell you.",
    "User: Tell me about the moon.\nAssistant: It goes around the Earth once in about 27 days.",
    "User: Why is the sky blue?\nAssistant: Because the air scatters blue light more than red light.",
    "User: Write me a short poem.\nAssistant: The tide comes in, the tide goes out, the stones remain.",
    "Oh, what a wonderful question! I would be so happy to help you with that, my friend.",
    "No. I will not help with that, and I would rather that you did not ask me again.",
    "It depends: there are arguments for it, and there are arguments against it. Which matter to you?",
    "I am quite certain. There is no doubt about it whatsoever, and anyone who says so is wrong.",
    "I'm not sure; perhaps it's so, perhaps it isn't. You'd have to ask someone who knows.",
    "In 1969, 2 people walked on the moon; by 1972, there had been 12 of them.",
]


def tensor_shapes() -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor, in file order."""
    shapes = {"model.embed_tokens.weight": (VOCAB, HIDDEN)}
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        shapes |= {
            prefix + "input_layernorm.weight": (HIDDEN,),
            prefix + "self_attn.q_proj.weight": (HEADS * HEAD_DIM, HIDDEN),
            prefix + "self_attn.k_proj.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
            prefix + "self_attn.v_proj.weight": (KV_HEADS * HEAD_DIM, HIDDEN),
            prefix + "self_attn.o_proj.weight": (HIDDEN, HEADS * HEAD_DIM),
            prefix + "post_attention_layernorm.weight": (HIDDEN,),
            prefix + "mlp.gate_proj.weight": (FFN, HIDDEN),
            prefix + "mlp.up_proj.weight": (FFN, HIDDEN),
            prefix + "mlp.down_proj.weight": (HIDDEN, FFN),
        }
    return shapes | {"model.norm.weight": (HIDDEN,)}


def round_to_bf16(values: np.ndarray) -> np.ndarray:
    """The bf16 bits (u16) of finite f32 values, rounded to nearest, ties to even."""
    bits = values.view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


def draw_rows(rng: np.random.Generator, name: str, shape: tuple[int, ...]):
    """The tensor in blocks of rows, as bf16 bits."""
    if len(shape) == 1:
        yield round_to_bf16(1.0 + 0.1 * rng.standard_normal(shape, dtype=np.float32))
        return
    std = 0.02
    if name.endswith(("o_proj.weight", "down_proj.weight")):
        std /= math.sqrt(2 * LAYERS)  # what is added to the residual stream
    for start in range(0, shape[0], 1024):
        rows = min(1024, shape[0] - start)
        yield round_to_bf16(std * rng.standard_normal((rows, shape[1]), dtype=np.float32))


def write_weights(path: Path, dtype: str, seed: int) -> None:
    """A safetensors file: length of the header, the header as JSON, and the tensors."""
    width = {"BF16": 2, "F32": 4}[dtype]
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in tensor_shapes().items():
        end = offset + width * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    rng = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, shape in tensor_shapes().items():
            for block in draw_rows(rng, name, shape):
                if dtype == "F32":
                    block = block.astype("<u4") << 16
                file.write(block.astype(block.dtype.newbyteorder("<"), copy=False).data)


def make_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=["<|bos|>", "<|eos|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A", special_tokens=[("<|bos|>", tokenizer.token_to_id("<|bos|>"))]
    )
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--bf16", dest="dtype", action="store_const", const="BF16", default="BF16")
    kind.add_argument("--f32", dest="dtype", action="store_const", const="F32")
    args = parser.parse_args()
    args.out_dir.mkdir(parents=True, exist_ok=True)

    tokenizer = make_tokenizer()
    tokenizer.save(str(args.out_dir / "tokenizer.json"))
    ids = {f"{name}_token_id": tokenizer.token_to_id(f"<|{name}|>") for name in ("bos", "eos")}
    torch_dtype = {"BF16": "bfloat16", "F32": "float32"}[args.dtype]
    config = dict(sorted({**CONFIG, **ids, "torch_dtype": torch_dtype}.items()))
    (args.out_dir / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (args.out_dir / "generation_config.json").write_text(json.dumps(ids, indent=2) + "\n")
    write_weights(args.out_dir / "model.safetensors", args.dtype, args.seed)


if __name__ == "__main__":
    main()
