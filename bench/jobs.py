"""The jobs that engines are compared on, with sizes that fit a time budget."""

import random
import statistics
from array import array
from dataclasses import dataclass, field
from pathlib import Path

import checks
from child import Worker

ROOT = Path(__file__).resolve().parent.parent
CONTRASTS = ROOT / "contrasts" / "librarian.jsonl"
TOKENS_PER_CONTRAST = 130  # two texts of a prompt and an answer
PREFILL = 512
PROMPT = 16  # tokens in front of what is decoded
TURNS = 30  # pairs of short runs, steered and not
SEQUENCES = 16
TEXT = 64  # tokens of a text of the figure

OURS = "whipstaff"
CVECTOR = "llama.cpp"  # on extraction: the route of its cvector-generator


@dataclass
class Engine:
    """A peer, or we, on one form of a model."""

    name: str  # whipstaff, transformers f32, transformers bf16, llama.cpp
    worker: Worker
    prefill_rate: float = 0.0  # tokens/s on 64 tokens
    decode_rate: float = 0.0  # tokens/s

    @property
    def is_ours(self) -> bool:
        return self.name == OURS

    @property
    def is_transformers(self) -> bool:
        return self.name.startswith("transformers")


@dataclass
class Task:
    """What one engine is asked in one job."""

    engine: Engine
    label: str
    job: str
    request: dict
    estimate: float  # seconds
    runs: int | None = None  # fewer than the others
    answers: list = field(default_factory=list)
    peaks: list = field(default_factory=list)


