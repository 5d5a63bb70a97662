"""Results as Markdown: every comparison with its bar, and where one is missed, by how much."""

from dataclasses import dataclass
from pathlib import Path

from jobs import OURS

START, END = "<!-- results: written by run.py -->", "<!-- end of results -->"
JOBS = {
    "prefill": "prefill, 512 tokens",
    "extract": "extraction, 64 contrasts",
    "decode": "decode, 1 sequence, steered",
    "decode 16": "decode, 16 sequences, 16 steerings",
    "figure": "figure, 11 alphas × all layers × 16 texts",
    "load": "load to first token (ours: second start)",
}
FORM = {"bf16": "bf16", "q8_0": "Q8_0", "q4_k_m": "Q4_K_M"}


@dataclass(frozen=True)
class Bar:
    """At least `bar` times the peer; `stretch` times is the hope beyond."""

    job: str
    form: str
    peer: str
    bar: float
    stretch: float | None = None


# `transformers` is the faster of its two dtypes. The bars hold where there is AMX.
BARS = [
    Bar("prefill", "bf16", "transformers", 2),
    Bar("prefill", "bf16", "llama.cpp", 10),
    Bar("prefill", "q8_0", "llama.cpp", 3, 5),
    Bar("prefill", "q4_k_m", "llama.cpp", 3, 5),
    Bar("extract", "bf16", "transformers", 3, 5),
    Bar("extract", "bf16", "llama.cpp", 12, 20),
    Bar("decode", "bf16", "transformers", 1.25),
    Bar("decode", "bf16", "llama.cpp", 1.25),
    Bar("decode", "q8_0", "llama.cpp", 1.1),
    Bar("decode", "q4_k_m", "llama.cpp", 1.25),
    Bar("figure", "bf16", "transformers", 8, 15),
]
# Without AMX: not behind llama.cpp anywhere. What does not name llama.cpp keeps its bar only where the gain
# lies in not computing things twice, which needs no instruction.
BARS_WITHOUT_AMX = [Bar(it.job, it.form, it.peer, 1, 1.3) for it in BARS if it.peer == "llama.cpp"] + [
    it for it in BARS if it.job == "figure"
]


class Results:
    """Look-ups in a results file, for one model."""

    def __init__(self, results: dict, model: str) -> None:
        self.all, self.model = results, model
        self.rows = [row for row in results["rows"] if row["model"] == model]

    def row(self, job: str, form: str, engine: str) -> dict | None:
        found = [row for row in self.rows if (row["job"], row["form"], row["engine"]) == (job, form, engine)]
        return found[0] if found else None

    def failed(self, job: str, form: str, engine: str) -> bool:
        return any(
            not it["ok"] and engine in it["engines"]
            for it in self.all["checks"]
            if (it["model"], it["job"], it["form"]) == (self.model, job, form)
        )

    def weights_mb(self, form: str) -> float | None:
        for engine in (f"llama.cpp {form}", f"{OURS} {form}"):
            told = self.all["engines"].get(engine, {}) if engine else {}
            if told.get("weights_mb"):
                return told["weights_mb"]
        return None

    @property
    def has_amx(self) -> bool:
        return "amx_bf16" in self.all["machine"]["flags"] and not self.all["forced"]


# Numbers as people read them.


def number(x: float) -> str:
    return f"{x:,.0f}".replace(",", " ") if x >= 100 else f"{x:.3g}"


def quantity(row: dict) -> str:
    about = "≈ " if row["scale"] != 1 else ""
    unit = "tok/s" if row["unit"] == "tokens/s" else row["unit"]
    return f"{about}{number(row['value'])} {unit}"


