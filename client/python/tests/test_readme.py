"""Every Python snippet of the README runs, from the first to the last, against a daemon."""

from __future__ import annotations

import importlib
import pkgutil
import re
import types
from pathlib import Path

import pytest
from conftest import Daemon

import memod

README = Path(__file__).resolve().parents[1] / "README.md"


def snippets() -> list[tuple[int, str]]:
    """Each snippet with the number of its first line."""
    text = README.read_text(encoding="utf-8")
    blocks = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, block.start(1)) + 1, block[1]) for block in blocks]


# What flytekit warns of when it is imported.
@pytest.mark.filterwarnings("ignore")
def test_every_snippet_runs(
    daemon: Daemon,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    found = snippets()
    assert len(found) >= 9
    module = types.ModuleType("readme")
    # flytekit asks where a task stands.
    module.__file__ = str(README)
    monkeypatch.setitem(__import__("sys").modules, "readme", module)
    for line, snippet in found:
        # Function bodies are looked up by file and line.
        code = compile("\n" * (line - 1) + snippet, str(README), "exec")
        exec(code, module.__dict__)
    assert capsys.readouterr().out.startswith("computing\n530\n530\n")
    assert caplog.records == [], "no snippet warns"


def test_everything_public_is_documented() -> None:
    """Docstrings have no gaps."""
    gaps = []
    for name in memod.__all__:
        thing = getattr(memod, name)
        if isinstance(thing, str) or name == "Mode":
            continue
        if not getattr(thing, "__doc__", None):
            gaps.append(name)
        if isinstance(thing, type):
            for member, value in vars(thing).items():
                is_own = callable(value) or isinstance(value, property | classmethod)
                if is_own and not member.startswith("_") and not value.__doc__:
                    gaps.append(f"{name}.{member}")
    assert gaps == []
    for module in pkgutil.walk_packages(memod.__path__, "memod."):
        assert importlib.import_module(module.name).__doc__, module.name
