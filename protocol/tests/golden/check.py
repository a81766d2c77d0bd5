#!/usr/bin/env python3
"""Computes the golden vectors again, from WIRE.md alone, without memod's own code.

    pip install blake3
    python3 protocol/tests/golden/check.py

Reads `vectors.json` beside this file: canonical encodings, input digests, signatures, keys and
stored blobs of every vector must come out the same, and the groups' keys be equal or different.
Ends with status 1 and the differences if not.
"""

import base64
import datetime
import decimal
import json
import pathlib
import re
import struct
import sys

import blake3

INPUT_CONTEXT = "memod 2026-11-22 input value v1"
SIGNATURE_CONTEXT = "memod 2026-11-22 task signature v1"
KEY_CONTEXT = "memod 2026-11-22 call key v1"

# The characters that Unicode calls White_Space; Python's own strip() takes four more.
WHITE_SPACE = (
    "\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000"
)

SIMPLE_TYPES = [
    "none",
    "boolean",
    "integer",
    "float",
    "string",
    "bytes",
    "datetime",
    "duration",
    "file",
]
# The position is the last digit of the tag, and the order among a union's types.
KINDS = SIMPLE_TYPES + ["list", "map", "struct", "enum", "optional", "union", "opaque"]


class Mismatch(Exception):
    """The value is not of the type."""


# Types are tuples: (kind,), ("list", inner), ("struct", ((name, inner), ..)), ("enum", (name, ..)),
# ("union", (member, ..)), ("opaque", format); members stand in order.


def type_order(of):
    """Sorts the types of a union: by kind, then by what is inside."""
    kind = KINDS.index(of[0])
    if of[0] in ("list", "map", "optional"):
        return (kind, type_order(of[1]))
    if of[0] == "struct":
        return (kind, tuple((name, type_order(inner)) for name, inner in of[1]))
    if of[0] == "union":
        return (kind, tuple(type_order(member) for member in of[1]))
    return (kind,) + of[1:]


class TypeParser:
    """Reads the text of a type."""

    def __init__(self, text):
        self.text = text
        self.position = 0

    def parse(self):
        of = self.one()
        self.skip()
        assert self.position == len(self.text), self.text
        return of

    def skip(self):
        while self.text[self.position : self.position + 1].isspace():
            self.position += 1

    def accept(self, character):
        self.skip()
        if self.text[self.position : self.position + 1] == character:
            self.position += 1
            return True
        return False

    def expect(self, character):
        assert self.accept(character), f"{character!r} at {self.position} of {self.text!r}"

    def name(self):
        if self.accept('"'):
            name = ""
            while self.text[self.position] != '"':
                if self.text[self.position] == "\\":
                    self.position += 1
                name += self.text[self.position]
                self.position += 1
            self.position += 1
            return name
        word = re.compile(r"[\w./+-]*").match(self.text, self.position).group()
        self.position += len(word)
        return word

    def separated(self, one, separator, end):
        items = [one()]
        while self.accept(separator):
            items.append(one())
        self.expect(end)
        return items

    def field(self):
        name = self.name()
        self.expect(":")
        return (name, self.one())

    def one(self):
        kind = self.name()
        assert kind in KINDS, self.text
        if kind in SIMPLE_TYPES:
            return (kind,)
        if kind in ("list", "map", "optional"):
            self.expect("<")
            inner = self.one()
            self.expect(">")
            return (kind, inner)
        if kind == "struct":
            self.expect("{")
            fields = [] if self.accept("}") else self.separated(self.field, ",", "}")
            return (kind, tuple(sorted(fields)))
        if kind == "enum":
            self.expect("(")
            return (kind, tuple(sorted(self.separated(self.name, "|", ")"))))
        if kind == "union":
            self.expect("<")
            return (kind, tuple(sorted(self.separated(self.one, "|", ">"), key=type_order)))
        self.expect("(")
        form = self.name()
        self.expect(")")
        return (kind, form)


def parse_type(text):
    return TypeParser(text).parse()


def infer(value):
    """The type of a value for which none is declared; nothing for a hash without content."""
    if isinstance(value, dict):
        if "$hash" in value:
            return infer(value["value"]) if "value" in value else None
        if "$type" in value:
            return parse_type(value["$type"])
        if "$bits" in value:
            return ("float",)
        fields = value.get("$plain", value)
        return ("struct", tuple(sorted((name, infer(inner)) for name, inner in fields.items())))
    if isinstance(value, list):
        types = {infer(item) for item in value} - {None}
        with_none = ("none",) in types
        types.discard(("none",))
        if not types:
            return ("list", ("none",))
        members = tuple(sorted(types, key=type_order))
        inner = members[0] if len(members) == 1 else ("union", members)
        return ("list", ("optional", inner) if with_none else inner)
    kinds = {type(None): "none", bool: "boolean", int: "integer", float: "float", str: "string"}
    return (kinds[type(value)],)


# Values are tuples: (kind, content) with ("hashed", hash, value or None) among them.


