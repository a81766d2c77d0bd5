"""The files that a Flyte literal refers to: found, hashed by content, and given other places.

**Invariants.** A literal is changed in a copy. A reference to a file on another machine is left
alone: it counts as it is written, and its content is nobody's here.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memod.errors import InvalidArgumentError
from memod.flyte.types import kind_of, may_hold_files

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PATH_FIELDS = ("path", "uri", "remote_path")
_BUFFER_BYTES = 1024 * 1024

Change = Callable[[str], str]
"""From a reference to what is to stand in its place."""


def local_path(reference: str) -> Path | None:
    """The path of a file on this machine; nothing for one elsewhere."""
    if reference.startswith("file://"):
        return Path(reference.removeprefix("file://"))
    return None if _SCHEME.match(reference) else Path(reference)


@dataclass(frozen=True)
class Tree:
    """A file, or a directory with everything in it, in the order of names."""

    path: Path
    is_directory: bool
    directories: tuple[str, ...]
    files: tuple[str, ...]

    @staticmethod
    def of(path: Path) -> Tree:
        """What is at the path. Raises if anything is neither file nor directory."""
        if path.is_file():
            return Tree(path, False, (), ("",))
        if not path.is_dir():
            raise InvalidArgumentError(f"{path} is neither a file nor a directory")
        directories, found = [], []
        for around, inner, names in os.walk(path, onerror=_refuse):
            for name in [*inner, *names]:
                whole = Path(around, name)
                if whole.is_symlink() and whole.is_dir():
                    raise InvalidArgumentError(f"{whole} is a link to a directory")
                if name in names and not whole.is_file():
                    raise InvalidArgumentError(f"{whole} is no regular file")
            directories += [os.path.relpath(Path(around, name), path) for name in inner]
            found += [os.path.relpath(Path(around, name), path) for name in names]
        return Tree(path, True, tuple(sorted(directories)), tuple(sorted(found)))

    def file(self, name: str) -> Path:
        """The path of one of the files."""
        return self.path / name if name else self.path


def _refuse(error: OSError) -> None:
    raise error


def content_digest(path: Path) -> str:
    """A digest of the content of a file, or of the names and contents in a directory."""
    tree = Tree.of(path)
    whole = hashlib.sha256(b"d" if tree.is_directory else b"f")
    for name in tree.directories:
        _frame(whole, b"d", os.fsencode(name))
    for name in tree.files:
        one = hashlib.sha256()
        with tree.file(name).open("rb") as file:
            while piece := file.read(_BUFFER_BYTES):
                one.update(piece)
        _frame(whole, b"f", os.fsencode(name))
        whole.update(one.digest())
    return whole.hexdigest()


def _frame(whole: Any, tag: bytes, text: bytes) -> None:
    whole.update(tag + len(text).to_bytes(8, "little") + text)


def by_content(reference: str) -> str:
    """What counts of a reference: the content of what is here, the address of what is not."""
    path = local_path(reference)
    if path is None:
        return f"address:{reference}"
    try:
        return f"content:{content_digest(path)}"
    except OSError as error:
        raise InvalidArgumentError(f"{path} cannot be hashed: {error}") from error


def rewrite(literal: Any, of: Any, change: Change, *, hashed_too: bool) -> None:
    """Changes every reference to a file in a literal of this type.

    Without `hashed_too`, what stands behind its user's own hash is left alone.
    """
    if literal.hash and not hashed_too:
        return
    which = literal.WhichOneof("value")
    if which == "scalar":
        _rewrite_scalar(literal.scalar, of, change, hashed_too)
    elif which == "collection":
        for inner in literal.collection.literals:
            rewrite(inner, of.collection_type, change, hashed_too=hashed_too)
    elif which == "map":
        for name in literal.map.literals:
            rewrite(literal.map.literals[name], of.map_value_type, change, hashed_too=hashed_too)
    elif which == "offloaded_metadata":
        raise InvalidArgumentError("is kept elsewhere by Flyte")
    if literal.metadata.get("format") == "pickle":
        raise InvalidArgumentError("is a reference to a pickle")


def _rewrite_scalar(scalar: Any, of: Any, change: Change, hashed_too: bool) -> None:
    which = scalar.WhichOneof("value")
    if which in ("blob", "schema", "structured_dataset"):
        one = getattr(scalar, which)
        one.uri = change(one.uri)
    elif which == "union":
        rewrite(scalar.union.value, scalar.union.type, change, hashed_too=hashed_too)
    elif which == "binary" and scalar.binary.tag == "msgpack" and may_hold_files(of):
        value = _rewrite_value(unpacked(scalar.binary.value), of, change)
        scalar.binary.value = packed(value)
    elif which == "generic" and may_hold_files(of):
        raise InvalidArgumentError("holds files in Flyte's old form of dataclasses")


def _rewrite_value(value: Any, of: Any, change: Change) -> Any:
    """The same for what is packed in a dataclass, where references are fields with known names."""
    if not may_hold_files(of):
        return value
    kind = kind_of(of)
    if kind in ("blob", "schema", "structured_dataset_type"):
        return _rewrite_reference(value, change)
    if kind == "collection_type" and isinstance(value, list):
        return [_rewrite_value(item, of.collection_type, change) for item in value]
    if kind == "map_value_type" and isinstance(value, dict):
        return {key: _rewrite_value(value[key], of.map_value_type, change) for key in value}
    if kind == "union_type" and value is not None:
        holding = [one for one in of.union_type.variants if may_hold_files(one)]
        if len(holding) != 1:
            raise InvalidArgumentError("may hold files in more than one way")
        return _rewrite_value(value, holding[0], change)
    if kind == "simple" and isinstance(value, dict):
        fields = of.structure.dataclass_type
        known = {name: fields[name] for name in fields if name in value}
        return value | {name: _rewrite_value(value[name], known[name], change) for name in known}
    return value


def _rewrite_reference(value: Any, change: Change) -> Any:
    if isinstance(value, str) and value:
        return change(value)
    if not isinstance(value, dict):
        return value
    given = {name: value[name] for name in _PATH_FIELDS if isinstance(value.get(name), str)}
    return value | {name: change(given[name]) for name in given if given[name]}


def unpacked(packed: bytes) -> Any:
    """What is packed with msgpack."""
    return _msgpack().unpackb(packed, strict_map_key=False)


def packed(value: Any) -> bytes:
    """The value, packed with msgpack."""
    made: bytes = _msgpack().packb(value)
    return made


def _msgpack() -> Any:
    # Both SDKs depend on it.
    import msgpack

    return msgpack
