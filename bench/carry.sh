#!/usr/bin/env bash
# Does it carry a real size? Wall time and peak memory of the three heavy commands on a checkpoint of
# exactly the Llama-3.2-1B shape (random bf16 weights: the numbers do not depend on what they say).
#
#   python bench/fixtures.py OUT --models llama-1b --formats hf      # once; needs numpy and tokenizers, 2.5 GB
#   bench/carry.sh OUT/llama-1b
#
# Needs GNU time. Run it on an otherwise idle machine.
set -euo pipefail
model=${1:?usage: bench/carry.sh MODEL_DIR}
cd "$(dirname "$0")/.."
cargo build --release --locked --quiet
whipstaff=target/release/whipstaff
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

head -n 64 contrasts/librarian.jsonl > "$out/contrasts.jsonl"
head -n 8 models/librarian/questions-heldout.txt > "$out/prompts.txt"

measure() { # NAME COMMAND...
    local name=$1
    shift
    /usr/bin/time -f '%e %M' -o "$out/time" "$@" > /dev/null
    awk -v name="$name" '{ printf "| %s | %.1f s | %.2f GB |\n", name, $1, $2 / 1e6 }' "$out/time"
}

echo "| command | wall time | peak memory |"
echo "|---|---|---|"
measure "extract, 64 contrasts" \
    $whipstaff extract --model "$model" --contrasts "$out/contrasts.jsonl" --recommend 0 -o "$out/v.safetensors"
measure "generate, 64 tokens" \
    $whipstaff generate --model "$model" --prompt "Where is the printer?" --max-tokens 64
measure "generate --compare, 3 × 64 tokens" \
    $whipstaff generate --model "$model" --steer "$out/v.safetensors:1@8" --compare \
    --prompt "Where is the printer?" --max-tokens 64
measure "figure, 8 prompts × 5 alphas" \
    $whipstaff figure --model "$model" --steer "$out/v.safetensors@all" --alphas 0,0.1,0.2,0.5,1 \
    --prompts "$out/prompts.txt" -o "$out/figure"