def seconds(text):
    exact = decimal.Context(prec=100, rounding=decimal.ROUND_HALF_UP)
    nanoseconds = exact.multiply(decimal.Decimal(text), decimal.Decimal(10**9))
    return int(nanoseconds.to_integral_value(rounding=decimal.ROUND_HALF_UP))


def read_datetime(text):
    if text.startswith("@"):
        return seconds(text[1:])
    day, fraction, offset = re.fullmatch(
        r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", text
    ).groups()
    instant = datetime.datetime.fromisoformat(day + offset.replace("Z", "+00:00"))
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    whole = (instant - epoch) // datetime.timedelta(seconds=1)
    return whole * 10**9 + seconds("0" + (fraction or ""))


def read_duration(value):
    if not isinstance(value, str):
        return seconds(repr(value))
    if re.fullmatch(r"-?\d+(\.\d+)?", value):
        return seconds(value)
    units = {"h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
    parts = re.findall(r"([\d.]+) ?([a-z]+)", value.removeprefix("PT").lower())
    return sum(int(decimal.Decimal(number) * units[unit]) for number, unit in parts)


def contains(of, chosen):
    """Whether a value of the chosen type is one of the wanted type."""
    if of == chosen:
        return True
    if of[0] == "optional":
        return contains(of[1], chosen)
    return of[0] == "union" and any(contains(member, chosen) for member in of[1])


def read(of, value, natural=False):
    """The value of a type; `natural` takes only JSON's own spellings."""
    if isinstance(value, dict):
        if "$hash" in value:
            inner = read(of, value["value"], natural) if "value" in value else None
            return ("hashed", value["$hash"], inner)
        if "$type" in value:
            chosen = parse_type(value["$type"])
            if not contains(of, chosen):
                raise Mismatch
            return read(chosen, value["value"])
        if "$bits" in value:
            if not contains(of, ("float",)):
                raise Mismatch
            return ("float", struct.unpack(">d", bytes.fromhex(value["$bits"]))[0])
        value = value.get("$plain", value)
    return read_plain(of, value, natural)


def read_plain(of, value, natural):
    kind = of[0]
    if kind == "optional":
        return ("none",) if value is None else read_plain(of[1], value, natural)
    if kind == "union":
        for only_natural in [True] if natural else [True, False]:
            for member in of[1]:
                try:
                    return read_plain(member, value, only_natural)
                except Mismatch:
                    pass
        raise Mismatch
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "none" and value is None:
        return ("none",)
    if kind == "boolean" and isinstance(value, bool):
        return (kind, value)
    if kind == "integer" and is_number and isinstance(value, int):
        return (kind, value)
    if kind == "float" and is_number:
        return (kind, float(value))
    if kind == "string" and isinstance(value, str):
        return (kind, value)
    if kind == "enum" and isinstance(value, str) and value in of[1]:
        return (kind, value)
    if kind == "list" and isinstance(value, list):
        return (kind, [read(of[1], item, natural) for item in value])
    if kind == "map" and isinstance(value, dict):
        return (kind, {name: read(of[1], item, natural) for name, item in value.items()})
    if kind == "struct" and isinstance(value, dict) and {name for name, _ in of[1]} == set(value):
        return (kind, {name: read(inner, value[name], natural) for name, inner in of[1]})
    if natural:
        raise Mismatch
    return stand_in(of, value, is_number)


def stand_in(of, value, is_number):
    """Strings and objects that stand for what JSON does not have."""
    kind, is_text = of[0], isinstance(value, str)
    if kind == "integer" and is_text and re.fullmatch(r"[+-]?\d+", value):
        return (kind, int(value))
    if kind == "float" and value in ("NaN", "inf", "-inf"):
        return (kind, float(value))
    if kind == "bytes" and is_text:
        return (kind, base64.b64decode(value, validate=True))
    if kind == "opaque" and is_text:
        return (kind, of[1], base64.b64decode(value, validate=True))
    if kind == "datetime" and is_text:
        return (kind, read_datetime(value))
    if kind == "duration" and (is_text or is_number):
        return (kind, read_duration(value))
    if kind == "file" and isinstance(value, dict):
        return (kind, value["bytes"], bytes.fromhex(value["digest"]))
    raise Mismatch


def count(number):
    return struct.pack("<Q", number)


def framed(content):
    content = content.encode() if isinstance(content, str) else content
    return count(len(content)) + content


def in_order(members):
    """Ascending order of the names' bytes, which in UTF-8 is that of their code points."""
    return sorted(members.items(), key=lambda member: member[0].encode())


def encode(literal, exact):
    """The canonical encoding: `exact` keeps everything, otherwise equal inputs get equal bytes."""
    kind = literal[0]
    if kind == "hashed":
        _, own_hash, value = literal
        if own_hash == "":
            return encode(value, exact)
        if exact and value is not None:
            return b"\x0f" + framed(own_hash) + encode(value, exact)
        return b"\x0e" + framed(own_hash)
    if kind == "none":
        return b"\x00"
    content = literal[1]
    if kind == "boolean":
        return bytes([0x01, content])
    if kind == "integer":
        return b"\x02" + struct.pack("<q", content)
    if kind == "float":
        if not exact and content != content:
            return b"\x03" + struct.pack("<Q", 0x7FF8000000000000)
        return b"\x03" + struct.pack("<d", content if exact or content != 0 else 0.0)
    if kind in ("string", "bytes"):
        return (b"\x04" if kind == "string" else b"\x05") + framed(content)
    if kind in ("datetime", "duration"):
        tag = b"\x06" if kind == "datetime" else b"\x07"
        return tag + content.to_bytes(16, "little", signed=True)
    if kind == "file":
        return b"\x08" + count(content) + literal[2]
    if kind == "list":
        return b"\x09" + count(len(content)) + b"".join(encode(item, exact) for item in content)
    if kind in ("map", "struct"):
        members = [framed(name) + encode(item, exact) for name, item in in_order(content)]
        return (b"\x0a" if kind == "map" else b"\x0b") + count(len(members)) + b"".join(members)
    if kind == "enum":
        return b"\x0c" + framed(content)
    assert kind == "opaque"
    return b"\x0d" + framed(content) + framed(literal[2])


def encode_type(of):
    kind = of[0]
    tag = bytes([0x40 + KINDS.index(kind)])
    if kind in SIMPLE_TYPES:
        return tag
    if kind in ("list", "map", "optional"):
        return tag + encode_type(of[1])
    if kind == "struct":
        fields = [framed(name) + encode_type(inner) for name, inner in in_order(dict(of[1]))]
        return tag + count(len(fields)) + b"".join(fields)
    if kind == "enum":
        return tag + count(len(of[1])) + b"".join(framed(name) for name in of[1])
    if kind == "union":
        return tag + count(len(of[1])) + b"".join(encode_type(member) for member in of[1])
    return tag + framed(of[1])


def derive(context, content):
    return blake3.blake3(content, derive_key_context=context).digest()


def read_input(given):
    """Type and value of one input of a call; the value is None if it is absent."""
    of = parse_type(given["type"]) if "type" in given else infer(given["value"])
    value = read(of, given["value"]) if "value" in given else None
    own_hash = given.get("hash")
    if own_hash is not None and (own_hash != "" or value is not None):
        value = ("hashed", own_hash, value)
    return of, value


def encode_interface(task, inputs, outputs):
    content = b"\x80" + framed(task)
    for tag, members in ((b"\x81", inputs), (b"\x82", outputs)):
        content += tag + count(len(members))
        for name, of in in_order(members):
            content += framed(name) + encode_type(of)
    return content


def compute(call):
    """What a vector records of a call."""
    types, encodings = {}, {}
    for name, given in call.get("inputs", {}).items():
        types[name], value = read_input(given)
        if value is not None and name not in call.get("ignore", []):
            encodings[name] = encode(value, exact=False)
    outputs = {name: parse_type(text) for name, text in call.get("outputs", {}).items()}
    signature = derive(SIGNATURE_CONTEXT, encode_interface(call["task"], types, outputs))
    digests = {name: derive(INPUT_CONTEXT, encoding) for name, encoding in encodings.items()}
    version = call["cache_version"].strip(WHITE_SPACE)
    content = b"\x90" + framed(call["project"]) + b"\x91" + framed(call["domain"])
    content += b"\x92" + framed(call["task"]) + b"\x93" + framed(version)
    content += b"\x94" + framed(signature) + b"\x95" + count(len(digests))
    for name, digest in in_order(digests):
        content += framed(name) + digest
    return {
        "encodings": {name: encoding.hex() for name, encoding in encodings.items()},
        "inputs": {name: digest.hex() for name, digest in digests.items()},
        "signature": signature.hex(),
        "key": derive(KEY_CONTEXT, content).hex(),
    }


def compute_blob(given):
    """What is stored for an output, and its digest."""
    of = parse_type(given["type"])
    literal = read(of, given["value"])
    if of[0] == "string" and literal[0] == "string":
        blob = literal[1].encode()
    elif of[0] in ("bytes", "opaque") and literal[0] == of[0]:
        blob = literal[-1]
    else:
        blob = encode(literal, exact=True)
    return {"blob": blob.hex(), "digest": blake3.blake3(blob).hexdigest()}


def differences(file):
    keys = {}
    for vector in file["vectors"]:
        computed = compute(vector["call"])
        keys[vector["name"]] = computed["key"]
        for what, value in computed.items():
            if vector[what] != value:
                yield f"{vector['name']}: {what}: recorded {vector[what]}, computed {value}"
    for group in file["groups"]:
        distinct = len({keys[name] for name in group["of"]})
        if distinct != (1 if group["keys"] == "equal" else len(group["of"])):
            yield f"group {group['name']}: {distinct} distinct keys of {len(group['of'])}"
    for blob in file["blobs"]:
        for what, value in compute_blob(blob).items():
            if blob[what] != value:
                yield f"{blob['type']} {blob['value']}: {what}: {blob[what]}, computed {value}"


def main():
    path = pathlib.Path(__file__).with_name("vectors.json")
    file = json.loads(path.read_text(encoding="utf-8"))
    found = list(differences(file))
    print("\n".join(found) if found else f"{len(file['vectors'])} vectors and "
          f"{len(file['blobs'])} blobs agree")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
