"""Whole processes: `memo run` beside ccache, on the compilation of a small file.

The compiler is a script that notes that it was run and then runs gcc: a hit runs it not at all.
"""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

from servers import program

SOURCE = '#include "small.h"\nint twice(int number) { return 2 * number + SHIFT; }\n'
HEADER = "#define SHIFT 1\n"


class Compilation:
    """A small file, its header, and a compiler that counts its runs."""

    def __init__(self, folder: Path, memo: Path, socket: Path) -> None:
        self.folder = folder
        self.memo = memo
        self.socket = socket
        self.runs = folder / "runs"
        self.expected = folder / "expected.o"
        self.compiler = folder / "bin" / "gcc"
        (folder / "small.c").write_text(SOURCE)
        (folder / "small.h").write_text(HEADER)
        self.compiler.parent.mkdir()
        noting = f"echo run >>{shlex.quote(str(self.runs))}"
        self.compiler.write_text(f'#!/bin/sh\n{noting}\nexec {program("gcc")} "$@"\n')
        self.compiler.chmod(0o755)
        self.runs.write_text("")
        subprocess.run([*self.compile(), "-o", str(self.expected)], cwd=folder, check=True)

    def compile(self) -> list[str]:
        """The compiler and what it is to do, but for the output."""
        return [str(self.compiler), "-c", "small.c"]

    def words(self, rival: str) -> list[str]:
        """The command of a rival."""
        compile_it = [*self.compile(), "-o", "small.o"]
        if rival == "ccache":
            return [program("ccache"), *compile_it]
        if rival == "memo run":
            files = ["--in", "small.c", "--in", "small.h", "--out", "small.o"]
            return [str(self.memo), "run", "--cache-version", "1", *files, "--", *compile_it]
        return [program("gcc"), *compile_it[1:]]

    def command(self, rival: str, operations: int) -> dict[str, Any]:
        """What a worker is told."""
        variables = {
            "CCACHE_DIR": str(self.folder / "ccache"),
            "CCACHE_CONFIGPATH": "/dev/null",
            "MEMOD_SOCKET": str(self.socket),
            "MEMOD_NO_START": "1",
        }
        return {
            "run": {
                "words": self.words(rival),
                "variables": variables,
                "folder": str(self.folder),
                "output": str(self.folder / "small.o"),
                "expected": str(self.expected),
                "operations": operations,
            }
        }

    def guard(self, before: str, answer: dict[str, Any]) -> dict[str, Any]:
        """Voids an answer if the compiler was run for it."""
        after = self.runs.read_text()
        runs = after.count("\n") - before.count("\n")
        return {"void": f"the compiler was run {runs} times where hits were due"} if runs else answer
