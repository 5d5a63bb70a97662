#!/usr/bin/env bash
# Runs the kernels' tests where there is AVX-512, on a machine that has none: in Bochs, an emulator of a
# whole PC, as a Skylake-X. Linux boots from an image whose first program is the tests; there is neither disk
# nor network. For Debian 12 and its like; as root it installs what is missing.
#
#   tools/avx512.sh             all tests
#   tools/avx512.sh NAME ...    those whose names contain one of these
#
# The emulator does some ten million instructions per second: give names, unless you have an hour.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(bochs bochsbios vgabios isolinux syslinux-common genisoimage busybox-static cpio)
missing=()
for package in "${packages[@]}"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
if ((${#missing[@]})); then
    apt-get update
    apt-get install -y --no-install-recommends "${missing[@]}"
fi

work=${CARGO_TARGET_DIR:-target}/avx512
mkdir -p "$work"
work=$(realpath "$work")
tests=$(cargo test --locked -p whipstaff-kernels --lib --no-run --message-format=json |
    python3 -c 'import json, sys
print(*(line["executable"] for line in map(json.loads, sys.stdin) if line.get("executable")))')

# What boots: the kernel that Debian builds for virtual machines, unpacked and not installed.
if ! compgen -G "$work/linux/boot/vmlinuz-*" >/dev/null; then
    image=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ {print $2; exit}')
    (cd "$work" && apt-get download "$image" && dpkg-deb -x "$image"_*.deb linux)
fi
rm -rf "$work/files" "$work/iso"
mkdir -p "$work"/files/{bin,proc,sys,dev,tmp} "$work/iso/isolinux"
cp "$work"/linux/boot/vmlinuz-* "$work/iso/vmlinuz"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/iso/isolinux/"

# What runs.
cp /bin/busybox "$work/files/bin/"
strip -o "$work/files/tests" "$tests"
for library in $(ldd "$tests" | grep -o '/[^ ]*'); do
    mkdir -p "$work/files/$(dirname "$library")"
    cp -L "$library" "$work/files/$library"
done
# The tests look for golden files where they were built.
mkdir -p "$work/files$PWD"/{crates/kernels,tests/golden}
cp -r tests/golden/quants "$work/files$PWD/tests/golden/"
cat >"$work/files/init" <<EOF
#!/bin/busybox sh
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev
/bin/busybox grep -q avx512bw /proc/cpuinfo || echo "this machine has no AVX-512"
RUST_TEST_THREADS=1 /tests $* && echo ALL PASSED
/bin/busybox sleep 1
/bin/busybox poweroff -f
EOF
chmod +x "$work/files/init"
(cd "$work/files" && find . | cpio -o -H newc --quiet) >"$work/iso/initrd"
# Cleared: what the emulator says it has and does not do as Linux expects.
cat >"$work/iso/isolinux/isolinux.cfg" <<'EOF'
default linux
label linux
  kernel /vmlinuz
  append initrd=/initrd console=ttyS0 quiet panic=-1 nokaslr mitigations=off lsm=capability idle=poll lapic=notscdeadline clearcpuid=pku,xsaves,xsavec,aperfmperf
EOF
genisoimage -quiet -o "$work/boot.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
    -boot-load-size 4 -boot-info-table -J -r "$work/iso"

cat >"$work/bochsrc" <<EOF
plugin_ctrl: unmapped=1
config_interface: textconfig
display_library: rfb, options="timeout=0"
memory: guest=1024, host=1024
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=corei7_skylake_x, count=1, ips=50000000, reset_on_triple_fault=0
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$work/boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/serial.txt
log: $work/bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
sound: driver=dummy
EOF
echo c >"$work/debugger" # Debian's has one, which waits for "continue"
: >"$work/serial.txt"
tail -f "$work/serial.txt" &
trap 'kill $!' EXIT
bochs -q -f "$work/bochsrc" -rc "$work/debugger" </dev/null >"$work/bochs.out" 2>&1 || true
grep -q 'ALL PASSED' "$work/serial.txt"
