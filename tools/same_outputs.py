#!/usr/bin/env python3
"""Compares what two builds of `whipstaff` write, byte for byte.

    python3 tools/same_outputs.py OLD NEW [--model MODEL ...]

OLD and NEW are programs, or commits of this repository, which are then built (release, each in a worktree of its own
under target/same-outputs). Every command below runs once with each of them, in a folder of its own, on the embedded
model and on each MODEL; then the files and the standard outputs of the two are compared. What a command says on
standard error may be worded differently and is not compared. Prints one line for each file that differs and ends with
1 if there is one.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OWN = ROOT / "models/librarian"
QUESTION = "Where does the library keep its books about castles?"

# Every command's name is that of the file that its standard output goes to. {M} is the choice of model, {C} its
# contrasts; a command may use what earlier ones wrote. Those marked `embedded` run on the embedded model alone.
COMMANDS = """
extract             extract {M} --contrasts {C} -o v.safetensors
extract-json        extract {M} --contrasts {C} --recommend 4 --receipt 8 --method logistic --json -o w.safetensors
extract-pca         extract {M} --contrasts {C} --recommend 0 --receipt 0 --method pca --tokens last --layers -1 -o last.safetensors
show                vector show v.safetensors
show-json           vector show v.safetensors --json
receipt             receipt v.safetensors:1@2,op=cap,hi=-0.8 {M} --heldout {H} --receipt 6
receipt-json        receipt v.safetensors {M} --heldout {H} --receipt 8 --seed 3 --json -o received.safetensors
generate            generate {M} --steer v.safetensors --prompt {Q} --max-tokens 48
generate-plain      generate {M} --prompt {Q} --max-tokens 48 --temperature 0.8 --top-p 0.9 --seed 7
generate-compare    generate {M} --steer v.safetensors --prompt {Q} --compare --max-tokens 48
generate-json       generate {M} --steer v.safetensors:0.5@1-3,op=rotate --prompt {Q} --json --max-tokens 32
generate-nats       generate {M} --steer v.safetensors:0.1nat --prompt {Q} --json --max-tokens 32
generate-gate       generate {M} --steer v.safetensors:1@2,scope=answer,gate=v.safetensors,gate.above=-9,gate.layer=2 --prompt {Q} --json --max-tokens 24
figure              figure {M} --steer v.safetensors@all --alphas 0,0.2,0.5,1 --prompts prompts.txt -o figure
figure-cap          figure {M} --steer v.safetensors@2,op=cap,lo=0.4 --alphas 0,1 --prompts prompts.txt -o figure-cap
capture             capture {M} --text Hello --layers 1,-1 --sites resid_pre,attn_out,resid_mid,mlp_out,resid_post --logits -o hello.safetensors
monitor             monitor v.safetensors {M} --prompt {Q} --answer {Q} -o monitor.html
monitor-json        monitor v.safetensors {M} --text {Q} --steer v.safetensors --baseline --json
tokens              vector tokens v.safetensors {M} --top 5
tokens-json         vector tokens v.safetensors {M} --layers 2 --json
convert             vector convert v.safetensors -o v.gguf --layers 1-3 --fold gap
convert-back        vector convert v.gguf -o back.safetensors
compose             vector compose v.safetensors:0.8 w.safetensors:-0.5 --orthogonal ordered -o mix.safetensors {M} --heldout {H} --max-contrasts 6
compose-json        vector compose v.safetensors v.gguf:2 --layers 1-3 --json
generate-gguf       generate {M} --steer v.gguf:1 --prompt {Q} --max-tokens 24
sweep               sweep {M} --contrasts {C} --layers 1,2 --alphas -1,0.5 --max-contrasts 8 --together 1-2 -o sweep
sweep-json          sweep {M} --contrasts {C} --layers 1,2 --alphas -1,0.5 --max-contrasts 8 --together 1-2 --json -o sweep
evaluate            evaluate {M} --steer v.safetensors --prompts prompts.txt --text text.txt --contrasts {C} --max-tokens 24 -o evaluate.json
check               steering check --steer v.safetensors:0.5@1-3,op=rotate
check-json          steering check --steer v.safetensors,op=project --json
study               embedded study study.toml -o study
demo                embedded demo -o demo
model               model show {N}
model-json          model show {N} --json
quantize            embedded quantize --model {G} --type q8_0 -o quantized.gguf
quantize-f32        embedded quantize --model {G} --type f32 -o floats.gguf
quantized           embedded generate --model quantized.gguf --prompt Hello --max-tokens 12 --json
"""

STUDY = """models = ["embedded"]
methods = ["mean", "logistic"]
layers = "1,3"
together = ["1-2"]
kl = 0.1
max_contrasts = 8

