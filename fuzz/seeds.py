"""Write the first corpus: the golden files, models cut down to one block.

    pip install -r tools/golden/requirements.txt
    python fuzz/seeds.py FOLDER
"""

import shutil
import sys
from pathlib import Path

import gguf
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = ROOT / "tests" / "golden"

# A model keeps one block, and so many tokens.
N_TOKENS = 3
# The fuzzer makes no longer files.
MAX_LEN = 65536

FILES = {
    "tokenizer": [it for it in GOLDEN.glob("gguf/tokenizer-*.gguf") if it.stat().st_size < MAX_LEN],
    "safetensors": [GOLDEN / "control/repeng.safetensors", GOLDEN / "librarian-vector.safetensors"],
    "config": GOLDEN.glob("*/**/config.json"),
    "contrasts": [],
    "vector": [*GOLDEN.glob("control/*.gguf"), *GOLDEN.glob("control/*.safetensors")],
}


def shrink(path: Path, out: Path) -> None:
    reader = gguf.GGUFReader(path)
    fields = {name: field for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    writer = gguf.GGUFWriter(out, fields.pop("general.architecture").contents())
    n_blocks = next(field.contents() for name, field in fields.items() if name.endswith(".block_count"))
    for name, field in fields.items():
        value, kind = field.contents(), field.types[0]
        if isinstance(value, list) and len(value) == n_blocks:
            value = value[:1]
        elif name.endswith(".block_count"):
            value = 1
        elif name.endswith(".vocab_size"):
            value = N_TOKENS
        writer.add_key_value(name, value, kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    for tensor in reader.tensors:
        block = tensor.name.split(".")[1]
        if block.isdigit() and int(block) > 0:
            continue
        by_token = tensor.name in ("token_embd.weight", "output.weight")
        data = tensor.data[:N_TOKENS] if by_token else tensor.data
        writer.add_tensor(tensor.name, np.ascontiguousarray(data), raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    out = Path(sys.argv[1])
    for target, paths in FILES.items():
        folder = out / target
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            name = path.name if path.name != "config.json" else f"{path.parent.name}.json"
            shutil.copy(path, folder / name)
    for path in ROOT.glob("contrasts/*.jsonl"):
        first = path.read_text().splitlines(keepends=True)[:6]
        (out / "contrasts" / path.name).write_text("".join(first))
    (out / "gguf").mkdir(exist_ok=True)
    for path in GOLDEN.glob("gguf-families/*.gguf"):
        shrink(path, out / "gguf" / path.name)


if __name__ == "__main__":
    main()
