"""nf_tables' netlink messages: a transaction that marks packets for the kernel's trace, and the trace's events.

Numbers and layouts: Linux's include/uapi/linux/netfilter/nf_tables.h and nfnetlink.h.
"""

from __future__ import annotations

import struct

from nslab.dataclass import dataclass
from nslab.wire.netlink import attribute, attributes, message, messages, numbered, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

NETLINK_NETFILTER, TRACE_GROUP = 12, 9
_SUBSYSTEM = 10 << 8
_BEGIN, _END = 0x10, 0x11
_NEW_TABLE, _DELETE_TABLE, _NEW_CHAIN, _NEW_RULE, _TRACE = (_SUBSYSTEM | number for number in (0, 2, 3, 6, 17))
LIST_CHAINS, LIST_RULES = _SUBSYSTEM | 4, _SUBSYSTEM | 7
_CREATE, _ACK, _APPEND = 0x400, 0x4, 0x800
_GENERIC = struct.Struct("=BB2s")  # struct nfgenmsg: family, version, resource (big endian)
FAMILIES = {1: "inet", 2: "ip"}
"""Families of the tables whose chains see IPv4 packets in the hooks of IP."""
_IPV4 = 2
_NESTED = 0x8000
_OWNER = 2
PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = range(5)
HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
_BEFORE_ALL = -450  # before defragmentation (-400), so that even what raw drops is seen
PACKET, TRANSPORT = 1, 2
_TRACE_KEY = 12
_REGISTER = 1
VERDICTS = {
    0: "drop", 1: "accept", 2: "stolen", 3: "queue", -1: "continue", -2: "break", -3: "jump", -4: "goto", -5: "return"
}  # fmt: skip
_VERDICT = 0xFF  # above it: the number of the queue
POLICY, RETURN, RULE = 1, 2, 3
"""Kinds of events: a base chain's policy, the end of a chain, a rule."""


@dataclass(frozen=True, slots=True)
class Needle:
    """Bytes by which a packet is known. `base`: where `offset` begins: PACKET (the IPv4 header) or TRANSPORT."""

    base: int
    offset: int
    value: bytes

    def is_in(self, packet: bytes) -> bool:
        """Whether an IPv4 packet has the bytes."""
        start = self.offset + (_length(packet) if self.base == TRANSPORT else 0)
        return packet[start : start + len(self.value)] == self.value


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the kernel's trace. `packet`, `segment`: the first bytes of its IPv4 and its transport header."""

    kind: int
    family: str
    table: str
    chain: str
    handle: int
    verdict: str
    target: str
    packet: bytes
    segment: bytes
    iif: int
    oif: int
    mark: int
    identity: int


def _length(packet: bytes) -> int:
    return (packet[0] & 15) * 4 if packet else 0


def tracing(table: str, needles: Iterable[Needle]) -> list[bytes]:
    """The messages of a transaction that makes `table`, in which packets with any of the needles are traced.

    The table belongs to the socket that sends them: the kernel removes it when that socket is closed, however that
    happens.
    """
    rules = [*needles]
    batch = [_message(_NEW_TABLE, _CREATE, text(1, table) + _number(2, _OWNER))]
    # All hooks: what br_netfilter has led through prerouting is not traced any more when IP routes it.
    for hook, name in enumerate(HOOKS):
        where = _nested(4, _number(1, hook) + attribute(2, struct.pack(">i", _BEFORE_ALL)))
        batch.append(_message(_NEW_CHAIN, _CREATE, text(1, table) + text(3, name) + where + text(7, "filter")))
        for needle in rules:
            body = text(1, table) + text(2, name) + _nested(4, _expressions(needle))
            batch.append(_message(_NEW_RULE, _CREATE | _APPEND, body))
    return _transaction(batch)


def not_tracing(table: str) -> list[bytes]:
    """The messages of a transaction that removes `table`."""
    return _transaction([_message(_DELETE_TABLE, 0, text(1, table))])