[[personas]]
name = "librarian"
contrasts = "{own}/contrasts.jsonl"
"""


def program(what):
    """The program that a path or a commit means."""
    if Path(what).is_file():
        return Path(what).resolve()
    commit = subprocess.check_output(["git", "rev-parse", "--verify", what + "^{commit}"], cwd=ROOT, text=True).strip()
    tree = ROOT / "target/same-outputs" / commit[:12]
    if not tree.exists():
        subprocess.run(["git", "worktree", "add", "--detach", tree, commit], cwd=ROOT, check=True)
    build = ["cargo", "build", "--release", "--locked", "-p", "whipstaff-cli"]
    subprocess.run(build, cwd=tree, check=True)
    return tree / "target/release/whipstaff"


def run_all(whipstaff, model, folder):
    """Runs every command in `folder`. Returns the names of those that failed."""
    folder.mkdir(parents=True)
    (folder / "prompts.txt").write_text("".join(OWN.joinpath("questions-heldout.txt").read_text().splitlines(True)[:4]))
    (folder / "text.txt").write_text("\n\n".join(ROOT.joinpath("contrasts/neutral.txt").read_text().split("\n\n")[:2]))
    (folder / "study.toml").write_text(STUDY.format(own=OWN))
    home = OWN if model is None else ROOT / "contrasts"
    name = "contrasts" if model is None else "librarian"
    values = {
        "{M}": ["--model", str(model)] if model else [],
        "{N}": [str(model)] if model else [],
        "{C}": [str(home / f"{name}.jsonl")],
        "{H}": [str(home / f"{name}-heldout.jsonl")],
        "{Q}": [QUESTION],
        "{G}": [str(ROOT / "tests/golden/llama-gqa-tied-bf16")],
    }
    environment = {**os.environ, "WHIPSTAFF_PACKS": "off", "NO_COLOR": "1"}
    failed = []
    for line in COMMANDS.strip().splitlines():
        name, *words = line.split()
        if words[0] == "embedded":
            if model:
                continue
            words = words[1:]
        arguments = [part for word in words for part in values.get(word, [word])]
        with open(folder / f"{name}.out", "wb") as out, open(folder / f"{name}.err", "wb") as err:
            code = subprocess.run([whipstaff, *arguments], cwd=folder, env=environment, stdout=out, stderr=err).returncode
        (folder / f"{name}.code").write_text(f"{code}\n")
        if code:
            failed.append(f"{name} ({code}): {(folder / f'{name}.err').read_text().strip()[-200:]}")
    return failed


def files(folder):
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.suffix != ".err"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--model", action="append", type=Path, default=[], help="a real model, beside the embedded one")
    parser.add_argument("--keep", type=Path, help="a folder that does not exist yet, to keep what was written")
    args = parser.parse_args()
    programs = {"old": program(args.old), "new": program(args.new)}
    scratch = Path(tempfile.mkdtemp()) if args.keep is None else args.keep
    n_same, differs = 0, []
    for model in [None, *(path.resolve() for path in args.model)]:
        label = model.name if model else "embedded"
        for side, whipstaff in programs.items():
            # The same path for both, since some outputs name it.
            here = scratch / "run" / label
            failed = run_all(whipstaff, model, here)
            for line in failed:
                print(f"{label}: {side} failed: {line}")
            there = scratch / side / label
            there.parent.mkdir(parents=True, exist_ok=True)
            here.rename(there)
        old, new = scratch / "old" / label, scratch / "new" / label
        for file in sorted(files(old) | files(new)):
            same = (old / file).is_file() and (new / file).is_file() and (old / file).read_bytes() == (new / file).read_bytes()
            n_same += same
            if not same:
                differs.append(f"{label}: {file}")
    print("\n".join(differs))
    print(f"{n_same} files and outputs are equal, {len(differs)} differ ({scratch})")
    sys.exit(1 if differs else 0)


if __name__ == "__main__":
    main()
