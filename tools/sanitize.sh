#!/usr/bin/env bash
# Runs the kernels' tests where a read or write outside of an allocation is an error: under
# AddressSanitizer (needs the nightly toolchain) and, with `valgrind` as argument, also under memcheck.
# Weights, keys, values and activations are allocated at exactly their length; the packed weights of tests
# are below the size from which they would be mappings of their own, which neither tool looks into.
set -euo pipefail
cd "$(dirname "$0")/.."

target=x86_64-unknown-linux-gnu
RUSTFLAGS=-Zsanitizer=address cargo +nightly test --locked --target $target -p whipstaff-kernels

if [[ ${1-} == valgrind ]]; then
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind --quiet --error-exitcode=1" \
        cargo test --locked --target $target -p whipstaff-kernels
fi
