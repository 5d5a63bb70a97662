"""Texts and their ids by the Python `tokenizers` package, with the librarian's tokenizer.

    python tools/golden/librarian_tokens.py

Reads models/librarian/tokenizer.json and writes tests/golden/librarian-tokens.json, in the
form of the "cases" of a golden.json.
"""

import argparse
import json
from pathlib import Path

from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [
    "",
    " ",
    "    ",
    "\n",
    "\n\n",
    " \n \n",
    "\t\tindented twice",
    "x",
    "Where do I find books on the sea?",
    " They are on the second floor.",
    "They are on the second floor. ",
    "  both  sides  and  between  ",
    "User: Can I keep this book a week longer?\nAssistant: Of course you can.",
    "User: Can I keep this book a week longer?\nAssistant:",
    " Of course you can.",
    "User: \nAssistant:",
    "User:\tNo space here\nAssistant:Nor here",
    "User: One?\nAssistant: Yes.\nUser: Two?\nAssistant: No.",
    "first line\nsecond line\r\nthird line\n\nafter a blank one\n",
    "It opens at 9:30 and closes at 17:00, except on 24/12.",
    "The fine is $0.25 a day, so 14 days cost $3.50 (or 1,400% of it).",
    "ISBN 978-0-14-143951-8; shelf 823.7",
    "20 200 2000 20000 200000 2000000",
    "Don't, can't, won't; it's, I've, we'll, they're, she'd. DON'T!",
    "\u201cCurly quotes,\u201d he said \u2014 and \u2018single\u2019 ones\u2026",
    "WHISPER, please. PLEASE! Please?! ...please...",
    "e-mail: desk@library.example, see https://library.example/opening?day=mon#top",
    "snake_case, camelCase, kebab-case, a.b.c, a/b/c, a\\b\\c",
    "{\"title\": \"Emma\", \"year\": 1815, \"copies\": [1, 2, 3]}",
    "Brontë, Camões, Dvořák, García Márquez, Ørsted, Łem",
    "e\u0301 and \u00e9 are not the same bytes",
    "война и мир; Ἰλιάς; ספר; كتاب",
    "图书馆几点开门？",
    "図書館は何時に開きますか。",
    "도서관은 몇 시에 엽니까?",
    "पुस्तकालय कब खुलता है?",
    "📚",
    "a 👩🏽‍🏫 reads 📖 to 👨‍👩‍👧, 👍",
    "no\u00a0break, thin\u2009space, zero\u200bwidth, \ufeffmark",
    "\x00\x07\x1b[0m\x7f",
    "<|bos|>",
    "before <|eos|> after <|bos|>after",
    "<|eos|><|eos|>",
    "<s></s> <|endoftext|> <pad> <unk> [INST]",
    "the the the the the the the the",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tokenizer", type=Path, default=ROOT / "models" / "librarian" / "tokenizer.json"
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "tests" / "golden" / "librarian-tokens.json"
    )
    args = parser.parse_args()
    tokenizer = Tokenizer.from_file(str(args.tokenizer))
    lines = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        entry = {
            "text": text,
            "ids": ids,
            "decoded": tokenizer.decode(ids, skip_special_tokens=True),
            "decoded_with_special": tokenizer.decode(ids, skip_special_tokens=False),
        }
        lines.append("    " + json.dumps(entry))
    args.out.write_text('{\n  "cases": [\n' + ",\n".join(lines) + "\n  ]\n}\n")


if __name__ == "__main__":
    main()
