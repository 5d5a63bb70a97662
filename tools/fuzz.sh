#!/usr/bin/env bash
# Fuzzes the readers of files from elsewhere: `tools/fuzz.sh SECONDS [TARGET]`, all targets if none is named.
# Needs a C++ compiler, and no nightly toolchain: the coverage is asked of LLVM by hand, as cargo-fuzz does.
# What a run finds new is kept in fuzz/target/corpus; a crash is written to fuzz/target and stops the script.
# `tools/fuzz.sh merge [TARGET]` makes fuzz/corpus anew of what is kept: the fewest files that reach all the code.
set -euo pipefail
cd "$(dirname "$0")/.."

action=${1:?usage: tools/fuzz.sh SECONDS|merge [TARGET]}
targets=(gguf tokenizer safetensors config contrasts vector)
[[ -z ${2-} ]] || targets=("$2")
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/fuzz/target}
kept=$CARGO_TARGET_DIR/corpus
# Readers write their bytes into files: into memory, where there is such a folder.
[[ -n ${TMPDIR-} || ! -d /dev/shm ]] || export TMPDIR=/dev/shm

sancov=-sanitizer-coverage
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=1 -Cllvm-args=$sancov-level=4 \
-Cllvm-args=$sancov-inline-8bit-counters -Cllvm-args=$sancov-pc-table -Cllvm-args=$sancov-trace-compares" \
    cargo build --release --locked --manifest-path fuzz/Cargo.toml --target "$host"

for target in "${targets[@]}"; do
    fuzzer=$CARGO_TARGET_DIR/$host/release/$target
    options=(-rss_limit_mb=2048 -malloc_limit_mb=512 -timeout=10 -max_len=65536)
    mkdir -p "$kept/$target" "fuzz/corpus/$target"
    echo "== $target"
    if [[ $action == merge ]]; then
        fewest=$(mktemp -d)
        "$fuzzer" "${options[@]}" -set_cover_merge=1 -use_counters=0 "$fewest" "fuzz/corpus/$target" "$kept/$target"
        # What has been a finding stays.
        find "fuzz/corpus/$target" -type f ! -name 'finding-*' -delete
        mv "$fewest"/* "fuzz/corpus/$target"
        rmdir "$fewest"
    else
        "$fuzzer" "${options[@]}" -max_total_time="$action" -print_final_stats=1 \
            -artifact_prefix="$CARGO_TARGET_DIR/$target-" "$kept/$target" "fuzz/corpus/$target"
    fi
done
