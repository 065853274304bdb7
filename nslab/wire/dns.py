"""DNS messages for a server (RFC 1035, and EDNS of RFC 6891): pure, bytes in, questions and bytes out.

A name is a tuple of its labels, lower case, without the root: ("svc", "cluster", "local").
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    Name: TypeAlias = tuple[str, ...]

A, CNAME, SOA, PTR, TXT, AAAA, SRV, OPT, ANY = 1, 5, 6, 12, 16, 28, 33, 41, 255
IN = 1
TRANSFERS = frozenset({251, 252})  # IXFR, AXFR
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16

_HEADER = struct.Struct("!6H")
_RECORD = struct.Struct("!HHIH")
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _DESIRED, _AVAILABLE = 1 << 15, 1 << 10, 1 << 9, 1 << 8, 1 << 7
_OPCODE = 0x7800
_POINTER = 0xC0
SMALL, LARGE, LONGEST = 512, 4096, 65535
"""Maximum sizes in bytes: of a UDP response without EDNS, of one with it (our limit), of a TCP message."""


class MalformedQueryError(ValueError):
    """Not a valid query."""


class Question:
    """A question. `wire`: the question section as received, so that the response repeats its letter case.

    `size`: the client's maximum size of a UDP response. `edns`: the version of EDNS, -1 without it.
    """

    def __init__(self, number: int, flags: int, name: Name, kind: int, group: int, wire: bytes) -> None:
        self.number, self.flags, self.name, self.kind, self.group, self.wire = number, flags, name, kind, group, wire
        self.size, self.edns = SMALL, -1

    @property
    def opcode(self) -> int:
        """0 for an ordinary query."""
        return (self.flags & _OPCODE) >> 11


class ResourceRecord:
    """One resource record of class IN. `data` holds no compressed names."""

    __slots__ = ("data", "kind", "name", "ttl")

    def __init__(self, name: Name, kind: int, ttl: int, data: bytes) -> None:
        self.name, self.kind, self.ttl, self.data = name, kind, ttl, data


class DnsResponse:
    """A response code, and the records of the three sections."""

    def __init__(
        self,
        code: int,
        records: Iterable[ResourceRecord] = (),
        authority: Iterable[ResourceRecord] = (),
        more: Iterable[ResourceRecord] = (),
    ) -> None:
        self.code, self.records, self.authority, self.more = code, list(records), list(authority), list(more)


def header(data: bytes) -> tuple[int, int]:
    """ID and flags of a query. MalformedQueryError for a short message or a response, which must not be answered."""
    if len(data) < _HEADER.size:
        raise MalformedQueryError("shorter than a header")
    number, flags, *_ = _HEADER.unpack_from(data)
    if flags & _RESPONSE:
        raise MalformedQueryError("a response")
    return number, flags


def question(data: bytes) -> Question:
    """The question in a message with a valid header."""
    number, flags, count, *_ = _HEADER.unpack_from(data)
    if count != 1:
        raise MalformedQueryError(f"{count} questions")
    name, end = _name(data, _HEADER.size)
    if end + 4 > len(data):
        raise MalformedQueryError("the question is cut off")
    kind, group = struct.unpack_from("!2H", data, end)
    return Question(number, flags, name, kind, group, data[_HEADER.size : end + 4])


def read_extras(data: bytes, asked: Question) -> None:
    """Read the records after a message's question; update `asked` from EDNS."""
    end = _HEADER.size + len(asked.wire)
    for _ in range(sum(_HEADER.unpack_from(data)[3:])):
        end = _extra(data, end, asked)


def _name(data: bytes, at: int) -> tuple[Name, int]:
    found: list[str] = []
    start = at
    while True:
        if at >= len(data):
            raise MalformedQueryError("the name is cut off")
        size = data[at]
        at += 1
        if size == 0:
            return tuple(found), at
        if size > 63 or at + size - start > 254:
            raise MalformedQueryError("no name")  # a compression pointer is invalid: nothing precedes a question's name
        found.append(data[at : at + size].decode("latin-1").lower())
        at += size


