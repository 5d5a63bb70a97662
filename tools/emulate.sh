#!/usr/bin/env bash
# Runs tests on a processor that has every kernel set of x86-64, AMX among them, whatever this machine has:
# in Bochs, an emulator of a whole PC, as a Sapphire Rapids. Linux boots from an image whose first programs
# are the tests; there is neither disk nor network. For Debian 12 and its like; as root it installs what is
# missing. The emulator is built from the source package of the next release, with what `emulate_mend.py`
# says is missing or wrong in it.
#
#   tools/emulate.sh                    all tests of the kernels: a quarter of an hour
#   tools/emulate.sh kernels NAME ...   those whose names contain one of these
#   tools/emulate.sh models NAME ...    whole models: golden activations, invariants, GGUF
#
# It does up to three hundred million instructions per second. Speed is not emulated.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:-kernels}
shift || true
names=$*

packages=(g++ make python3 xz-utils dpkg-dev bochsbios vgabios isolinux syslinux-common genisoimage busybox-static cpio)
missing=()
for package in "${packages[@]}"; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
done
if ((${#missing[@]})); then
    apt-get update
    apt-get install -y --no-install-recommends "${missing[@]}"
fi

work=${CARGO_TARGET_DIR:-target}/emulate
mkdir -p "$work"
work=$(realpath "$work")

# The emulator, from the archive that this machine takes its packages from.
if [[ ! -x $work/bochs ]]; then
    archive=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' | grep -v security | head -1)
    mkdir -p "$work/apt/lists/partial" "$work/source"
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $archive trixie main" >"$work/apt/sources.list"
    apt=(-o "Dir::Etc::SourceList=$work/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$work/apt/lists")
    apt-get "${apt[@]}" update
    (cd "$work/source" && rm -rf bochs-* && apt-get "${apt[@]}" source --download-only --tar-only bochs && tar xf bochs_*.orig.tar.xz)
    source=$(echo "$work"/source/bochs-*)
    python3 tools/emulate_mend.py "$source"
    (cd "$source" && ./configure --enable-x86-64 --enable-cpu-level=6 --enable-avx --enable-evex --enable-amx \
        --enable-all-optimizations --enable-long-phy-address --enable-pci --with-nogui >"$work/configure.log" &&
        make -j"$(nproc)" >"$work/make.log" 2>&1)
    cp "$source/bochs" "$work/bochs"
fi

# What boots: the kernel that Debian builds for virtual machines, unpacked and not installed.
if ! compgen -G "$work/linux/boot/vmlinuz-*" >/dev/null; then
    image=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends:/ {print $2; exit}')
    (cd "$work" && apt-get download "$image" && dpkg-deb -x "$image"_*.deb linux)
fi

# What runs.
case $what in
    kernels) tests=(-p whipstaff-kernels --lib) golden=tests/golden/quants ;;
    models) tests=(-p whipstaff-engine --test golden --test identity --test gguf) golden=tests/golden ;;
    *) echo "unknown: $what (kernels or models)" >&2 && exit 2 ;;
esac
programs=$(cargo test --locked "${tests[@]}" --no-run --message-format=json |
    python3 -c 'import json, sys
print(*(line["executable"] for line in map(json.loads, sys.stdin) if line.get("executable")))')
rm -rf "$work/files" "$work/iso"
mkdir -p "$work"/files/{bin,proc,sys,dev,tmp,tests} "$work/iso/isolinux"
cp "$work"/linux/boot/vmlinuz-* "$work/iso/vmlinuz"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$work/iso/isolinux/"
cp /bin/busybox "$work/files/bin/"
for program in $programs; do
    strip -o "$work/files/tests/$(basename "$program")" "$program"
    for library in $(ldd "$program" | grep -o '/[^ ]*'); do
        mkdir -p "$work/files/$(dirname "$library")"
        cp -L "$library" "$work/files/$library"
    done
done
# The tests look for golden files where they were built.
mkdir -p "$work/files$PWD"/crates/{kernels,engine} "$work/files$PWD/$(dirname "$golden")"
cp -r "$golden" "$work/files$PWD/$(dirname "$golden")/"
cat >"$work/files/init" <<EOF
#!/bin/busybox sh
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev
failed=
for program in /tests/*; do
    WHIPSTAFF_EXPECT_AMX=1 RUST_TEST_THREADS=1 \$program $names || failed=1
done
[ "\$failed" ] || echo ALL PASSED
/bin/busybox sleep 1
/bin/busybox poweroff -f
EOF
chmod +x "$work/files/init"
(cd "$work/files" && find . | cpio -o -H newc --quiet) >"$work/iso/initrd"
# Taken away: what the emulator has and does not do as Linux expects.
cat >"$work/iso/isolinux/isolinux.cfg" <<'EOF'
default linux
label linux
  kernel /vmlinuz
  append initrd=/initrd console=ttyS0 quiet panic=-1 nokaslr mitigations=off lsm=capability idle=poll lapic=notscdeadline no5lvl clearcpuid=aperfmperf,pku,waitpkg,fsrm,erms
EOF
genisoimage -quiet -o "$work/boot.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
    -boot-load-size 4 -boot-info-table -J -r "$work/iso"

cat >"$work/bochsrc" <<EOF
plugin_ctrl: unmapped=1
config_interface: textconfig
display_library: nogui
memory: guest=1024, host=1024
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
cpu: model=sapphire_rapids, count=1, ips=50000000, reset_on_triple_fault=0
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=cdrom, path=$work/boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$work/serial.txt
log: $work/bochs.log
panic: action=fatal
error: action=ignore
info: action=ignore
EOF
: >"$work/serial.txt"
tail -f "$work/serial.txt" &
trap 'kill $!' EXIT
"$work/bochs" -q -f "$work/bochsrc" </dev/null >"$work/bochs.out" 2>&1 || true
grep -q 'ALL PASSED' "$work/serial.txt"
