"""The other side of DNS for tests: questions written and answers read by other code than the server's."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

KINDS = {"A": 1, "CNAME": 5, "SOA": 6, "PTR": 12, "TXT": 16, "AAAA": 28, "SRV": 33, "OPT": 41, "ANY": 255}
_CODES = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")


@dataclass(frozen=True)
class Told:
    """An answer: its code, and its records as lines, as dig prints them."""

    number: int
    code: str
    answers: tuple[str, ...]
    authority: tuple[str, ...]
    additional: tuple[str, ...]
    truncated: bool
    question: str


def query(name: str, kind: str = "A", number: int = 7, size: int = 0, flags: int = 0x0100) -> bytes:
    """A question; with EDNS if a size is given."""
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    written = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    edns = b"\0" + struct.pack("!HHIH", KINDS["OPT"], size, 0, 0) if size else b""
    return (
        struct.pack("!6H", number, flags, 1, 0, 0, int(size > 0)) + written + struct.pack("!2H", KINDS[kind], 1) + edns
    )


def read(data: bytes) -> Told:
    """What an answer says."""
    number, flags, questions, *counts = struct.unpack_from("!6H", data)
    assert flags & 0x8000, "not an answer"
    at, asked = 12, ""
    for _ in range(questions):
        asked, at = _name(data, at)
        at += 4
    sections: list[tuple[str, ...]] = []
    for count in counts:
        lines = []
        for _ in range(count):
            line, at = _record(data, at)
            lines.append(line)
        sections.append(tuple(lines))
    assert at == len(data), "something stands behind the answer"
    code = _CODES[flags & 15]
    return Told(number, code, sections[0], sections[1], sections[2], bool(flags & 0x0200), asked)


def _name(data: bytes, at: int) -> tuple[str, int]:
    labels, end = [], 0
    while size := data[at]:
        if size >= 0xC0:
            end = end or at + 2
            target = struct.unpack_from("!H", data, at)[0] & 0x3FFF
            assert target < at, "a pointer that does not point back"
            at = target
        else:
            labels.append(data[at + 1 : at + 1 + size].decode("latin-1"))
            at += 1 + size
    return ".".join(labels) + ".", end or at + 1


def _record(data: bytes, at: int) -> tuple[str, int]:
    name, at = _name(data, at)
    kind, size, ttl, length = struct.unpack_from("!HHIH", data, at)
    at += 10
    end = at + length
    word = next(word for word, number in KINDS.items() if number == kind)
    match word:
        case "A":
            output = str(IPv4Address(data[at:end]))
        case "CNAME" | "PTR":
            output = _name(data, at)[0]
        case "SRV":
            output = " ".join(map(str, struct.unpack_from("!3H", data, at))) + " " + _name(data, at + 6)[0]
        case "SOA":
            master, at = _name(data, at)
            output = f"{master} {_name(data, at)[0]}"
        case "OPT":
            return f"OPT {size} {ttl}", end
        case _:
            output = data[at + 1 : end].decode()
    return f"{name} {ttl} {word} {output}", end
