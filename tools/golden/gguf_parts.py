"""Write a tiny GGUF model again in three files, as llama.cpp's converter cuts large ones.

    pip install -r tools/golden/requirements.txt
    python tools/golden/gguf_parts.py            # into tests/golden/gguf-parts/

What has to come out of them is what comes out of `gguf/gqa-tied-bf16.gguf`, which they are made of.
"""

from pathlib import Path

import gguf

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"


def main() -> None:
    reader = gguf.GGUFReader(GOLDEN / "gguf" / "gqa-tied-bf16.gguf")
    out = GOLDEN / "gguf-parts"
    out.mkdir(exist_ok=True)
    fields = {name: field for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    architecture = fields.pop("general.architecture").contents()
    most = -(-len(reader.tensors) // 3)
    writer = gguf.GGUFWriter(out / "m.gguf", architecture, split_max_tensors=most)
    for name, field in fields.items():
        kind = field.types[0]
        element = field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, element)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
