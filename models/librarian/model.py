"""A small Llama in plain PyTorch whose parameter names are those of the Hugging Face format."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Config:
    """The shape of the model; the defaults are the ones that are shipped."""

    vocab: int = 3072
    hidden: int = 256
    layers: int = 6
    heads: int = 8
    kv_heads: int = 2
    ffn: int = 480
    positions: int = 512
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5

    @property
    def head_dim(self):
        return self.hidden // self.heads


class Llama(nn.Module):
    """Decoder-only transformer: grouped-query attention, rotary positions, SwiGLU, tied embeddings."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab, config.hidden)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = Norm(config)
        frequency = config.rope_theta ** -(torch.arange(0, config.head_dim, 2).float() / config.head_dim)
        angle = torch.outer(torch.arange(config.positions).float(), frequency)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)
        self._initialise()

    def forward(self, ids, positions, mask, steering=None, cache=None):
        """Returns the normed final state and the residual stream after every block.

        `steering` maps a block index to a vector that is added to its output at
        every position. `cache` is a list with one entry per block, which is
        updated in place; new tokens are appended to what it holds.
        """
        state = self.embed_tokens(ids)
        if torch.is_autocast_enabled("cpu"):
            state = state.bfloat16()
        cos = self.cos[positions].unsqueeze(1).to(state.dtype)
        sin = self.sin[positions].unsqueeze(1).to(state.dtype)
        residuals = []
        for index, block in enumerate(self.layers):
            state = block(state, cos, sin, mask, cache, index)
            if steering is not None and index in steering:
                state = state + steering[index].to(state.dtype)
            residuals.append(state)
        return self.norm(state), residuals

    def logits(self, state):
        return F.linear(state, self.embed_tokens.weight.to(state.dtype))

    def _initialise(self):
        depth_scale = 1 / math.sqrt(2 * self.config.layers)
        for name, weight in self.named_parameters():
            if weight.dim() == 1:
                continue
            scale = 0.02 if "embed" in name else 1 / math.sqrt(weight.shape[1])
            if "o_proj" in name or "down_proj" in name:
                scale *= depth_scale
            nn.init.normal_(weight, std=scale)


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.input_layernorm = Norm(config)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = Norm(config)
        self.mlp = Mlp(config)

    def forward(self, state, cos, sin, mask, cache, index):
        state = state + self.self_attn(self.input_layernorm(state), cos, sin, mask, cache, index)
        return state + self.mlp(self.post_attention_layernorm(state))


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        width, kv_width = config.heads * config.head_dim, config.kv_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden, width, bias=False)
        self.k_proj = nn.Linear(config.hidden, kv_width, bias=False)
        self.v_proj = nn.Linear(config.hidden, kv_width, bias=False)
        self.o_proj = nn.Linear(width, config.hidden, bias=False)

    def forward(self, state, cos, sin, mask, cache, index):
        config = self.config
        batch, length, _ = state.shape
        query = self._split(self.q_proj(state), config.heads)
        key = self._split(self.k_proj(state), config.kv_heads)
        value = self._split(self.v_proj(state), config.kv_heads)
        query, key = _rotate(query, cos, sin), _rotate(key, cos, sin)
        if cache is not None:
            if cache[index] is not None:
                key = torch.cat([cache[index][0], key], 2)
                value = torch.cat([cache[index][1], value], 2)
            cache[index] = (key, value)
        groups = config.heads // config.kv_heads
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))

    def _split(self, projected, heads):
        batch, length, _ = projected.shape
        return projected.view(batch, length, heads, self.config.head_dim).transpose(1, 2)


class Mlp(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden, config.ffn, bias=False)
        self.up_proj = nn.Linear(config.hidden, config.ffn, bias=False)
        self.down_proj = nn.Linear(config.ffn, config.hidden, bias=False)

    def forward(self, state):
        return self.down_proj(F.silu(self.gate_proj(state)) * self.up_proj(state))


class Norm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.hidden))
        self.eps = config.norm_eps

    def forward(self, state):
        return F.rms_norm(state, (state.shape[-1],), self.weight.to(state.dtype), self.eps)


def save(model, folder):
    """Writes config.json, generation_config.json and model.safetensors (bfloat16)."""
    from safetensors.torch import save_file

    folder, config = Path(folder), model.config
    description = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": config.hidden,
        "intermediate_size": config.ffn,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.positions,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "vocab_size": config.vocab,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "initializer_range": 0.02,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
        "torch_dtype": "bfloat16",
    }
    generation = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    (folder / "config.json").write_text(json.dumps(description, indent=2) + "\n")
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n")
    tensors = {f"model.{name}": weight.bfloat16().contiguous() for name, weight in model.state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)


def load(folder):
    """Reads a folder written by `save`, in float32."""
    from safetensors.torch import load_file

    folder = Path(folder)
    description = json.loads((folder / "config.json").read_text())
    config = Config(
        vocab=description["vocab_size"],
        hidden=description["hidden_size"],
        layers=description["num_hidden_layers"],
        heads=description["num_attention_heads"],
        kv_heads=description["num_key_value_heads"],
        ffn=description["intermediate_size"],
        positions=description["max_position_embeddings"],
        rope_theta=description["rope_theta"],
        norm_eps=description["rms_norm_eps"],
    )
    model = Llama(config)
    tensors = load_file(folder / "model.safetensors")
    model.load_state_dict({name.removeprefix("model."): weight.float() for name, weight in tensors.items()})
    return model.eval()


def _rotate(vectors, cos, sin):
    first, second = vectors.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)
