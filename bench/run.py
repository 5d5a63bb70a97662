"""Whipstaff beside its peers, on this machine, in one run.

    python3 bench/run.py [--quick] [--forced avx2] [--models llama-1b,smollm2-135m]

Builds Whipstaff, installs the peers into a virtual environment under the scratch folder if they are not
there, makes the fixtures, runs every job on every engine in turn (A B A B), checks that they did the same
work, and writes bench/results/CPU.json, its figure, and the tables in bench/README.md. A peer that cannot be
had or is far too slow is skipped by name. Needs Python 3.10 and its standard library, and a C++ compiler
for llama.cpp.
"""

import argparse
import datetime
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import figure
import table
from child import Worker
from jobs import OURS, Bench, Engine

BENCH = Path(__file__).resolve().parent
ROOT = BENCH.parent
REQUIREMENTS = BENCH / "requirements.txt"
# Installed one by one, so that one that does not install costs no other.
PEERS = ["numpy tokenizers gguf", "torch transformers", "llama-cpp-python", "repeng", "steering-vectors"]
AVX2_BUILD = "-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_AVX512=OFF"
AVX2_ENV = {
    "WHIPSTAFF_KERNELS": "avx2", "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
FORMS = ["bf16", "q8_0", "q4_k_m"]
GROWTH_MODEL = "smollm2-135m"


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 runs of smaller jobs, no growth curves")
    parser.add_argument("--runs", type=int, help="rounds of each job [default: 5, quick: 3]")
    parser.add_argument("--budget", type=float, help="seconds that a job of weight 1 may take [default: 60, quick: 20]")
    parser.add_argument("--models", default="llama-1b", help="of llama-1b, smollm2-135m [default: llama-1b]")
    parser.add_argument("--forms", default=",".join(FORMS), help="[default: all three]")
    parser.add_argument("--jobs", default="prefill,decode,batch,extract,figure,load,demo,growth,rounding", help="[default: all]")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="[default: all]")
    parser.add_argument("--forced", choices=["avx2"], help="hold everyone to this instruction set")
    parser.add_argument("--scratch", type=Path, default=ROOT / "target" / "bench", help="[default: target/bench]")
    parser.add_argument("--fixtures", type=Path, help="[default: SCRATCH/fixtures]")
    parser.add_argument("--venv", type=Path, help="the peers' environment [default: SCRATCH/venv, made if absent]")
    parser.add_argument("--out", type=Path, default=BENCH / "results", help="[default: bench/results]")
    parser.add_argument("--render", action="store_true", help="only write tables and figures of what is in OUT again")
    args = parser.parse_args()
    args.runs = args.runs or (3 if args.quick else 5)
    args.budget = args.budget or (20 if args.quick else 60)
    args.jobs = [job for job in args.jobs.split(",") if not (args.quick and job in ("growth", "rounding"))]
    args.fixtures = args.fixtures or args.scratch / "fixtures"
    args.scratch = args.scratch.resolve()
    return args


# What is needed.


def make_venv(folder: Path, peers: list[str], env: dict | None = None) -> Path:
    """The Python of an environment; it is made, and the peers installed, if it is not there."""
    python = folder / "bin" / "python"
    if python.exists():
        return python
    say(f"making {folder.name} with {', '.join(peers)} (once; llama.cpp takes some minutes to compile)")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    for names in peers:
        command = [python, "-m", "pip", "install", "--quiet", "-c", REQUIREMENTS, *names.split()]
        if subprocess.run(command, env={**os.environ, **(env or {})}).returncode:
            say(f"{names} does not install here: skipped")
    return python


def build() -> Path:
    """Whipstaff's programs; the folder they lie in."""
    packages = ["-p", "whipstaff-cli", "-p", "whipstaff-bench"]
    subprocess.run(["cargo", "build", "--release", "--locked", *packages], cwd=ROOT, check=True)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"


