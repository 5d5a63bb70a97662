"""What every peer's worker shares: the protocol, memory, texts and files.

A worker loads one model, says so in one line of JSON, then answers one request per line of standard
input with one line. It blocks on its input between requests. See bench/README.md for the jobs.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True, type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="float32")
    return parser.parse_args()


def serve(load, jobs) -> None:
    """Loads, then answers until the input ends. `load()` gives the engine and what to say of it;
    `jobs(engine)` gives the functions by name of job."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # a library that prints must not disturb the answers

    def say(message: dict) -> None:
        print(json.dumps(message), file=answers, flush=True)

    start = time.perf_counter()
    try:
        engine, about = load()
    except Exception as error:  # whatever it is, the run goes on without this peer
        say({"ready": False, "error": f"{type(error).__name__}: {error}"})
        return
    say({"ready": True, "load_seconds": time.perf_counter() - start, "peak_mb": peak_mb(), **about})
    functions = jobs(engine)
    for line in sys.stdin:
        reset_peak()
        request = json.loads(line)
        try:
            job = functions.get(request.pop("job"))
            answer = job(**request) if job else {"error": "unsupported"}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        say({**answer, "peak_mb": peak_mb()})


# Memory.


def reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass  # then the peak is that of the whole run


def peak_mb() -> float | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(found[0]) * 1024 / 1e6 if found else None


# Texts. The frame is the one that Whipstaff puts around a base model's prompts.


def read_contrasts(path: str, n: int) -> list[dict]:
    lines = Path(path).read_text().splitlines()
    return [json.loads(line) for line in lines if line.strip()][:n]


def framed(contrast: dict) -> tuple[str, str, str]:
    """The prompt, and the two answers as they follow it."""
    prompt = f"User: {contrast['prompt']}\nAssistant:"
    return prompt, f" {contrast['positive']}", f" {contrast['negative']}"


def contrast_ids(contrasts: list[dict], encode) -> list[list[int]]:
    """Prompt, positive, negative of every contrast; `encode(text, begins)` gives the ids."""
    texts = []
    for contrast in contrasts:
        prompt, positive, negative = framed(contrast)
        texts += [encode(prompt, True), encode(positive, False), encode(negative, False)]
    return texts


def digest(texts: list[list[int]]) -> dict:
    """The number of ids, and 64-bit FNV-1a over the ids of each text with its length in front."""
    value = 0xCBF29CE484222325
    for ids in texts:
        for word in [len(ids), *ids]:
            for byte in word.to_bytes(4, "little"):
                value = (value ^ byte) * 0x100000001B3 % 2**64
    return {"n_tokens": sum(map(len, texts)), "digest": f"{value:016x}"}


# Files of f32.


def read_rows(path: str, width: int) -> np.ndarray:
    return np.fromfile(path, "<f4").reshape(-1, width)


def write_floats(path: str | None, values: np.ndarray) -> None:
    if path:
        np.asarray(values, "<f4").tofile(path)


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self.start = time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self.start