def _extra(data: bytes, at: int, found: Question) -> int:
    """Skip a record; update `found` if it is EDNS. Returns the record's end."""
    root = data[at : at + 1] == b"\0"
    while at < len(data) and 0 < data[at] < 64:
        at += 1 + data[at]
    at += 2 if data[at : at + 1] >= b"\xc0" else 1
    if at + _RECORD.size > len(data):
        raise MalformedQueryError("a record is cut off")
    kind, size, ttl, length = _RECORD.unpack_from(data, at)
    end: int = at + _RECORD.size + length
    if end > len(data):
        raise MalformedQueryError("a record is cut off")
    if kind == OPT:
        if not root or found.edns >= 0:
            raise MalformedQueryError("EDNS twice, or of a name")
        found.size, found.edns = max(SMALL, min(size, LARGE)), ttl >> 16 & 0xFF
    return end


def labels(text: str) -> Name:
    """The name of a dotted text."""
    return tuple(text.lower().rstrip(".").split(".")) if text.rstrip(".") else ()


def wire(name: Name) -> bytes:
    """A name in wire format, without compression. Raises MalformedQueryError if it is too long."""
    parts = [label.encode("latin-1", "replace") for label in name]
    if not all(0 < len(part) < 64 for part in parts) or sum(map(len, parts)) + len(parts) > 254:
        raise MalformedQueryError(f"no name: {'.'.join(name)}")
    return b"".join(bytes((len(part),)) + part for part in parts) + b"\0"


def refusal(number: int, flags: int, code: int, asked: bytes = b"") -> bytes:
    """A response with only the question as received, or without it if it was unreadable.

    Forwarders match a response by its question: they ignore one without, and time out.
    """
    kept = flags & (_OPCODE | _DESIRED)
    return _HEADER.pack(number, _RESPONSE | _AVAILABLE | kept | code, int(asked != b""), 0, 0, 0) + asked


def response(asked: Question, answer: DnsResponse, limit: int) -> bytes:
    """The response, with at most `limit` bytes: it omits records that do not fit, and then has the flag TC."""
    message = bytearray(_HEADER.size) + asked.wire
    written = {asked.name[index:]: at for index, at in enumerate(_starts(asked.name))}
    # Room for the EDNS record, which comes last and is required.
    room = limit - (11 if asked.edns >= 0 else 0)
    whole = True
    counts = []
    for number, section in enumerate((answer.records, answer.authority, answer.more)):
        done = 0
        for record in section if whole else ():
            block = _record(record, written, len(message))
            if len(message) + len(block) > room:
                whole = whole and number == 2  # additional records are optional: no TC
                break
            message += block
            done += 1
        counts.append(done)
    if asked.edns >= 0:
        # The upper eight bits of an extended response code are in the TTL field.
        message += b"\0" + _RECORD.pack(OPT, LARGE, answer.code >> 4 << 24, 0)
        counts[2] += 1
    # RA, although this server does not recurse: dnsmasq logs a warning for a server without RA.
    flags = _RESPONSE | _AUTHORITATIVE | _AVAILABLE | asked.flags & (_OPCODE | _DESIRED)
    flags |= answer.code & 15 | (0 if whole else _TRUNCATED)
    _HEADER.pack_into(message, 0, asked.number, flags, 1, *counts)
    return bytes(message)


def _starts(name: Name) -> Iterable[int]:
    at = _HEADER.size
    for label in name:
        yield at
        at += 1 + len(label)


def _record(record: ResourceRecord, written: dict[Name, int], at: int) -> bytes:
    """A record with its name compressed: a pointer replaces the longest suffix that occurs earlier in the message."""
    head = bytearray()
    for index, label in enumerate(record.name):
        if record.name[index:] in written:
            head += struct.pack("!H", _POINTER << 8 | written[record.name[index:]])
            break
        if at + len(head) < 1 << 14:
            written[record.name[index:]] = at + len(head)
        part = label.encode("latin-1", "replace")
        head += bytes((len(part),)) + part
    else:
        head += b"\0"
    return bytes(head) + _RECORD.pack(record.kind, IN, record.ttl, len(record.data)) + record.data
