"""A Flyte literal with the files that it refers to, as bytes and one file, and back.

**Invariants.** What is packed needs nothing of the place where it was made. A name that came from
the cache never leads out of the directory that it is unpacked in. Nothing is given back in part:
what cannot be restored as a whole raises.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, BinaryIO

from memod.errors import InvalidArgumentError
from memod.flyte.files import Tree, local_path, rewrite

_MARK = "memod-file:"
_HEAD_BYTES = 8
_BUFFER_BYTES = 1024 * 1024


class Packing:
    """What is stored for one literal; the files are gathered until `close`."""

    def __init__(self, literal: Any, of: Any) -> None:
        self._trees: list[Tree] = []
        self._positions: dict[str, int] = {}
        self._gathered: Path | None = None
        copy = type(literal)()
        copy.CopyFrom(literal)
        rewrite(copy, of, self._keep, hashed_too=True)
        head = json.dumps({"roots": [self._told(tree) for tree in self._trees]}).encode()
        body = copy.SerializeToString(deterministic=True)
        self.packed: bytes = len(head).to_bytes(_HEAD_BYTES, "little") + head + body
        """The literal, with marks in place of its files."""

    def _keep(self, reference: str) -> str:
        path = local_path(reference)
        if path is None:
            return reference
        if reference.startswith(_MARK):
            raise InvalidArgumentError(f"the name {reference!r} cannot be stored")
        if reference not in self._positions:
            self._positions[reference] = len(self._trees)
            self._trees.append(Tree.of(path.absolute()))
        return f"{_MARK}{self._positions[reference]}"

    def _told(self, tree: Tree) -> dict[str, Any]:
        lengths = [[name, tree.file(name).stat().st_size] for name in tree.files]
        return {
            "name": tree.path.name,
            "is_directory": tree.is_directory,
            "directories": list(tree.directories),
            "files": lengths,
        }

    def content(self) -> Path:
        """All files one after the other; a single one as it is."""
        every = [tree.file(name) for tree in self._trees for name in tree.files]
        if len(every) == 1:
            return every[0]
        handle, name = tempfile.mkstemp(prefix="memod-")
        self._gathered = Path(name)
        with open(handle, "wb") as whole:
            for path in every:
                with path.open("rb") as one:
                    shutil.copyfileobj(one, whole, _BUFFER_BYTES)
        return self._gathered

    def close(self) -> None:
        """Removes what was gathered."""
        if self._gathered is not None:
            self._gathered.unlink(missing_ok=True)
            self._gathered = None


def unpack(packed: bytes, content: Path | None, of: Any, literal: Any) -> None:
    """Makes an empty literal what was packed; the files are put beside where their content is."""
    length = int.from_bytes(packed[:_HEAD_BYTES], "little")
    roots = json.loads(packed[_HEAD_BYTES : _HEAD_BYTES + length])["roots"]
    literal.ParseFromString(packed[_HEAD_BYTES + length :])
    if content is None:
        return
    places = _restore(roots, content)

    def place(reference: str) -> str:
        if not reference.startswith(_MARK):
            return reference
        return str(places[int(reference.removeprefix(_MARK))])

    rewrite(literal, of, place, hashed_too=True)


def _restore(roots: list[dict[str, Any]], content: Path) -> list[Path]:
    lengths = [length for root in roots for _, length in root["files"]]
    if sum(lengths) != content.stat().st_size:
        raise InvalidArgumentError("the files do not have the lengths that are told of them")
    places: list[Path] = []
    around = content.parent / "files"
    with content.open("rb") as whole:
        for position, root in enumerate(roots):
            place = around / str(position) / _safe(root["name"])
            (place if root["is_directory"] else place.parent).mkdir(parents=True)
            for name in root["directories"]:
                (place / _safe(name)).mkdir(parents=True, exist_ok=True)
            for name, length in root["files"]:
                _put(whole, length, place / _safe(name) if root["is_directory"] else place)
            places.append(place)
    content.unlink()
    return places


def _put(whole: BinaryIO, length: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as one:
        left = length
        while left and (piece := whole.read(min(left, _BUFFER_BYTES))):
            one.write(piece)
            left -= len(piece)
    if left:
        raise InvalidArgumentError("the files end too early")


def _safe(name: str) -> str:
    """The name, if it stays within the directory that it is put in."""
    parts = Path(name).parts
    if not parts or os.path.isabs(name) or ".." in parts or "\0" in name:
        raise InvalidArgumentError(f"a file has the name {name!r}, which leads elsewhere")
    return name
