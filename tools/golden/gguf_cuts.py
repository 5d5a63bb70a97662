"""Write tiny byte-level tokenizers as GGUF, one for each way of cutting text, and their ids.

    python gguf_cuts.py

Each is trained and asked as the original is built (`tokenizers`); llama.cpp reads the written file and
must agree, but for the texts that are listed with the reason. `gguf_models.py` writes five more.
"""

import json
from pathlib import Path

from gguf import GGUFWriter
from gguf_models import CORPUS, GOLDEN, MORE_TEXTS, QWEN2_SPLIT, TEXTS, add_byte_level, cases_of, write_file
from make_golden import LLAMA3_SPLIT
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
GPT4O = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{CONTRACTIONS}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DEEPSEEK_CODER = [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"]
DEEPSEEK3 = [
    r"\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
]

# llama.cpp does not compose characters.
COMPOSED = {"cafe\u0301 with a combining accent", "cafe\u0301 a\u0308\u0323 \u1100\u1161"}

# It cuts words of Devanagari at vowel signs.
SIGNS = {"नमस्ते दुनिया ๑๒๓"}

# For each name: patterns (none: GPT-2's own), digits by themselves, characters composed, pieces that are
# tokens kept whole, and where llama.cpp differs.
CUTS = {
    "gpt-2": ([], False, False, False, set()),
    "olmo": ([], False, True, False, COMPOSED),
    "llama-bpe": ([LLAMA3_SPLIT], False, False, True, set()),
    "dbrx": ([LLAMA3_SPLIT], False, False, False, set()),
    "refact": ([], True, False, False, set()),
    "stablelm2": ([QWEN2_SPLIT], False, False, False, set()),
    "gpt-4o": ([GPT4O], False, False, False, SIGNS),
    "deepseek-coder": (DEEPSEEK_CODER, False, False, False, set()),
    "deepseek-v3": (DEEPSEEK3, False, False, False, set()),
}


def train(patterns: list[str], digits: bool, compose: bool, ignore_merges: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if compose:
        tokenizer.normalizer = normalizers.NFC()
    steps = [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in patterns]
    if digits:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not patterns))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS + TEXTS, trainer)
    tokenizer.add_special_tokens(["<|bos|>", "<|eos|>", "<|eot|>"])
    tokenizer.add_tokens(["<tool>"])
    return tokenizer


def main() -> None:
    out = GOLDEN / "gguf"
    lines = []
    for pre, (*rule, known) in CUTS.items():
        tokenizer = train(*rule)
        path: Path = out / f"tokenizer-{pre}.gguf"
        writer = GGUFWriter(path, "llama")
        add_byte_level(writer, json.loads(tokenizer.to_str()), pre, add_bos=False)
        write_file(writer)
        cases = cases_of(
            TEXTS + MORE_TEXTS,
            lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
            lambda ids: tokenizer.decode(ids, skip_special_tokens=True),
            path,
            known,
        )
        entries = ",\n".join("    " + json.dumps(entry) for entry in cases)
        lines.append(f"  {json.dumps(pre)}: [\n{entries}\n  ]")
        print(f"{pre}: {len(cases)} texts")
    (out / "cuts.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
