"""A worker process: one JSON object per line in, one per line out."""

import json
import os
import selectors
import subprocess
import time
from pathlib import Path


class Silent(Exception):
    """A worker died or did not answer in time."""


class Worker:
    """Starts at once; `hello` is what it says of itself, `ready` whether it can work."""

    def __init__(self, command: list, log: Path, env: dict | None = None, timeout: float = 600) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        self.buffer = b""
        start = time.perf_counter()
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                env={**os.environ, **(env or {})},
            )
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)
        try:
            self.hello = self.read(timeout)
        except Silent as error:
            self.hello = {"ready": False, "error": str(error)}
        self.start_seconds = time.perf_counter() - start
        self.ready = self.hello.get("ready", False)
        if not self.ready:
            self.close()

    def ask(self, job: str, timeout: float = 1800, **fields) -> dict:
        """The answer to a request; `error` is in it if there is none."""
        if self.process.poll() is not None:
            return {"error": f"the worker is gone, see {self.log.name}"}
        try:
            self.process.stdin.write(json.dumps({"job": job, **fields}).encode() + b"\n")
            self.process.stdin.flush()
            return self.read(timeout)
        except (Silent, BrokenPipeError) as error:
            self.close()
            return {"error": str(error)}

    def read(self, timeout: float) -> dict:
        end = time.monotonic() + timeout
        while b"\n" not in self.buffer:
            if not self.selector.select(max(0.0, end - time.monotonic())):
                raise Silent(f"no answer within {timeout:.0f} s")
            piece = os.read(self.process.stdout.fileno(), 1 << 16)
            if not piece:
                raise Silent(f"the worker ended, see {self.log.name}")
            self.buffer += piece
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def close(self) -> None:
        """Lets the worker end, or ends it."""
        if self.process.stdin and not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
