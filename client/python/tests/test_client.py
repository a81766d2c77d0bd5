"""Calls by hand: lookup, put, leases, and blobs without copies."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import numpy
import pytest
from conftest import Daemon

import memod
from memod import Client, Hit, Lease, Miss, Pending
from memod.errors import InvalidArgumentError


def test_put_lookup_and_read(client: Client) -> None:
    call = client.call("by-hand", "1", {"x": ("list<integer>", [1, 2]), "y": "string"},
                       {"data": "bytes", "count": "integer"})
    miss = client.lookup(call)
    assert isinstance(miss, Miss) and not miss and miss.reason == "never_seen"
    assert client.put(call, {"data": b"abc", "count": 3}, compute_seconds=1.5, node="n1", attempt=2)
    assert not client.put(call, {"data": b"other", "count": 4}), "semantics 17: the first one stays"
    hit = client.lookup(call)
    assert isinstance(hit, Hit) and hit.key == call.key
    assert (hit.provenance.compute_seconds, hit.provenance.node, hit.provenance.attempt) == (
        1.5, "n1", 2)
    assert bytes(hit.outputs["data"]) == b"abc"
    assert hit.outputs["count"].value() == 3 and hit.outputs["count"].type == "integer"
    assert client.read(call.key, "data").value() == b"abc"
    assert client.put(call, {"data": b"new", "count": 4}, overwrite=True)
    assert bytes(client.read(call.key, "data")) == b"new"
    assert client.invalidate(call.key, dry_run=True) == client.invalidate([call.key]) == 1
    assert client.lookup(call).reason == "invalidated"  # type: ignore[union-attr]


def test_a_blob_is_read_in_place(client: Client) -> None:
    """The views share one piece of memory, which nobody can write to."""
    content = bytes(range(256)) * 20_000
    call = client.call("large", "1", {}, {"data": "bytes"})
    client.put(call, {"data": content})
    hit = client.lookup(call)
    assert isinstance(hit, Hit)
    blob = hit.outputs["data"]
    first, second = memoryview(blob), memoryview(blob)
    assert first == content and len(blob) == len(content)
    assert first.readonly and first.contiguous and first.format == "B"
    with pytest.raises(TypeError):
        first[0] = 1
    addresses = {_address(view) for view in (first, second)}
    assert len(addresses) == 1
    del blob, hit, second
    assert hashlib.sha256(first).digest() == hashlib.sha256(content).digest()
    assert first[-3:].tobytes() == b"\xfd\xfe\xff"


def _address(view: memoryview) -> int:
    return int(numpy.frombuffer(view, dtype=numpy.uint8).ctypes.data)


def test_leases_by_hand(client: Client) -> None:
    """Semantics 26 to 30."""
    call = client.call("leased", "1", {}, {"o0": "string"})
    lease = client.claim(call)
    assert isinstance(lease, Lease) and lease.is_held and lease.miss.reason == "never_seen"
    pending = client.claim(call, wait=timedelta(0))
    assert isinstance(pending, Pending) and not pending and pending.key == call.key
    lease.release()
    lease.release()
    with client.claim(call) as again:  # type: ignore[union-attr]
        assert isinstance(again, Lease)
        assert again.put({"o0": "done"}, task_version="v7")
        with pytest.raises(InvalidArgumentError, match="it has ended"):
            again.put({"o0": "twice"})
    hit = client.claim(call)
    assert isinstance(hit, Hit) and hit.provenance.task_version == "v7"
    other = client.call("named", "1", {}, {})
    assert isinstance(client.claim(other, owner="me", heartbeat=timedelta(seconds=1)), Lease)
    taken = client.claim(other, owner="you", heartbeat=timedelta(seconds=1), wait=timedelta(0))
    assert isinstance(taken, Pending) and taken.name == "me"
    assert taken.expires_in_seconds is not None and taken.expires_in_seconds <= 3
    for owner, heartbeat in (("", timedelta(1)), ("x", None), ("x", timedelta(0))):
        with pytest.raises(InvalidArgumentError):
            client.claim(other, owner=owner, heartbeat=heartbeat)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("", "1"), "task: must not be empty"),
        (("t", " "), "cache_version: must not be blank"),
        (("t", "1", {"x": ("integer", "1")}), "input `x`: is str, int is declared"),
        (("t", "1", {"x": ("number", 1)}), "number"),
        (("t", "1", {"": ("integer", 1)}), "input name: must not be empty"),
        (("t", "1", {}, {"o": "list<"}), "type"),
        (("t" * 2000, "1"), "2000 bytes long"),
    ],
)
def test_a_wrong_call_names_the_field(
    client: Client, arguments: tuple[str, ...], said: str
) -> None:
    """Semantics 21."""
    with pytest.raises(InvalidArgumentError, match=said):
        client.call(*arguments)  # type: ignore[arg-type]


def test_outputs_are_those_of_the_signature(client: Client) -> None:
    """Semantics 21."""
    call = client.call("outputs", "1", {}, {"o0": "integer"})
    for wrong, said in (({}, "is declared, but not given"), ({"o0": 1, "o1": 2}, "not declared"),
                        ({"o0": "x"}, "is str, int is declared")):
        with pytest.raises(InvalidArgumentError, match=said):
            client.put(call, wrong)
    with pytest.raises(InvalidArgumentError, match="`colour` is unknown"):
        client.put(call, {"o0": 1}, colour="red")


def test_scopes_are_separate(daemon: Daemon) -> None:
    """Semantics 4."""
    one, two = daemon.client(project="one"), daemon.client(project="two", domain="test")
    assert (two.project, two.domain) == ("two", "test")
    one.put(one.call("t", "1"), {})
    assert isinstance(one.lookup(one.call("t", "1")), Hit)
    assert isinstance(two.lookup(two.call("t", "1")), Miss)
    assert one.invalidate_task("t", cache_version="2") == 0
    assert one.invalidate_task("t", dry_run=True) == 1
    assert one.invalidate_scope() == 1


def test_modes_of_a_client(daemon: Daemon) -> None:
    """Semantics 23."""
    read_only = daemon.client(mode="read-only")
    call = read_only.call("m", "1")
    with pytest.raises(InvalidArgumentError, match="does not allow to store"):
        read_only.put(call, {})
    daemon.client().put(call, {})
    assert isinstance(read_only.lookup(call), Hit)
    assert daemon.client(mode="disabled").lookup(call).reason == "disabled"  # type: ignore[union-attr]


def test_the_environment_chooses(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in daemon.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MEMOD_DOMAIN", "staging")
    client = memod.Client()
    assert (client.project, client.domain) == (daemon.project, "staging")
    assert client.sockets[0] == daemon.socket
    assert client.status()["socket"] == str(daemon.socket)
    client.ping()