class Bench:
    """Runs jobs on a group of engines that hold one model, and gathers rows, checks and what was skipped."""

    def __init__(self, model: str, form: str, engines: list[Engine], runs: int, budget: float, scratch: Path):
        self.model, self.form, self.engines = model, form, engines
        self.runs, self.budget, self.scratch = runs, budget, scratch
        self.rows, self.checks, self.skipped = [], [], []
        hello = engines[0].worker.hello
        self.n_layers, self.d_model = hello["n_layers"], hello["d_model"]
        self.vocab = min(engine.worker.hello["vocab_size"] for engine in engines)
        self.vectors = self.write_vectors()

    # What is asked.

    def ids(self, n: int, seed: int) -> list[int]:
        """Token ids with text: the specials of a vocabulary lie at its ends."""
        chance = random.Random(seed)
        return [chance.randrange(256, self.vocab - 512) for _ in range(n)]

    def write_vectors(self) -> Path:
        """A random direction per layer, about as long as a tenth of the stream."""
        chance = random.Random(11)
        path = self.scratch / f"vectors-{self.n_layers}x{self.d_model}.f32"
        path.write_bytes(array("f", (chance.gauss(0, 0.05) for _ in range(self.n_layers * self.d_model))))
        return path

    def places(self, alpha: float) -> list:
        """A steering as people use them: four layers in the middle."""
        middle = self.n_layers // 2
        return [[layer, layer, alpha] for layer in range(middle - 2, middle + 2)]

    # How it is run.

    def warm_up(self) -> None:
        """Finds each engine's speed; one that is far too slow or fails at once is left out."""
        for engine in list(self.engines):
            found = {}
            for n in (8, 64):
                found = engine.worker.ask("prefill", ids=self.ids(n, 1), timeout=60 + 2 * self.budget)
                if "error" in found:
                    break
                engine.prefill_rate = n / found["seconds"]
                if n == 64 and PREFILL / engine.prefill_rate > 4 * self.budget:
                    found = {"error": f"{engine.prefill_rate:.1f} tokens/s on a prompt of {n}: too slow to wait for"}
                    break
            if "error" not in found:
                found = self.ask_decode(engine, 4, [[]])
                engine.decode_rate = 3 / found["seconds"] if "error" not in found else 0.0
            if "error" in found:
                self.skip("all", engine.name, found["error"])
                engine.worker.close()
                self.engines.remove(engine)

    def ask_decode(self, engine: Engine, n: int, steerings: list) -> dict:
        return engine.worker.ask("decode", **self.decode_request(n, steerings))

    def decode_request(self, n: int, steerings: list) -> dict:
        return {"ids": self.ids(PROMPT, 2), "n": n, "vectors": str(self.vectors), "steerings": steerings}

    def choose(self, ladder: list, cost, engines: list[Engine], budget: float):
        """The largest size of the ladder that fits, given the seconds of a size on an engine, else the
        smallest; and as many runs as fit, three at least."""
        total = lambda size: sum(cost(engine, size) for engine in engines)
        size = next((it for it in ladder if total(it) * self.runs <= budget), ladder[-1])
        fitting = int(budget / max(total(size), 1e-9))
        return size, min(self.runs, max(3, fitting))

    def alternate(self, name: str, tasks: list[Task], runs: int) -> list[Task]:
        """A B A B: every engine once per round. A task that fails is dropped and named."""
        for turn in range(runs):
            for task in list(tasks):
                if turn >= (task.runs or runs):
                    continue
                answer = task.engine.worker.ask(task.job, timeout=60 + 20 * task.estimate, **task.request)
                if "error" in answer:
                    self.skip(name, task.label, answer["error"])
                    tasks.remove(task)
                    continue
                task.answers.append(answer)
        return tasks

    def row(self, name: str, task: Task, units: float, unit: str, scale: float = 1.0, size: dict | None = None):
        """`units / median seconds` for rates; for times the median itself, `scale` times as long."""
        seconds = [answer["seconds"] for answer in task.answers]
        median = statistics.median(seconds)
        value = units / median if unit == "tokens/s" else median * scale
        peaks = [answer["peak_mb"] for answer in task.answers if answer.get("peak_mb")]
        self.rows.append({
            "model": self.model, "job": name, "form": self.form, "engine": task.label,
            "value": value, "unit": unit, "seconds": seconds, "scale": scale, "size": size or {},
            "peak_mb": max(peaks, default=None), "note": task.answers[-1].get("note"),
        })

    def skip(self, name: str, engine: str, why: str) -> None:
        self.skipped.append({"model": self.model, "form": self.form, "job": name, "engine": engine, "why": why})

    def check(self, name: str, a: str, b: str, what: str, value, ok: bool) -> None:
        self.checks.append({
            "model": self.model, "form": self.form, "job": name, "engines": [a, b], "what": what,
            "value": value, "ok": ok,
        })

    def against_ours(self, tasks: list[Task]):
        """Our task with each of the others that has an answer."""
        ours = next((it for it in tasks if it.label == OURS and it.answers), None)
        return [(ours, it) for it in tasks if ours and it is not ours and it.answers]

    # The jobs.

    def prefill(self) -> None:
        ids = self.ids(PREFILL, 3)
        cost = lambda engine, n: n / engine.prefill_rate
        # PyTorch in bf16 crawls on processors without bf16 instructions: one run is enough to say so.
        fastest = max((it.prefill_rate for it in self.engines if it.is_transformers), default=0)
        crawls = lambda engine: engine.is_transformers and engine.prefill_rate < fastest / 3
        counted = [engine for engine in self.engines if not crawls(engine)]
        _, runs = self.choose([PREFILL], cost, counted, 2 * self.budget)
        path = lambda engine: self.scratch / f"logits-{engine.name.replace(' ', '-')}.f32"
        tasks = [
            Task(
                engine, engine.name, "prefill", {"ids": ids, "logits": str(path(engine))}, cost(engine, PREFILL),
                runs=1 if crawls(engine) else None,
            )
            for engine in self.engines
        ]
        tasks = self.alternate("prefill", tasks, runs)
        for task in tasks:
            self.row("prefill", task, PREFILL, "tokens/s", size={"tokens": PREFILL})
        bound = checks.SAME if self.form == "bf16" else checks.SAME_QUANTISED
        for ours, other in self.against_ours(tasks):
            got = [checks.read_floats(path(task.engine)) for task in (ours, other)]
            found = checks.cosine(*got)
            self.check("prefill", ours.label, other.label, "cosine of the last logits", found, found > bound)

    def decode(self) -> None:
        """One sequence, steered."""
        cost = lambda engine, n: n / engine.decode_rate
        n, runs = self.choose([64, 32, 16], cost, self.engines, self.budget)
        tasks = []
        for engine in self.engines:
            steered = self.decode_request(n, [self.places(0.2)])
            tasks.append(Task(engine, engine.name, "decode", steered, cost(engine, n)))
        tasks = self.alternate("decode", tasks, runs)
        for task in tasks:
            made = len(task.answers[-1]["tokens"][0]) - 1
            self.row("decode", task, made, "tokens/s", size={"new tokens": made})
        for ours, other in self.against_ours(tasks):
            if not other.engine.is_ours:
                self.check_tokens("decode", ours, other)

        for engine in self.engines:
            if engine.is_ours:
                self.by_turns(engine)

    def by_turns(self, engine: Engine) -> None:
        """What steering costs, and how much of what the memory gives meanwhile is used: a machine whose speed
        drifts is asked for both within the same seconds."""
        costs, shares = [], []
        for turn in range(TURNS):
            kinds = [("steered", [self.places(0.2)]), ("plain", [[]])]
            answers = {name: self.ask_decode(engine, 9, it) for name, it in (kinds if turn % 2 else kinds[::-1])}
            limits = engine.worker.ask("limits") if turn % 3 == 0 else {"error": ""}
            if any("error" in it for it in answers.values()):
                return
            costs.append(answers["steered"]["seconds"] / answers["plain"]["seconds"] - 1)
            if "error" not in limits:
                read = 8 / answers["steered"]["seconds"] * engine.worker.hello["weights_mb"] / 1e3
                shares.append(read / limits["read_gb_s"])
        about = {"model": self.model, "form": self.form, "engine": OURS, "scale": 1.0, "size": {"turns": TURNS}, "peak_mb": None}
        self.rows.append({**about, "job": "cost of steering", "value": statistics.median(costs), "unit": "share", "seconds": costs})
        self.rows.append({**about, "job": "memory", "value": statistics.median(shares), "unit": "share", "seconds": shares})

    def check_tokens(self, name: str, ours: Task, other: Task) -> None:
        """Weights alike, the answers begin alike; two likely tokens may change places later on."""
        a, b = (task.answers[-1]["tokens"][0] for task in (ours, other))
        same = checks.equal_start(a, b)
        need = 4 if self.form == "bf16" else 1
        self.check(name, ours.label, other.label, "greedy tokens equal", f"{same} of {len(a)}", same >= need)

    def batch_decode(self, peers: list[str]) -> None:
        engines = [engine for engine in self.engines if engine.is_ours or engine.name in peers]
        cost = lambda engine, n: SEQUENCES * (n + PROMPT) / engine.prefill_rate
        n, runs = self.choose([32, 16, 8], cost, engines, self.budget)
        steerings = [self.places(0.02 * (i - 7)) for i in range(SEQUENCES)]
        request = self.decode_request(n, steerings)
        tasks = [Task(engine, engine.name, "decode", request, cost(engine, n)) for engine in engines]
        for task in self.alternate("decode 16", tasks, runs):
            made = sum(len(tokens) - 1 for tokens in task.answers[-1]["tokens"])
            self.row("decode 16", task, made, "tokens/s", size={"sequences": SEQUENCES, "new tokens each": n})
        for ours, other in self.against_ours(tasks):
            if other.engine.name != "llama.cpp":  # it steers all sequences alike
                self.check_tokens("decode 16", ours, other)

    def extract(self, transformers: str | None) -> None:
        engines = [it for it in self.engines if it.is_ours or it.name in (transformers, CVECTOR)]
        cost = lambda engine, n: n * TOKENS_PER_CONTRAST / engine.prefill_rate
        n, runs = self.choose([64, 32, 16, 8], cost, engines, 3 * self.budget)
        out = lambda label: self.scratch / f"vector-{label.replace(' ', '-')}.f32"
        request = lambda label: {"contrasts": str(CONTRASTS), "n": n, "out": str(out(label))}
        tasks = []
        for engine in engines:
            tasks.append(Task(engine, engine.name, "extract", request(engine.name), cost(engine, n)))
            if engine.name == transformers:
                for package in ("repeng", "steering-vectors"):
                    job = "extract_" + package.replace("-", "_")
                    tasks.append(Task(engine, package, job, request(package), cost(engine, n), runs=2))
        tasks = self.alternate("extract", tasks, runs)
        for task in tasks:
            self.row("extract", task, n, "s", scale=64 / n, size={"contrasts": n})
        for ours, other in self.against_ours(tasks):
            a, b = ours.answers[-1], other.answers[-1]
            if "digest" not in b:
                continue  # the packages tokenise for themselves and read other tokens
            same = a["digest"] == b["digest"]
            self.check("extract", ours.label, other.label, "the same token ids", a["n_tokens"], same)
            layers = b.get("layers", self.n_layers)
            vectors = [checks.read_floats(out(task.label)) for task in (ours, other)]
            found = checks.least_cosine(*vectors, self.d_model, layers)
            what = f"least cosine of the vectors of {layers} layers"
            self.check("extract", ours.label, other.label, what, found, found > checks.SAME)

    def figure(self, transformers: str | None) -> None:
        """Each size: injected layers, alphas, texts. A few layers that lie evenly around the middle cost
        per layer what all do."""
        engines = [it for it in self.engines if it.is_ours or it.name == transformers]
        n = self.n_layers
        every, four, two = list(range(n)), [n // 8, 3 * n // 8, n - 1 - 3 * n // 8, n - 1 - n // 8], [n // 4, n - 1 - n // 4]
        alphas = [float(i) for i in range(11)]
        ladder = [(every, 11, 16), (four, 11, 8), (four, 11, 4), (two, 11, 4), (two, 6, 4), (two, 6, 2)]
        runs_of = lambda size: len(size[0]) * (size[1] - 1) * size[2]  # texts that are steered
        cost = lambda engine, size: (runs_of(size) + size[2]) * TEXT / engine.prefill_rate / (2 if engine.is_ours else 1)
        size, runs = self.choose(ladder, cost, engines, 2 * self.budget)
        layers, n_alphas, n_texts = size
        request = {
            "texts": [self.ids(TEXT, 100 + i) for i in range(n_texts)], "alphas": alphas[:n_alphas],
            "layers": layers, "skip": 1, "vectors": str(self.vectors),
        }
        tasks = [Task(engine, engine.name, "figure", request, cost(engine, size)) for engine in engines]
        tasks = self.alternate("figure", tasks, runs)
        scale = n * 10 * 16 / runs_of(size)
        about = {"injected layers": len(layers), "alphas": n_alphas, "texts": n_texts}
        for task in tasks:
            self.row("figure", task, 1, "s", scale=scale, size=about)
        for ours, other in self.against_ours(tasks):
            gap = checks.largest_gap(ours.answers[-1]["table"], other.answers[-1]["table"])
            self.check("figure", ours.label, other.label, "largest difference of a cosine", gap, gap < checks.SAME_FIGURE)
