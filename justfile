# `just check` is what CI runs.

# Format, lint, document, test.
check:
    .ci/run

# The small binary.
build:
    cargo build --release --locked

# See it work.
demo: build
    target/release/whipstaff demo

# Write the golden cases again (needs Python and tools/golden/requirements.txt).
golden:
    python tools/golden/make_golden.py
    python tools/golden/families.py
    python tools/golden/persona_vector.py models/librarian models/librarian/contrasts.jsonl tests/golden/librarian-vector.safetensors
    python tools/golden/librarian_tokens.py
    python tools/golden/quant_blocks.py
    python tools/golden/gguf_models.py
    python tools/golden/gguf_cuts.py
    python tools/golden/gguf_parts.py
    python tools/golden/gguf_unigram.py
    python tools/golden/chat_templates.py
    python tools/golden/control_vectors.py target/release/whipstaff

# Train the embedded model again (see models/librarian/README.md; about an hour on two cores).
train:
    python models/librarian/train.py --out models/librarian

# Compare with transformers and llama.cpp on this machine; see bench/README.md.
bench *args:
    python3 bench/run.py {{args}}

# The same in a third of the time.
bench-quick *args:
    python3 bench/run.py --quick {{args}}

# Where the time goes, per kernel and against the machine's limits: `just bench-profile MODEL`.
bench-profile model *args:
    cargo run --release --locked -p whipstaff-bench -- --model {{model}} --profile {{args}}