class Engines:
    """Starts workers of any engine on any form of a model."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.env = {"OMP_NUM_THREADS": str(args.threads), **(AVX2_ENV if args.forced else {})}
        self.release = build()
        self.python = make_venv(args.venv or args.scratch / "venv", PEERS)
        self.llama_python = self.python
        if args.forced and "avx512f" in cpu_flags():
            build_env = {"CMAKE_ARGS": AVX2_BUILD}
            self.llama_python = make_venv(args.scratch / "venv-avx2", ["numpy", "llama-cpp-python"], build_env)
        models = {*args.models.split(",")} | ({GROWTH_MODEL} if {"growth", "rounding"} & set(args.jobs) else set())
        command = [self.python, BENCH / "fixtures.py", args.fixtures, "--models", ",".join(sorted(models))]
        if subprocess.run(command).returncode:
            say("not all fixtures could be made; what needs the others is skipped")

    def start(self, name: str, model: str, form: str, threads: int | None = None, packs: bool = True) -> Worker:
        folder, gguf = self.args.fixtures / model, self.args.fixtures / f"{model}-{form}.gguf"
        rest = ["--threads", str(threads or self.args.threads)]
        log = self.args.scratch / "logs" / f"{name.replace(' ', '-')}-{form}.log"
        match name.split():
            case ["whipstaff"]:
                command = [self.release / "whipstaff-bench", "--model", folder if form == "bf16" else gguf]
                command += ["--packs", self.args.scratch / "packs"] if packs else []
            case ["transformers", dtype]:
                dtype = {"f32": "float32", "bf16": "bfloat16"}[dtype]
                command = [self.python, BENCH / "peers" / "transformers_peer.py", "--model", folder, "--dtype", dtype]
            case ["llama.cpp"]:
                command = [self.llama_python, BENCH / "peers" / "llama_cpp_peer.py", "--model", gguf]
        env = {**self.env, "OMP_NUM_THREADS": str(threads or self.args.threads)}
        return Worker([*command, *rest], log, env)

    def group(self, model: str, form: str, names: list[str], skipped: list) -> list[Engine]:
        engines = []
        for name in names:
            worker = self.start(name, model, form)
            if worker.ready:
                engines.append(Engine(name, worker))
            else:
                say(f"  {name} {form}: {worker.hello['error']}")
                why = worker.hello["error"]
                skipped.append({"model": model, "form": form, "job": "all", "engine": name, "why": why})
        return engines


# The run.


def form_of(name: str, form: str) -> str:
    """An engine with the form of the weights that it holds; transformers has its dtype in its name."""
    return name if name.startswith("transformers") else f"{name} {form}"


def compare(engines: Engines, model: str, form: str, results: dict) -> None:
    """Every job on one form of a model."""
    args = engines.args
    names = [OURS, "llama.cpp"] + (["transformers f32", "transformers bf16"] if form == "bf16" else [])
    group = engines.group(model, form, names, results["skipped"])
    if not group:
        return
    bench = Bench(model, form, group, args.runs, args.budget, args.scratch)
    try:
        say(f"{model} {form}: warming up {', '.join(it.name for it in group)}")
        bench.warm_up()
        routes = [it for it in bench.engines if it.is_transformers]
        route = max(routes, key=lambda it: it.prefill_rate, default=None)
        route = route and route.name
        jobs = {"prefill": bench.prefill, "decode": bench.decode}
        if form == "bf16":
            jobs["batch"] = lambda: bench.batch_decode([route, "llama.cpp"])
            jobs["extract"] = lambda: bench.extract(route)
            jobs["figure"] = lambda: bench.figure(route)
        for name, job in jobs.items():
            if name in args.jobs and bench.engines:
                say(f"{model} {form}: {name}")
                job()
        for it in bench.engines:
            results["engines"][form_of(it.name, form)] = it.worker.hello
    finally:
        for it in group:
            it.worker.close()
    results["rows"] += bench.rows
    results["checks"] += bench.checks
    results["skipped"] += bench.skipped
    if "load" in args.jobs:
        load(engines, model, form, [it.name for it in bench.engines if it.name != "transformers bf16"], results)


def load(engines: Engines, model: str, form: str, names: list[str], results: dict) -> None:
    """From an empty process to the first token, files in the page cache. The time to start Python and to
    import libraries is not counted. Ours once more without a pack of weights, as on the first start."""
    say(f"{model} {form}: load")
    first_start = f"{OURS}, first start"
    names = [*names, first_start] if OURS in names else names
    found = {name: [] for name in names}
    for _ in range(5):
        for name in names:
            engine = OURS if name == first_start else name
            worker = engines.start(engine, model, form, packs=name != first_start)
            first = worker.ask("prefill", ids=list(range(300, 308))) if worker.ready else {"error": ""}
            worker.close()
            if "error" not in first:
                found[name].append((worker.hello["load_seconds"] + first["seconds"], worker.hello["peak_mb"]))
    for name, runs in found.items():
        if runs:
            seconds = [it[0] for it in runs]
            results["rows"].append({
                "model": model, "job": "load", "form": form, "engine": name, "value": statistics.median(seconds),
                "unit": "s", "seconds": seconds, "scale": 1.0, "size": {}, "peak_mb": max(it[1] for it in runs),
            })


def demo(engines: Engines, results: dict) -> None:
    """The embedded model from a cold process to its report."""
    say("demo")
    seconds = []
    for _ in range(min(3, engines.args.runs)):
        with tempfile.TemporaryDirectory() as folder:
            command = [engines.release / "whipstaff", "demo", "-o", f"{folder}/demo", "--threads", str(engines.args.threads)]
            start = time.perf_counter()
            done = subprocess.run(command, env={**os.environ, **engines.env}, capture_output=True)
            seconds.append(time.perf_counter() - start)
            if done.returncode or not (Path(folder) / "demo" / "report.html").exists():
                why = done.stderr.decode().strip().splitlines()[-1:] or ["it wrote no report"]
                skip = {"model": "librarian", "form": "embedded", "job": "demo", "engine": OURS, "why": why[0]}
                results["skipped"].append(skip)
                return
    results["rows"].append({
        "model": "librarian", "job": "demo", "form": "embedded", "engine": OURS, "value": statistics.median(seconds),
        "unit": "s", "seconds": seconds, "scale": 1.0, "size": {}, "peak_mb": None,
    })


def limits(engines: Engines) -> dict:
    say("limits of the machine")
    threads = ["--threads", str(engines.args.threads)]
    log = engines.args.scratch / "logs" / "limits.log"
    worker = Worker([engines.release / "whipstaff-bench", *threads], log, engines.env)
    found = worker.ask("limits")
    worker.close()
    peer = engines.start("transformers f32", GROWTH_MODEL, "bf16")
    if peer.ready:
        found |= peer.ask("limits")
        peer.close()
    return {name: found.get(name) for name in ("read_gb_s", "fma_gflop_s", "gemm_gflop_s", "threads")}


def growth(engines: Engines, results: dict) -> None:
    """Rates and peak memory against the length of the prompt, the number of sequences and threads."""
    args, points = engines.args, []
    say(f"growth, {GROWTH_MODEL}")
    group = engines.group(GROWTH_MODEL, "bf16", [OURS, "llama.cpp", "transformers f32"], results["skipped"])
    if not group:
        return
    bench = Bench(GROWTH_MODEL, "bf16", group, args.runs, args.budget, args.scratch)
    for engine in group:
        results["engines"].setdefault(form_of(engine.name, "bf16"), engine.worker.hello)

    def point(engine: Engine, axis: str, at: int, tokens: int, answer: dict) -> bool:
        if "error" in answer:
            bench.skip(f"growth, {axis} {at}", engine.name, answer["error"])
            return False
        rate = tokens / answer["seconds"]
        points.append({"engine": engine.name, "axis": axis, "at": at, "rate": rate, "peak_mb": answer["peak_mb"]})
        return True

    def curve(axis: str, values: list[int], ask) -> None:
        """`ask(engine, value)` gives tokens and an answer. An engine that has become slow goes no further."""
        left = list(group)
        for value in values:
            for engine in list(left):
                tokens, answer = ask(engine, value)
                if not point(engine, axis, value, tokens, answer) or answer["seconds"] > args.budget / 2:
                    left.remove(engine)

    ask_prefill = lambda engine, n: (n, engine.worker.ask("prefill", ids=bench.ids(n, n)))
    ask_batch = lambda engine, k: (7 * k, bench.ask_decode(engine, 8, [bench.places(0.01 * i) for i in range(k)]))
    for engine in group:
        ask_prefill(engine, 64)  # the first run is slower
    curve("prompt", [64, 128, 256, 512, 1024, 2048, 4096], ask_prefill)
    curve("sequences", [1, 2, 4, 8, 16, 32, 64], ask_batch)
    for engine in group:
        engine.worker.close()

    counts = sorted({1, 2, *(n for n in (4, 8, 16, 32, 64) if n <= args.threads), args.threads})
    for count in [n for n in counts if n <= args.threads]:
        for name in [engine.name for engine in group]:
            worker = engines.start(name, GROWTH_MODEL, "bf16", threads=count)
            if not worker.ready:
                continue
            engine = Engine(name, worker)
            ask_prefill(engine, 64)
            point(engine, "threads, prefill", count, 512, ask_prefill(engine, 512)[1])
            point(engine, "threads, decode", count, 31, bench.ask_decode(engine, 32, [[]]))
            worker.close()
    results["growth"] = {"model": GROWTH_MODEL, "points": points}
    results["skipped"] += bench.skipped


def rounding(engines: Engines, results: dict) -> None:
    """What it costs, in cosine, that products round their inputs: to bf16 for AMX and AVX-512 BF16 (on other
    processors the kernel set `tile-twin` has such numbers, slowly), to 8 bits for quantised weights."""
    sets = [("amx_bf16", "amx"), ("avx512_bf16", "avx512-bf16")]
    rounds = next((kernels for flag, kernels in sets if flag in cpu_flags()), "tile-twin")
    texts = [[(7 * i * i + 31 * text + 300) % 40_000 for i in range(32)] for text in range(2)]
    curves = {}
    for form, kernels in [("bf16", rounds), ("q8_0", ""), ("q4_k_m", "")]:
        say(f"rounding, {GROWTH_MODEL} {form}")
        env, engines.env = engines.env, {**engines.env, **({"WHIPSTAFF_KERNELS": kernels} if kernels else {})}
        worker = engines.start(OURS, GROWTH_MODEL, form)
        engines.env = env
        answer = worker.ask("rounding", timeout=1200, texts=texts) if worker.ready else {"error": "does not start"}
        worker.close()
        if "error" in answer:
            results["skipped"].append({"model": GROWTH_MODEL, "form": form, "job": "rounding", "engine": OURS, "why": answer["error"]})
        else:
            curves[form] = answer["lost"]
    results["rounding"] = {"model": GROWTH_MODEL, "curves": curves}


# The machine.


def cpu_field(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name)), "")


def cpu_flags() -> set[str]:
    return set(cpu_field("flags").split())


def machine(args: argparse.Namespace) -> dict:
    told = {"amx_bf16", "amx_int8", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "avx2", "fma", "f16c"}
    return {
        "cpu": cpu_field("model name") or platform.processor() or platform.machine(),
        "threads": args.threads,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "flags": sorted(told & cpu_flags()),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "load_average_before": os.getloadavg()[0],
    }


def file_name(about: dict, forced: str | None) -> str:
    """Virtual machines often hide the processor's full name: what it can do tells them apart."""
    sets = [("amx_bf16", "amx"), ("avx512f", "avx512"), ("avx2", "avx2")]
    has = next((name for flag, name in sets if flag in about["flags"]), platform.machine())
    has = f"forced {forced}" if forced else has
    return re.sub(r"[^a-z0-9]+", "-", f"{about['cpu']} {has} {about['threads']} threads".lower()).strip("-")


