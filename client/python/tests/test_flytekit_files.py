"""Files as flytekit's inputs and outputs: by content, and copied in (semantics 13 and 15)."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Daemon
from flyte_programs import RUNS, flytekit

import memod
from memod.errors import InvalidArgumentError
from memod.flyte.archive import Packing, unpack
from memod.flyte.flytekit import memo_of

pytestmark = pytest.mark.filterwarnings("ignore")
FlyteFile = flytekit.types.file.FlyteFile
FlyteDirectory = flytekit.types.directory.FlyteDirectory


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No runs, and a directory of the test's own."""
    RUNS.clear()
    monkeypatch.chdir(tmp_path)


@flytekit.task(cache=True, cache_version="1")
def upper(source: FlyteFile) -> FlyteFile:
    RUNS.append("upper")
    target = Path(f"made-{len(RUNS)}", "report.txt")
    target.parent.mkdir()
    target.write_text(Path(source).read_text().upper())
    return FlyteFile(str(target))


def text_of(file: Any) -> str:
    return Path(file.path).read_text()


def test_a_hit_survives_the_deletion_of_its_file(daemon: Daemon) -> None:
    Path("notes.txt").write_text("by content")
    first = upper(source="notes.txt")
    Path(first.path).unlink()
    second = upper(source="notes.txt")
    assert (text_of(second), Path(second.path).name) == ("BY CONTENT", "report.txt")
    assert second.path != first.path
    Path(second.path).unlink()
    assert text_of(upper(source="notes.txt")) == "BY CONTENT"
    assert RUNS == ["upper"]


def test_a_file_counts_by_its_content(daemon: Daemon) -> None:
    """flytekit's own cache counts the path, and not what stands in the file."""
    Path("a.txt").write_text("same")
    Path("b.txt").write_text("same")
    assert text_of(upper(source="a.txt")) == text_of(upper(source="b.txt")) == "SAME"
    assert RUNS == ["upper"]
    Path("a.txt").write_text("other")
    assert text_of(upper(source="a.txt")) == "OTHER"
    assert RUNS == ["upper"] * 2


def test_an_input_is_the_same_file_in_every_client(daemon: Daemon) -> None:
    @flytekit.task(cache=True, cache_version="1")
    def length(source: FlyteFile) -> int:
        RUNS.append("length")
        return len(Path(source).read_bytes())

    Path("a.txt").write_text("four")
    client = daemon.client()
    call = client.call(length.name, "1", {"source": ("file", Path("a.txt"))}, {"o0": "integer"})
    client.put(call, {"o0": 444})
    assert length(source="a.txt") == 444


