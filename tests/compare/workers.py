"""Processes that do the work, one for each rival: see `worker.py` and `src/main.rs`."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
from pathlib import Path
from typing import Any

ANSWER_SECONDS_MAX = 300.0


class Worker:
    """One process; ends with its context's `Workers`."""

    def __init__(self, words: list[str], variables: dict[str, str], log: Path) -> None:
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                words,
                env={**os.environ, **variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self.log = log

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        """What it answers: `done` or `void`."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            return {"void": f"the worker has ended: {self.last_words()}"}
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(ANSWER_SECONDS_MAX):
                self.process.kill()
                return {"void": f"no answer within {ANSWER_SECONDS_MAX:.0f} s"}
        line = self.process.stdout.readline()
        if not line:
            return {"void": f"the worker has ended: {self.last_words()}"}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def last_words(self) -> str:
        """The last line that it wrote to standard error."""
        said = self.log.read_text(errors="replace").strip()
        return said.rsplit("\n", 1)[-1] or "it said nothing"

    def end(self) -> None:
        """Lets it end, and waits for that."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.close()
        except OSError:
            pass
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