def commit() -> str:
    git = lambda *words: subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no", "--", "crates", "Cargo.lock")
    return git("rev-parse", "--short", "HEAD") + (", changed" if changed else "")


def rounded(value):
    """Six significant digits are more than any timing has."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(it) for key, it in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(it) for it in value]
    return value


def measure(args: argparse.Namespace) -> Path:
    about = machine(args)
    if about["load_average_before"] > 0.5:
        say(f"load average {about['load_average_before']:.1f}: other programs are running, timings will suffer")
    args.scratch.mkdir(parents=True, exist_ok=True)
    engines = Engines(args)
    results = {
        "machine": about, "date": datetime.date.today().isoformat(), "commit": commit(), "forced": args.forced,
        "quick": args.quick, "runs": args.runs, "budget": args.budget, "engines": {}, "rows": [], "checks": [], "skipped": [],
    }
    results["limits"] = limits(engines)
    # A run that is cut short leaves what it has found so far.
    partial = args.scratch / "partial.json"
    keep = lambda: partial.write_text(json.dumps(results, indent=1))
    if set(args.jobs) - {"demo", "growth", "rounding"}:
        for model in args.models.split(","):
            for form in args.forms.split(","):
                compare(engines, model, form, results)
                keep()
    if "demo" in args.jobs:
        demo(engines, results)
        keep()
    if "growth" in args.jobs:
        growth(engines, results)
        keep()
    if "rounding" in args.jobs:
        rounding(engines, results)
        keep()
    for it in results["skipped"]:
        say(f"skipped: {it['engine']}, {it['model']} {it['form']}, {it['job']}: {it['why']}")
        it["why"] = without_paths(it["why"])
    for it in results["checks"]:
        if not it["ok"]:
            say(f"CHECK FAILED: {it['job']} {it['form']}, {' and '.join(it['engines'])}: {it['what']}: {it['value']}")
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / f"{file_name(about, args.forced)}.json"
    path.write_text(json.dumps(rounded(results), indent=1) + "\n")
    return path


def without_paths(text: str) -> str:
    """Results are published; where files lie on a machine is nobody's business."""
    return re.sub(r"(/[\w.~-]+)+/", "", text)


def main() -> None:
    args = arguments()
    if not args.render:
        start = time.monotonic()
        say(f"results: {measure(args).name}, after {(time.monotonic() - start) / 60:.0f} min")
    files = sorted(args.out.glob("*.json"))
    for path in files:
        figure.draw(json.loads(path.read_text()), path.with_suffix(".svg"))
        figure.draw_rounding(json.loads(path.read_text()), path.with_name(f"{path.stem}-rounding.svg"))
    text = "\n".join(table.section(json.loads(path.read_text()), path) for path in files)
    readme = BENCH / "README.md" if args.out.resolve() == BENCH / "results" else args.out / "README.md"
    table.write_between_markers(readme, text)
    print(text)


if __name__ == "__main__":
    if shutil.which("cargo") is None:
        sys.exit("cargo is needed to build Whipstaff")
    main()
