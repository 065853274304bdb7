"""The expressions of `nft -j`: what a rule reads of a packet, its connection or the node's routes, or draws (pure)."""

from __future__ import annotations

from fractions import Fraction
from operator import and_, lshift, or_, rshift, xor
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from nslab.trace.rules.connection import seen_state
from nslab.trace.rules.nft_constants import KINDS, STATES, STATUS, Unclear
from nslab.trace.rules.packet import ICMP, TCP, WITH_PORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from nslab.trace.rules.nft_constants import Kind
    from nslab.trace.rules.packet import HookPacket
    from nslab.trace.rules.turn import At


class Drawn(NamedTuple):
    """A value that lots decide: each possible one with its chance."""

    values: tuple[tuple[Fraction, Any], ...]


ValueReader: TypeAlias = "Callable[[HookPacket, At], Any]"
"""What an expression is of a packet: a number or a word; a tuple of them (a concatenation); None: the packet has no
such field, so the rule does not match; Unclear; Drawn; of a map, what it has as JSON."""
LOTS: Final = 4096
"""The maximum number of values of which one is drawn."""


class NftField(NamedTuple):
    """An expression: how the constants are read that it is compared with, and its value."""

    kind: Kind
    read: ValueReader


def field(expression: Any, lookup: Callable[[Any, NftField], ValueReader]) -> NftField:
    """An expression; `lookup` makes the reader of a map's data for a key. Raises ValueError."""
    match expression:
        case {"payload": {"protocol": str(protocol), "field": str(name)}}:
            return _payload(protocol, name)
        case {"meta": {"key": str(key)}}:
            return _META.get(key) or _unclear(f"meta {key}")
        case {"ct": {"key": str(key), **rest}}:
            return _ct(key, str(rest.get("dir", "")))
        case {"fib": {"result": str(result), "flags": flags}}:
            return _fib(result, {flags} if isinstance(flags, str) else {str(flag) for flag in flags})
        case {"numgen": {"mod": int(mod), **rest}} | {"jhash": {"mod": int(mod), **rest}}:
            return _lots(mod, rest.get("offset", 0))
        case {"symhash": {"mod": int(mod), **rest}}:
            return _lots(mod, rest.get("offset", 0))
        case {"concat": [*parts]}:
            return _concatenation([field(part, lookup) for part in parts])
        case {"map": {"key": key, "data": data}}:
            return NftField("word", lookup(data, field(key, lookup)))
        case dict() if len(expression) == 1:
            ((name, operands),) = expression.items()
            if name in _OPERATIONS and isinstance(operands, list) and len(operands) > 1:
                return _operation(name, operands, lookup)
            return _unclear(str(name))
        case int() | str():
            return NftField("number", lambda _packet, _at: expression)
    raise ValueError(f"no expression: {str(expression)[:40]}")


def _unclear(name: str, kind: Kind = "any") -> NftField:
    return NftField(kind, lambda _packet, _at: Unclear(name))


_PORTS: Final = {"tcp": (TCP,), "udp": (17,), "udplite": (136,), "sctp": (132,), "dccp": (33,), "th": WITH_PORTS}
_OF_IP: Final[dict[str, tuple[str, Callable[[HookPacket], int]]]] = {
    "saddr": ("address", lambda packet: int(packet.source)),
    "daddr": ("address", lambda packet: int(packet.destination)),
    "protocol": ("protocol", lambda packet: packet.protocol),
    "ttl": ("number", lambda packet: packet.ttl),
    "length": ("number", lambda packet: packet.length),
    "dscp": ("dscp", lambda packet: packet.tos >> 2),
    "version": ("number", lambda _packet: 4),
}
_OF_TRANSPORT: Final[dict[str, tuple[str, Callable[[HookPacket], Any]]]] = {
    "sport": ("port", lambda packet: packet.source_port or Unclear("the sender's port")),
    "dport": ("port", lambda packet: packet.destination_port or Unclear("the sender's port")),
    "flags": ("flags", lambda packet: packet.tcp_flags),
}
_OF_ICMP: Final[dict[str, tuple[str, Callable[[HookPacket], int]]]] = {
    "type": ("icmp type", lambda packet: packet.icmp_type),
    "code": ("icmp code", lambda packet: packet.icmp_code),
}


