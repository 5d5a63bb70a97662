"""Byte-level BPE tokenizers of a given size, learned from the texts of this repository.

The texts are enough to learn some thousand pieces of English, so that a text is cut about as finely
as by the tokenizers whose sizes these take. The rest of the vocabulary is filled with what no text
here contains, as in any vocabulary most entries are: ideographs, and pairs of them.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

ROOT = Path(__file__).resolve().parent.parent

# Pieces to learn: with these, the librarian contrasts come to 4.4 characters a token, as English
# does with Llama 3's own vocabulary. Learning more would find every word of so small a corpus.
LEARNED = 9000


@dataclass(frozen=True)
class Layout:
    """Where a family's special tokens lie, and how it cuts text into words."""

    bos: str
    eos: str
    special: tuple[str, ...]
    special_first: bool
    adds_bos: bool
    gguf_pre: str  # llama.cpp's name for the way of cutting
    words: tuple  # pre-tokenizers in front of the bytes

    def pre_tokenizer(self):
        return pre_tokenizers.Sequence(list(self.words))


LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = Layout(
    bos="<|begin_of_text|>",
    eos="<|end_of_text|>",
    special=("<|begin_of_text|>", "<|end_of_text|>", *(f"<|reserved_{i}|>" for i in range(254))),
    special_first=False,
    adds_bos=True,
    gguf_pre="llama-bpe",
    words=(
        pre_tokenizers.Split(Regex(LLAMA3_WORDS), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ),
)
SMOLLM = Layout(
    bos="<|endoftext|>",
    eos="<|endoftext|>",
    special=("<|endoftext|>", *(f"<|reserved_{i}|>" for i in range(16))),
    special_first=True,
    adds_bos=False,
    gguf_pre="smollm",
    words=(
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ),
)


def make(layout: Layout, size: int) -> Tokenizer:
    """A tokenizer with `size` entries, special tokens included."""
    first = len(layout.special) if layout.special_first else 0
    pieces, merges = learn(layout)
    fill(pieces, merges, size - len(layout.special))
    vocab = {piece: first + i for i, piece in enumerate(pieces)}
    specials = {token: i + (0 if first else len(pieces)) for i, token in enumerate(layout.special)}

    tokenizer = Tokenizer(models.BPE(vocab=vocab | specials, merges=merges))
    tokenizer.pre_tokenizer = layout.pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in layout.special])
    if layout.adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{layout.bos} $A", special_tokens=[(layout.bos, specials[layout.bos])]
        )
    assert tokenizer.get_vocab_size() == size
    return tokenizer


def learn(layout: Layout) -> tuple[list[str], list[tuple[str, str]]]:
    """The 256 bytes and the pieces learned, in order, and the merges that make them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = layout.pre_tokenizer()
    trainer = trainers.BpeTrainer(
        vocab_size=LEARNED, initial_alphabet=sorted(byte_characters()), show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    model = json.loads(tokenizer.to_str())["model"]
    pieces = sorted(model["vocab"], key=model["vocab"].get)
    return pieces, [tuple(pair) for pair in model["merges"]]


def fill(pieces: list[str], merges: list[tuple[str, str]], size: int) -> None:
    """Appends ideographs and pairs of them, each made by one merge, up to `size` pieces."""
    known = set(pieces)

    def merge(left: str, right: str) -> str:
        if left + right not in known and len(pieces) < size:
            known.add(left + right)
            pieces.append(left + right)
            merges.append((left, right))
        return left + right

    of_byte = byte_characters()
    ideographs = []
    for point in range(0x4E00, 0xA000):
        first, second, third = (of_byte[byte] for byte in chr(point).encode())
        ideographs.append(merge(merge(first, second), third))
    apart = 0
    while len(pieces) < size:
        apart += 1
        for left, right in zip(ideographs, ideographs[apart:]):
            merge(left, right)


def byte_characters() -> list[str]:
    """The printable character that stands for each byte in a byte-level vocabulary."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]


def corpus():
    for path in sorted((ROOT / "contrasts").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            contrast = json.loads(line)
            for answer in (contrast["positive"], contrast["negative"]):
                yield f"User: {contrast['prompt']}\nAssistant: {answer}"
    for path in sorted((ROOT / "docs").glob("*.md")):
        yield path.read_text()