def test_a_file_that_changes_meanwhile_is_not_stored(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    @flytekit.task(cache=True, cache_version="1")
    def spoils(source: FlyteFile) -> int:
        RUNS.append("spoils")
        Path("a.txt").write_text("other content")
        return 1

    Path("a.txt").write_text("content")
    spoils(source="a.txt")
    assert "since it was hashed" in caplog.text
    Path("a.txt").write_text("content")
    spoils(source="a.txt")
    assert RUNS == ["spoils"] * 2


def test_directories_with_everything_in_them(daemon: Daemon) -> None:
    @flytekit.task(cache=True, cache_version="1")
    def tree(source: FlyteDirectory) -> FlyteDirectory:
        RUNS.append("tree")
        shutil.copytree(Path(source), "copy")
        return FlyteDirectory("copy")

    for folder in ("one", "two"):
        Path(folder, "sub", "empty").mkdir(parents=True)
        Path(folder, "a").write_text("a" * 10)
        Path(folder, "sub", "b").write_bytes(b"")
    tree(source=FlyteDirectory("one"))
    shutil.rmtree("copy")
    found = Path(tree(source=FlyteDirectory("two")).path)
    inside = sorted(str(path.relative_to(found)) for path in found.rglob("*"))
    assert inside == ["a", "sub", "sub/b", "sub/empty"]
    assert (found / "a").read_text() == "a" * 10
    assert RUNS == ["tree"]
    Path("two", "sub", "b").rename(Path("two", "sub", "c"))
    tree(source=FlyteDirectory("two"))
    assert RUNS == ["tree"] * 2, "names within count"


@dataclass
class Pair:
    first: FlyteFile
    rest: list[FlyteFile]
    note: str


def test_files_within_dataclasses(daemon: Daemon) -> None:
    @flytekit.task(cache=True, cache_version="1")
    def pair(given: Pair) -> Pair:
        RUNS.append("pair")
        for name in ("x", "y"):
            Path(name).write_text(name * 3)
        return Pair(FlyteFile("x"), [FlyteFile("y"), FlyteFile("x")], given.note)

    Path("a").write_text("1")
    Path("b").write_text("1")
    pair(given=Pair(FlyteFile("a"), [], "n"))
    Path("x").unlink()
    Path("y").unlink()
    found = pair(given=Pair(FlyteFile("b"), [], "n"))
    assert (text_of(found.first), [text_of(one) for one in found.rest]) == ("xxx", ["yyy", "xxx"])
    assert (found.note, RUNS) == ("n", ["pair"])
    Path("b").write_text("2")
    pair(given=Pair(FlyteFile("b"), [], "n"))
    assert RUNS == ["pair"] * 2


def test_a_file_elsewhere_counts_by_its_address(daemon: Daemon) -> None:
    @flytekit.task(cache=True, cache_version="1")
    def same(source: FlyteFile) -> FlyteFile:
        RUNS.append("same")
        return source

    address = "https://example.invalid/data.csv"
    found = [same(source=FlyteFile(address)) for _ in range(2)]
    assert RUNS == ["same"]
    assert found[1].remote_source == address
    same(source=FlyteFile("https://example.invalid/other.csv"))
    assert RUNS == ["same"] * 2


def test_an_output_that_is_not_there_is_not_stored(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    @flytekit.task(cache=True, cache_version="1")
    def promised(n: int) -> FlyteFile:
        RUNS.append("promised")
        return FlyteFile("never-made.txt")

    for _ in range(2):
        # flytekit, too, sees it in the end.
        with pytest.raises(TypeError, match="Failed to convert output"):
            promised(n=1)
    assert RUNS == ["promised"] * 2
    assert "is neither a file nor a directory" in caplog.text


def test_an_entry_that_cannot_be_unpacked_is_replaced(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    """Semantics 22."""
    Path("a.txt").write_text("a")
    memo = memo_of(upper)
    client = daemon.client()
    call = memo.plan.call(client.raw, (), {"source": Path("a.txt")})
    assert call is not None
    client.put(call, {"o0": b"rubbish", "o0 files": Path("a.txt")})
    assert text_of(upper(source="a.txt")) == "A"
    assert "is run, and not cached" in caplog.text
    assert text_of(upper(source="a.txt")) == "A"
    assert RUNS == ["upper"], "the second is a hit again"


@pytest.mark.parametrize("name", ["../out", "/etc/out", "a/../../out", "", "."])
def test_a_name_from_the_cache_does_not_lead_elsewhere(tmp_path: Path, name: str) -> None:
    import json

    of = memo_of(upper).declared.outputs["o0"]
    from flyteidl.core.literals_pb2 import Literal

    literal = Literal()
    literal.scalar.blob.uri = "memod-file:0"
    root = {"name": name, "is_directory": False, "directories": [], "files": [["", 3]]}
    head = json.dumps({"roots": [root]}).encode()
    packed = len(head).to_bytes(8, "little") + head + literal.SerializeToString()
    content = tmp_path / "place" / "content"
    content.parent.mkdir()
    content.write_bytes(b"out")
    with pytest.raises(InvalidArgumentError, match="leads elsewhere"):
        unpack(packed, content, of, Literal())
    assert not list(tmp_path.rglob("out"))


def test_a_link_to_a_directory_is_refused(tmp_path: Path) -> None:
    from flyteidl.core.literals_pb2 import Literal

    of = memo_of(upper).declared.outputs["o0"]
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "loop").symlink_to(tmp_path)
    literal = Literal()
    literal.scalar.blob.uri = str(tmp_path / "tree")
    with pytest.raises(InvalidArgumentError, match="is a link to a directory"):
        Packing(literal, of)


def test_large_files_do_not_pass_through_memory_as_one(daemon: Daemon) -> None:
    """Beyond what travels within one frame, and of a length that is no multiple of a chunk's."""
    content = bytes(range(256)) * 20_000 + b"end"

    @flytekit.task(cache=True, cache_version="1")
    def large(n: int) -> list[FlyteFile]:
        RUNS.append("large")
        for name in ("l0", "l1"):
            Path(name).write_bytes(content)
        return [FlyteFile("l0"), FlyteFile("l1")]

    large(n=1)
    for name in ("l0", "l1"):
        Path(name).unlink()
    assert [Path(one.path).read_bytes() == content for one in large(n=1)] == [True, True]
    assert RUNS == ["large"]


class Unknown:
    """A type that flytekit pickles."""

    def __init__(self, n: int) -> None:
        self.n = n


def test_pickles_are_read_from_oneself_alone(daemon: Daemon) -> None:
    """Unpickling runs code of whoever made the pickle."""

    @flytekit.task(cache=True, cache_version="1")
    def pickled(n: int) -> Unknown:
        RUNS.append("pickled")
        return Unknown(n)

    assert [pickled(n=1).n, pickled(n=1).n] == [1, 1]
    assert RUNS == ["pickled"]
    client = daemon.client()
    values = {"n": 2}
    pickled(n=2)
    other = memod._memod.Client(
        project=client.project,
        domain=client.domain,
        own_uid=1,
        socket=str(daemon.socket),
        start=False,
    )
    # For a user of another number, the entry is somebody else's.
    found = memo_of(pickled).plan.recall(other, (), values)
    assert isinstance(found, memod._memod.Recall)
    assert "was written by another user" in str(found.problem)
    found.abandon()