def _payload(protocol: str, name: str) -> NftField:
    """A header's field. nft leaves out of its listing that a rule for TCP's header first asks whether it is TCP."""
    if protocol == "ip" and name in _OF_IP:
        kind, read = _OF_IP[name]
        return NftField(kind, lambda packet, _at: read(packet))
    if protocol in _PORTS:
        return _of_header(_PORTS[protocol], _OF_TRANSPORT.get(name), f"{protocol} {name}", strict=protocol != "th")
    if protocol == "icmp":
        return _of_header((ICMP,), _OF_ICMP.get(name), f"icmp {name}", strict=True)
    if protocol in ("ip6", "icmpv6", "arp"):
        return NftField("word", lambda _packet, _at: None)
    if (protocol, name) == ("ether", "saddr"):
        return NftField("mac", lambda packet, _at: packet.mac.lower() or Unclear("ether saddr"))
    return _unclear(f"{protocol} {name}")


def _of_header(
    protocols: Collection[int], known: tuple[str, Callable[[HookPacket], Any]] | None, name: str, *, strict: bool
) -> NftField:
    """A field that packets of some protocols have; of others it is None, or some bytes if the rule is not `strict`."""
    kind, own = known or ("number", None)

    def read(packet: HookPacket, _at: At) -> Any:
        if packet.fragment:
            return None
        if packet.protocol in protocols:
            return own(packet) if own else Unclear(name)
        return None if strict else Unclear(f"{name} of protocol {packet.protocol}")

    return NftField(kind, read)


_META: Final = {
    "iif": NftField("interface", lambda packet, _at: packet.iif),
    "oif": NftField("interface", lambda packet, _at: packet.oif),
    "iifname": NftField("interface", lambda packet, _at: packet.iif),
    "oifname": NftField("interface", lambda packet, _at: packet.oif),
    "mark": NftField("number", lambda packet, _at: packet.mark),
    "l4proto": NftField("protocol", lambda packet, _at: packet.protocol),
    "nfproto": NftField("word", lambda _packet, _at: "ipv4"),
    "protocol": NftField("word", lambda _packet, _at: "ip"),
    "length": NftField("number", lambda packet, _at: packet.length),
    "pkttype": NftField("word", lambda packet, _at: packet.pkttype.replace("unicast", "host")),
    "skuid": NftField("number", lambda packet, _at: _of_process(packet, packet.uid)),
    "skgid": NftField("number", lambda packet, _at: _of_process(packet, packet.gid)),
}


def _of_process(packet: HookPacket, own: int | None) -> Any:
    """Only what this node sends has a process."""
    return None if packet.iif else Unclear("the sending process") if own is None else own


_NO_CONNECTION: Final = ("INVALID", "UNTRACKED")


def _ct(key: str, direction: str) -> NftField:
    """Of the packet's connection; without one, only its state can be read."""
    if key == "state":
        return NftField("state", lambda packet, at: STATES[seen_state(packet, at).lower()])
    known = _OF_CONNECTION.get(key)
    if direction == "original" and key in _OF_ORIGIN:
        known = _OF_ORIGIN[key]
    elif direction or not known:
        known = ("any", lambda _packet: Unclear(f"ct {direction} {key}".replace("  ", " ")))
    kind, own = known

    def read(packet: HookPacket, at: At) -> Any:
        return None if seen_state(packet, at) in _NO_CONNECTION else own(packet)

    return NftField(kind, read)


def _status(packet: HookPacket) -> int:
    own = {name.lower().replace("_", "-") for name in packet.status}
    return sum(bit for name, bit in STATUS.items() if name in own)


def _origin(packet: HookPacket, place: int) -> Any:
    if packet.reply and packet.origin is None:
        return Unclear("the connection's first tuple")
    end = (packet.origin or packet.flow)[place]
    return end if isinstance(end, int) else int(end)


