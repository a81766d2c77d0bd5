"""The package as it is released."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from conftest import ROOT

import memod


def test_one_version_for_the_whole_repository() -> None:
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    package = tomllib.loads((ROOT / "client/python/Cargo.toml").read_text())["package"]
    assert package["version"] == workspace["version"] == memod.__version__
    for name in ("edition", "rust-version", "license"):
        assert package[name] == workspace[name]


def test_lints_are_those_of_the_workspace_but_for_what_is_said() -> None:
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["lints"]
    lints = tomllib.loads((ROOT / "client/python/Cargo.toml").read_text())["lints"]
    assert lints["rust"] == workspace["rust"]
    assert workspace["clippy"].items() <= lints["clippy"].items()


def test_the_package_is_typed_and_for_every_later_python() -> None:
    folder = Path(memod.__file__).parent
    assert (folder / "py.typed").exists() and (folder / "_memod.pyi").exists()
    (extension,) = folder.glob("_memod*.so")
    assert extension.name == "_memod.abi3.so"


def _modules() -> Iterator[ModuleType]:
    yield memod
    for found in pkgutil.walk_packages(memod.__path__, "memod."):
        yield importlib.import_module(found.name)


def _is_told(name: str, value: Any) -> bool:
    return name.startswith("_") or bool(inspect.getdoc(value))


def test_everything_that_is_public_has_a_docstring() -> None:
    missing = []
    for module in _modules():
        missing += [] if module.__doc__ else [module.__name__]
        for name, value in vars(module).items():
            if not callable(value) or getattr(value, "__module__", None) != module.__name__:
                continue
            missing += [] if _is_told(name, value) else [f"{module.__name__}.{name}"]
            members = vars(value) if inspect.isclass(value) and not name.startswith("_") else {}
            for inner in members:
                member = getattr(value, inner)
                is_code = callable(member) or isinstance(members[inner], property)
                if is_code and not _is_told(inner, member):
                    missing.append(f"{module.__name__}.{name}.{inner}")
    assert missing == []
