"""Write tiny SentencePiece unigram models as GGUF, and their ids.

    python gguf_unigram.py

Each is trained and asked by `sentencepiece`. `t5` has a table of characters (nmt_nfkc), removes spaces and knows no
bytes, as T5 does; `t5-table` has a table of four lines. llama.cpp reads both files and must agree. `t5-bytes` leaves the text as it is and falls back to
bytes, of which llama.cpp knows nothing in these models.
"""

import io
import json
import tempfile
from pathlib import Path

import sentencepiece
from gguf import GGUFWriter
from gguf_models import CORPUS, GOLDEN, MORE_TEXTS, TEXTS, add_pieces, open_llama_cpp, write_file
from sentencepiece import sentencepiece_model_pb2

# The library that we build on replaces a whole cluster of characters where the table has only its beginning.
CLUSTERS = ["a👩‍👩‍👧‍👦b 👍🏽 🇳🇱"]


def train(**options) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS + [text for text in TEXTS if text.isprintable()]),
        model_writer=model,
        model_type="unigram",
        vocab_size=600,
        hard_vocab_limit=False,
        character_coverage=0.98,
        user_defined_symbols=["<tool>"],
        pad_id=3,
        minloglevel=2,
        num_threads=1,
        **options,
    )
    return model.getvalue()


def write(path: Path, proto: bytes) -> list[dict]:
    original = sentencepiece.SentencePieceProcessor(model_proto=proto)
    spec = sentencepiece_model_pb2.ModelProto.FromString(proto).normalizer_spec

    ids = range(original.get_piece_size())
    writer = GGUFWriter(path, "t5")
    writer.add_tokenizer_model("t5")
    add_pieces(writer, original)
    writer.add_eos_token_id(original.eos_id())
    writer.add_unk_token_id(original.unk_id())
    writer.add_pad_token_id(original.pad_id())
    writer.add_add_space_prefix(spec.add_dummy_prefix)
    writer.add_remove_extra_whitespaces(spec.remove_extra_whitespaces)
    if spec.precompiled_charsmap:
        writer.add_precompiled_charsmap(spec.precompiled_charsmap)
    write_file(writer)

    llama = None if any(map(original.is_byte, ids)) else open_llama_cpp(path, vocab_only=True)
    cases = []
    for text in TEXTS + MORE_TEXTS:
        if "<tool>" in text or "\x00" in text or text in CLUSTERS:
            continue
        ids = original.encode(text)
        cases.append({
            "text": text,
            "ids": ids,
            # An unknown token has no text; the original writes a mark of its own.
            "decoded": original.decode(ids).replace(" ⁇ ", ""),
        })
        if llama and text:
            theirs = llama.tokenize(text.encode(), add_bos=False, special=False)
            assert ids == theirs, f"{path.name}: {text!r}: {ids}, llama.cpp: {theirs}"
    return cases


# What becomes what, as numbers of characters: ½ is 1/2, é (in one or two characters) is e, a tab is a space.
TABLE = "BD\t31 2F 32\nE9\t65\n65 301\t65\n9\t20\n"


def main() -> None:
    out = GOLDEN / "gguf"
    table = Path(tempfile.mkdtemp()) / "table.tsv"
    table.write_text(TABLE)
    golden = {
        "t5": write(out / "tokenizer-t5.gguf", train(normalization_rule_name="nmt_nfkc")),
        "t5-table": write(out / "tokenizer-t5-table.gguf", train(normalization_rule_tsv=str(table))),
        "t5-bytes": write(
            out / "tokenizer-t5-bytes.gguf",
            train(
                normalization_rule_name="identity",
                byte_fallback=True,
                remove_extra_whitespaces=False,
                add_dummy_prefix=False,
                allow_whitespace_only_pieces=True,
            ),
        ),
    }
    (out / "unigram.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