_OF_CONNECTION: Final[dict[str, tuple[str, Callable[[HookPacket], Any]]]] = {
    "status": ("status", _status),
    "direction": ("word", lambda packet: "reply" if packet.reply else "original"),
    "mark": ("number", lambda packet: packet.ct_mark),
    "l3proto": ("word", lambda _packet: "ipv4"),
    "protocol": ("protocol", lambda packet: packet.protocol),
}
_OF_ORIGIN: Final[dict[str, tuple[str, Callable[[HookPacket], Any]]]] = {
    **{key: ("address", lambda packet: _origin(packet, 0)) for key in ("saddr", "ip saddr")},
    **{key: ("address", lambda packet: _origin(packet, 2)) for key in ("daddr", "ip daddr")},
    "proto-src": ("port", lambda packet: _origin(packet, 1)),
    "proto-dst": ("port", lambda packet: _origin(packet, 3)),
}


def _fib(result: str, flags: set[str]) -> NftField:
    """The type of an address, or the interface of the route to it: "" if there is none."""

    def dev(packet: HookPacket) -> str:
        return packet.iif if "iif" in flags else packet.oif if "oif" in flags else ""

    def kind(packet: HookPacket, at: At) -> Any:
        return at.addresses.kind(packet.source if "saddr" in flags else packet.destination, dev(packet)).lower()

    def device(packet: HookPacket, at: At) -> Any:
        address = packet.source if "saddr" in flags else packet.destination
        if at.hook == "PREROUTING" and packet.iif == "lo":
            return "lo"
        if at.addresses.kind(address) != "UNICAST":
            return ""
        if at.addresses.routes is None:
            return Unclear("fib, without the node's routes")
        devices = at.addresses.routes(address, packet.mark if "mark" in flags else 0)
        if limit := dev(packet):
            return limit if limit in devices else ""
        return next(iter(devices), "") if len(devices) < 2 else Unclear("fib, with several routes")

    return NftField("word", kind) if result == "type" else NftField("interface", device)


def _lots(mod: int, offset: Any) -> NftField:
    if not isinstance(offset, int) or not 0 < mod <= LOTS:
        return _unclear(f"one of {mod} numbers", "number")
    drawn: Any = Drawn(tuple((Fraction(1, mod), number) for number in range(offset, offset + mod)))
    return NftField("number", lambda _packet, _at: drawn if mod > 1 else offset)


def _concatenation(parts: list[NftField]) -> NftField:
    kinds = tuple(part.kind if isinstance(part.kind, str) else "word" for part in parts)

    def read(packet: HookPacket, at: At) -> Any:
        values = tuple(part.read(packet, at) for part in parts)
        if None in values:
            return None
        return tuple(Unclear("lots in a concatenation") if isinstance(value, Drawn) else value for value in values)

    return NftField(kinds, read)


_OPERATIONS: Final[dict[str, Callable[[int, int], int]]] = {
    "&": and_, "|": or_, "^": xor, "<<": lshift, ">>": rshift,
}  # fmt: skip


def _operation(name: str, operands: list[Any], lookup: Callable[[Any, NftField], ValueReader]) -> NftField:
    """An operation on bits, of two operands or more: the first is a field, and says how constants are read."""
    first = field(operands[0], lookup)
    kind = first.kind if isinstance(first.kind, str) else "number"
    others = [_operand(operand, kind, lookup) for operand in operands[1:]]

    def read(packet: HookPacket, at: At) -> Any:
        value = first.read(packet, at)
        for other in others:
            value = _applied(name, value, other(packet, at))
        return value

    return NftField(kind, read)


def _operand(operand: Any, kind: str, lookup: Callable[[Any, NftField], ValueReader]) -> ValueReader:
    flags = kind == "flags" and isinstance(operand, dict) and operand.keys() == {"|"}
    if flags or isinstance(operand, int | str | list):
        value = KINDS[kind](operand)
        return lambda _packet, _at: value
    return field(operand, lookup).read


def _applied(name: str, left: Any, right: Any) -> Any:
    if left is None or right is None:
        return None
    if isinstance(left, Drawn) and isinstance(right, int):
        return Drawn(tuple((chance, _applied(name, value, right)) for chance, value in left.values))
    if not isinstance(left, int) or not isinstance(right, int):
        unclear = (one for one in (left, right) if isinstance(one, Unclear))
        return next(unclear, Unclear(f"{name} of lots"))
    if name in ("<<", ">>") and not 0 <= right < 32:
        return 0
    return _OPERATIONS[name](left, right) & 0xFFFFFFFF