def spread(row: dict) -> str:
    """Half the way between the slowest and the fastest run, of the median."""
    seconds = sorted(row["seconds"])
    middle = seconds[len(seconds) // 2]
    return f"± {50 * (seconds[-1] - seconds[0]) / middle:.0f} %, {len(seconds)} runs"


def verdict(value: float, bar: float, stretch: float | None, more_is_better: bool = True) -> str:
    reached = lambda goal: value >= goal if more_is_better else value <= goal
    if stretch is not None and reached(stretch):
        return "stretch"
    if reached(bar):
        return "reached"
    missed = 1 - value / bar if more_is_better else value / bar - 1
    return f"**missed by {100 * missed:.0f} %**"


# Sections.


def section(results: dict, path: Path) -> str:
    about, limits = results["machine"], results["limits"]
    forced = f", everyone held to {results['forced']}" if results["forced"] else ""
    text = f"### {about['cpu']}, {about['threads']} threads{forced}\n\n"
    text += f"{', '.join(about['flags'])}; {about['memory_gb']:.0f} GB; {about['system']}. Measured {results['date']}"
    text += f" at {results['commit']}, {'quick, ' if results['quick'] else ''}up to {results['runs']} rounds of each job."
    if about["load_average_before"] > 0.5:
        text += f" **The machine was not idle (load average {about['load_average_before']:.1f}).**"
    text += "\n\n"
    text += f"Limits: memory {known(limits.get('read_gb_s'), 'GB/s')} read, f32 "
    text += f"{known(limits.get('fma_gflop_s'), 'GFLOP/s')} of multiply-adds, "
    text += f"{known(limits.get('gemm_gflop_s'), 'GFLOP/s')} in PyTorch's best product. "
    versions = {it.get("version", ""): None for name, it in results["engines"].items() if not name.startswith(OURS)}
    kernels = {it.get("kernels", "") for name, it in results["engines"].items() if name.startswith(OURS)}
    text += f"Peers: {', '.join(sorted(versions)) or 'none'}. Our kernels: {', '.join(sorted(kernels)) or 'none'}.\n"
    for model in dict.fromkeys(row["model"] for row in results["rows"] if row["job"] != "demo"):
        text += f"\n**{model}**\n\n" + comparisons(Results(results, model)) + "\n" + own(Results(results, model))
    text += notes(results)
    if results.get("rounding"):
        ends = {FORM[form]: curve[-1] for form, curve in results["rounding"]["curves"].items()}
        told = ", ".join(f"{name} {lost:.1e}" for name, lost in ends.items())
        text += f"\n![What rounded activations cost in cosine](results/{path.stem}-rounding.svg)\n\n"
        text += f"What rounding the inputs of products costs: 1 − cosine with `float32` after the last block: {told}.\n"
    if results.get("growth"):
        text += f"\n![How rates and memory grow, {results['growth']['model']}](results/{path.stem}.svg)\n"
    return text


def known(value: float | None, unit: str) -> str:
    return f"{number(value)} {unit}" if value else "(not measured)"


def comparisons(it: Results) -> str:
    lines = ["| job | form | Whipstaff | peer | | ratio | bar | stretch | |", "|---|---|---|---|---|---|---|---|---|"]
    bars = {(bar.job, bar.form, bar.peer): bar for bar in (BARS if it.has_amx else BARS_WITHOUT_AMX)}
    peers = [row for row in it.rows if not row["engine"].startswith(OURS) and row["job"] in JOBS]
    peers.sort(key=lambda row: (list(JOBS).index(row["job"]), list(FORM).index(row["form"])))
    for row in peers:
        ours = it.row(row["job"], row["form"], OURS)
        if not ours:
            continue
        ratio = ours["value"] / row["value"] if row["unit"] == "tokens/s" else row["value"] / ours["value"]
        bar = bars.get((row["job"], row["form"], family(it, row)))
        goal = bar and [
            f"{bar.bar:g} ×", f"{bar.stretch:g} ×" if bar.stretch else "", verdict(ratio, bar.bar, bar.stretch)
        ]
        marks = "(!) " if it.failed(row["job"], row["form"], row["engine"]) else ""
        cells = [
            JOBS[row["job"]], FORM[row["form"]], quantity(ours), row["engine"], f"{quantity(row)} ({spread(row)})",
            f"{marks}{ratio:.2f} ×", *(goal if goal else ["", "", ""]),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def family(it: Results, row: dict) -> str:
    """The faster dtype of transformers stands for it; the other has no bar."""
    if not row["engine"].startswith("transformers"):
        return row["engine"]
    same = [other for other in it.rows if other["engine"].startswith("transformers")]
    same = [other for other in same if (other["job"], other["form"]) == (row["job"], row["form"])]
    best = (max if row["unit"] == "tokens/s" else min)(same, key=lambda other: other["value"])
    return "transformers" if best is row else row["engine"]


def own(it: Results) -> str:
    """What we measure against ourselves and against the machine."""
    lines = ["| Whipstaff alone | measured | bar | stretch | |", "|---|---|---|---|---|"]

    def line(what: str, value: float, text: str, bar: float, stretch: float | None, form: str, more: bool = True):
        goals = [form.format(bar), form.format(stretch) if stretch is not None else ""]
        lines.append("| " + " | ".join([what, text, *goals, verdict(value, bar, stretch, more)]) + " |")

    bandwidth = it.all["limits"].get("read_gb_s")
    for form, name in FORM.items():
        share, cost = it.row("memory", form, OURS), it.row("cost of steering", form, OURS)
        if not share or not cost:
            continue
        share, cost = 100 * share["value"], 100 * cost["value"]
        line(f"decode {name}, of the memory limit", share, f"{share:.0f} %", 80, 90, "{:g} %")
        line(f"decode {name}, cost of steering", cost, f"{cost:.1f} %", 1, None, "≤ {:g} %", more=False)
    one, many = it.row("decode", "bf16", OURS), it.row("decode 16", "bf16", OURS)
    if one and many:
        ratio = many["value"] / one["value"]
        text = f"{ratio:.1f} × ({number(many['value'])} tok/s)"
        line("16 sequences with 16 steerings, against one", ratio, text, 6, 10, "{:g} ×")
    extract = it.row("extract", "bf16", OURS)
    if extract and extract["peak_mb"] and it.weights_mb("bf16"):
        bar = 1.15 * it.weights_mb("bf16") + 300
        line("extraction, peak memory", extract["peak_mb"], f"{number(extract['peak_mb'])} MB", bar, None, "≤ {:.0f} MB", more=False)
    first = it.row("load", "bf16", OURS)
    if first and bandwidth and it.weights_mb("bf16"):
        bar = 1.5 * it.weights_mb("bf16") / 1e3 / bandwidth
        line("load to first token, bf16, second start", first["value"], f"{first['value']:.2f} s", bar, None, "≤ {:.2f} s", more=False)
        for form, name in FORM.items():
            slow = it.row("load", form, f"{OURS}, first start")
            if slow:
                lines.append(f"| load to first token, {name}, first start (weights are packed) | {slow['value']:.2f} s | | | |")
    demo = [row for row in it.all["rows"] if row["job"] == "demo"]
    if demo:
        line("demo, cold start to report", demo[0]["value"], f"{demo[0]['value']:.2f} s", 3, 1, "≤ {:g} s", more=False)
    for name, rate in (("multiply-adds", "fma_gflop_s"), ("PyTorch's best product", "gemm_gflop_s")):
        prefill, limit = it.row("prefill", "bf16", OURS), it.all["limits"].get(rate)
        if prefill and limit and it.weights_mb("bf16"):
            # Two operations per weight and token; of the head, only the last token's is computed.
            reached = 1e-9 * 2 * 1e6 * it.weights_mb("bf16") / 2 * prefill["value"]
            lines.append(f"| prefill bf16, of the limit by {name} | about {100 * reached / limit:.0f} % | | | |")
    return "\n".join(lines) + "\n"


def notes(results: dict) -> str:
    """What was checked, what failed, what was skipped."""
    passed = sum(it["ok"] for it in results["checks"])
    text = f"\nThe same work: {passed} of {len(results['checks'])} checks passed."
    for it in results["checks"]:
        if not it["ok"]:
            value = f"{it['value']:.4f}" if isinstance(it["value"], float) else it["value"]
            text += f"\n- (!) {it['job']}, {FORM.get(it['form'], it['form'])}, {' and '.join(it['engines'])}: {it['what']}: {value}"
    if results["skipped"]:
        text += "\n\nSkipped:"
    for it in results["skipped"]:
        form = "" if it["engine"].startswith("transformers") else f" {FORM.get(it['form'], it['form'])}"
        text += f"\n- {it['engine']}, {it['model']}{form}, {it['job']}: {it['why']}"
    scaled = [row for row in results["rows"] if row["scale"] != 1]
    if scaled:
        sizes = {row["job"]: ", ".join(f"{n} {what}" for what, n in row["size"].items()) for row in scaled}
        text += "\n\n≈: scaled to the full job from a part that fits the time budget: "
        text += "; ".join(f"{job}: {size}" for job, size in sizes.items()) + "."
    return text + "\n"


def write_between_markers(readme: Path, text: str) -> None:
    old = readme.read_text() if readme.exists() else f"# Results\n\n{START}\n{END}\n"
    before, rest = old.split(START, 1)
    after = rest.split(END, 1)[1]
    readme.write_text(f"{before}{START}\n\n{text.strip()}\n\n{END}{after}")