def _transaction(batch: Sequence[bytes]) -> list[bytes]:
    resource = struct.pack(">H", _SUBSYSTEM >> 8)
    begin, end = (message(kind, 0, _GENERIC.pack(0, 0, resource)) for kind in (_BEGIN, _END))
    every = [begin, *batch, end]
    return [numbered(raw, position, _ACK if raw in batch else 0) for position, raw in enumerate(every, 1)]


def _message(kind: int, flags: int, body: bytes) -> bytes:
    return message(kind, flags, _GENERIC.pack(_IPV4, 0, bytes(2)) + body)


def _number(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack(">I", value))


def _nested(kind: int, body: bytes) -> bytes:
    return attribute(kind | _NESTED, body)


def _expression(name: str, body: bytes) -> bytes:
    return _nested(1, text(1, name) + _nested(2, body))


def _expressions(needle: Needle) -> bytes:
    load = _number(1, _REGISTER) + _number(2, needle.base) + _number(3, needle.offset) + _number(4, len(needle.value))
    equal = _number(1, _REGISTER) + _number(2, 0) + _nested(3, attribute(1, needle.value))
    one = _number(1, _REGISTER) + _nested(2, attribute(1, b"\1\0\0\0"))
    return (
        _expression("payload", load)
        + _expression("cmp", equal)
        + _expression("immediate", one)
        + _expression("meta", _number(2, _TRACE_KEY) + _number(3, _REGISTER))
    )


def events(data: bytes) -> Iterator[Event]:
    """The events in a datagram of the trace."""
    for kind, _, body in messages(data):
        if kind == _TRACE and body[0] in FAMILIES:
            yield _event(FAMILIES[body[0]], attributes(body, _GENERIC.size))


def _event(family: str, found: dict[int, bytes]) -> Event:
    verdict = attributes(found.get(5, b""))
    code = struct.unpack(">i", verdict.get(1, b"\xff\xff\xff\xff"))[0]
    if 16 in found:  # the policy of a base chain
        code = struct.unpack(">i", found[16])[0]
    return Event(
        kind=_whole(found.get(4)),
        family=family,
        table=_string(found.get(1)),
        chain=_string(found.get(2)),
        handle=_whole(found.get(3)),
        verdict=VERDICTS.get(code if code < 0 else code & _VERDICT, str(code)),
        target=_string(verdict.get(2)),
        packet=found.get(8, b""),
        segment=found.get(9, b""),
        iif=_whole(found.get(10)),
        oif=_whole(found.get(12)),
        mark=_whole(found.get(14)),
        identity=_whole(found.get(6)),
    )


def _whole(value: bytes | None) -> int:
    return int.from_bytes(value or b"", "big")


def _string(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode(errors="replace")


ALL_FAMILIES = _GENERIC.pack(0, 0, bytes(2))
"""The body of a request that lists rules or chains."""


@dataclass(frozen=True, slots=True)
class ListedRule:
    """A rule as the kernel lists it: its place, and the number that its events carry."""

    family: str
    table: str
    chain: str
    handle: int


@dataclass(frozen=True, slots=True)
class BaseChain:
    """A chain that a hook calls."""

    family: str
    table: str
    name: str
    hook: int
    priority: int


def rule(body: bytes) -> ListedRule:
    """A rule of a list (LIST_RULES), which has the rules of a chain in their order."""
    found = attributes(body, _GENERIC.size)
    return ListedRule(FAMILIES.get(body[0], ""), _string(found.get(1)), _string(found.get(2)), _whole(found.get(3)))


def base_chain(body: bytes) -> BaseChain | None:
    """A chain of a list (LIST_CHAINS); None if no hook calls it."""
    found = attributes(body, _GENERIC.size)
    if 4 not in found:
        return None
    hook = attributes(found[4])
    priority = struct.unpack(">i", hook[2])[0]
    return BaseChain(FAMILIES.get(body[0], ""), _string(found.get(1)), _string(found.get(3)), _whole(hook[1]), priority)


def refusals(data: bytes) -> Iterator[int]:
    """The error numbers in the answers to a transaction."""
    for kind, _, body in messages(data):
        if kind == 2 and (number := struct.unpack_from("=i", body)[0]):
            yield -number
