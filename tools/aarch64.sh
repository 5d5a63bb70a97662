#!/usr/bin/env bash
# Builds for 64-bit Arm and runs the tests under emulation: the kernel sets `i8mm`, `bf16`, `dotprod` and `neon`
# against their twins and `plain`, then whole models. For Debian 12 and its like on a PC; as root it installs what
# is missing (a Rust with the standard library for arm64, a linker, qemu). Rustup's toolchain stays as it is.
#
#   tools/aarch64.sh            everything
#   tools/aarch64.sh kernels    the kernels alone
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(rustc-web libstd-rust-web-dev:arm64 rust-web-clippy gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static)
missing=()
for package in "${packages[@]}"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
if ((${#missing[@]})); then
    dpkg --add-architecture arm64
    apt-get update
    apt-get install -y --no-install-recommends "${missing[@]}"
fi

export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
# The C library is that of arm64, which came with the packages: the linker's own copy does not go with it.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static"
test() { cargo test --locked --target aarch64-unknown-linux-gnu "$@"; }

# What only this architecture compiles is linted nowhere else.
/usr/bin/cargo-clippy clippy --locked --target aarch64-unknown-linux-gnu -p whipstaff-kernels --all-targets -- -D warnings

# A processor with everything there is: `i8mm`, `dotprod`, `neon` and `plain` must agree, and `bf16` with its twin.
QEMU_CPU=max test -p whipstaff-kernels
# One with `sdot` and nothing later.
QEMU_CPU=neoverse-n1 test -p whipstaff-kernels
# The first of its architecture: nothing that it lacks may be chosen, or run by `neon`.
QEMU_CPU=cortex-a53 test -p whipstaff-kernels
if [[ ${1-} != kernels ]]; then
    test -p whipstaff-engine --test identity --test golden --test gguf
fi
