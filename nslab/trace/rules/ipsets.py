"""What `ipset save` prints, and whether a packet is in a set (pure)."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final, TypeAlias

from nslab.errors import UsageError
from nslab.trace.rules import names
from nslab.trace.rules.packet import ICMP, WITH_PORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from nslab.trace.rules.packet import HookPacket
    from nslab.trace.rules.turn import Answer

LENGTH, MEMBERS = 1 << 27, 2_000_000
"""The maximum number of characters, and of members of all sets."""

IpSets: TypeAlias = "dict[str, DumpedSet]"
_QUOTED: Final = re.compile(r'"[^"]*"')
_Key: TypeAlias = "tuple[Hashable, ...]"


class DumpedSet:
    """A set: its type (`hash:ip,port`), its options, and its members as text, which are read when a rule asks."""

    def __init__(self, name: str, kind: str, options: Mapping[str, str]) -> None:
        self.name, self.kind, self.options = name, kind, options
        self.members: list[str] = []
        self._keys: dict[_Key, bool] | None = None
        self._lengths: list[tuple[int, ...]] = []
        self._mask = self._mark_mask = 0xFFFFFFFF
        self._unread = ""

    @property
    def dimensions(self) -> list[str]:
        """What a member consists of: ip, net, port, mac, mark, iface or set."""
        return self.kind.partition(":")[2].split(",")

    def has(self, packet: HookPacket, directions: Sequence[str], sets: IpSets, *, nomatch: bool = False) -> Answer:
        """Whether the packet is in the set. `directions`: src or dst for each dimension; `nomatch`: as that option."""
        if self.options.get("family") == "inet6":
            return False
        if self.kind == "list:set":
            return self._some_member_has(packet, directions, sets, nomatch=nomatch)
        if len(directions) < len(self.dimensions):
            return False
        if self._keys is None:
            self._read()
        if self._unread:
            return f"set {self.name} ({self._unread})"
        assert self._keys is not None
        parts: list[Hashable] = []
        for dimension, direction in zip(self.dimensions, directions, strict=False):
            part = self._part(dimension, packet, direction == "src")
            if part is None:
                return False
            if part == "":
                return f"the packet's {dimension} (set {self.name})"
            parts.append(part)
        for lengths in self._lengths:
            there = self._keys.get(tuple(map(_masked, parts, lengths)))
            if there is not None:
                return there == nomatch
        return False

    def _some_member_has(self, packet: HookPacket, directions: Sequence[str], sets: IpSets, *, nomatch: bool) -> Answer:
        doubts: list[Answer] = []
        for name in self.members:
            own = sets.get(name.split(maxsplit=1)[0])
            if own is None or own.kind == "list:set":
                return f"set {name}"
            answer = own.has(packet, directions, sets, nomatch=nomatch)
            if answer is True:
                return True
            doubts += [answer] * isinstance(answer, str)
        return doubts[0] if doubts else False

    def _part(self, dimension: str, packet: HookPacket, source: bool) -> Hashable:
        """The packet's part of a member; None: it has none, and is in no set; "": it is not known."""
        match dimension:
            case "ip":
                return int(packet.source if source else packet.destination) & self._mask
            case "net":
                return int(packet.source if source else packet.destination)
            case "port":
                number = packet.source_port if source else packet.destination_port
                if self.kind == "bitmap:port":
                    return number if packet.protocol in WITH_PORTS else None
                if packet.protocol == ICMP:
                    number = packet.icmp_type << 8 | packet.icmp_code
                return packet.protocol, number if packet.protocol in (ICMP, *WITH_PORTS) else 0
            case "iface":
                return (packet.iif if source else packet.oif) or None
            case "mark":
                return packet.mark & self._mark_mask
            case _:
                return packet.mac

    def _read(self) -> None:
        self._keys, lengths = {}, set[tuple[int, ...]]()
        readers = [_READERS.get(dimension) for dimension in self.dimensions]
        if None in readers or "bitmask" in self.options:
            self._unread = self.kind
            return
        try:
            self._mask = names.network(f"0.0.0.0/{self.options.get('netmask', '32')}")[1]
            self._mark_mask = names.number(self.options.get("markmask", "0xffffffff"))
        except ValueError:
            self._unread = "its masks"
            return
        for member in self.members:
            entry, _, rest = member.partition(" ")
            try:
                pairs = [_read(dimension, part, self.kind) for dimension, part in self._parts(entry)]
            except ValueError:
                self._unread = f"its member {entry[:40]!a}"
                return
            flags = _QUOTED.sub("", rest).split()
            if "wildcard" in flags or "physdev:" in entry:
                self._unread = f"its member {entry[:40]!a}"
                return
            length = tuple(bits for _, bits in pairs)
            lengths.add(length)
            self._keys[tuple(map(_masked, (part for part, _ in pairs), length))] = "nomatch" in flags
        self._lengths = sorted(lengths, reverse=True)

    def _parts(self, entry: str) -> list[tuple[str, str]]:
        return list(zip(self.dimensions, entry.split(","), strict=True))


def _masked(part: Hashable, length: int) -> Hashable:
    """A part of a key; of a network, with its length (0 for all other parts: they are compared as they are)."""
    if length <= 0 or not isinstance(part, int):
        return part
    return part >> (33 - length) << (33 - length), length


def _read(dimension: str, text: str, kind: str) -> tuple[Hashable, int]:
    """A part of a member, and the length of a network plus one (0: it is no network). Raises ValueError."""
    if dimension == "net":
        base, _, length = text.partition("/")
        return names.address(base), 1 + (names.number(length, 32) if length else 32)
    if dimension == "port" and kind == "bitmap:port":
        return names.port(text), 0
    return _READERS[dimension](text), 0


def _address(text: str) -> int:
    return names.address(text.removesuffix("/32"))


def _port(text: str) -> tuple[int, int]:
    name, found, number = text.rpartition(":")
    protocol = names.protocol(name) if found else names.PROTOCOLS["tcp"]
    if protocol == ICMP:
        first, _, code = number.partition("/")
        kind = names.ICMP_TYPES.get(first)
        return ICMP, (names.number(first, 255) if kind is None else kind) << 8 | (
            names.number(code, 255) if code else 0
        )
    return protocol, names.port(number)


_READERS: Final[dict[str, Callable[[str], Hashable]]] = {
    "ip": _address,
    "net": names.network,
    "port": _port,
    "mac": str.lower,
    "mark": names.number,
    "iface": str,
}


def ipsets(text: str) -> IpSets:
    """The sets of what `ipset save` printed. Raises UsageError with a line's number."""
    if len(text) > LENGTH:
        raise UsageError(f"ipset save: more than {LENGTH >> 20} MiB")
    found: IpSets = {}
    adds: list[tuple[int, str, str]] = []
    for line, words in enumerate((line.split(" ", 2) for line in text.split("\n")), 1):
        match words:
            case ["add", name, member] if member.strip():
                adds.append((line, name, member.strip()))
            case ["create", name, rest] if ":" in rest.split(" ", 1)[0]:
                kind, *options = rest.split()
                found[name] = DumpedSet(name, kind, dict(pairwise(options)))
            case [first, *_] if first.strip() and not first.startswith("#"):
                raise UsageError(f"ipset save, line {line}: {' '.join(words)[:60]!a} is nothing that ipset save prints")
    if len(adds) > MEMBERS:
        raise UsageError(f"ipset save: {len(adds)} members, more than {MEMBERS}")
    for line, name, member in adds:
        if name not in found:
            raise UsageError(f"ipset save, line {line}: no set {name[:40]!a}")
        found[name].members.append(member)
    return found
