"""The package as it is released."""

from __future__ import annotations

import tomllib
from pathlib import Path

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
