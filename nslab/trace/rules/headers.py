"""iptables' matches on what a packet's headers say (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from nslab.trace.rules import names
from nslab.trace.rules.packet import CHOSEN, WITH_PORTS
from nslab.trace.rules.turn import always, doubt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nslab.trace.rules.packet import HookPacket
    from nslab.trace.rules.turn import Answer, At, Match

OptionBuilder: TypeAlias = "Callable[..., Match]"
"""Makes a match of an option's values. Raises ValueError."""


def source(text: str) -> Match:
    """-s ADDRESS[/MASK]."""
    base, mask = names.network(text)
    return lambda packet, _at: int(packet.source) & mask == base


def destination(text: str) -> Match:
    """-d ADDRESS[/MASK]."""
    base, mask = names.network(text)
    return lambda packet, _at: int(packet.destination) & mask == base


def protocol(text: str) -> Match:
    """-p NAME or NUMBER; 0 and `all` are any."""
    wanted = 0 if text == "all" else names.protocol(text.lower())
    return (lambda packet, _at: packet.protocol == wanted) if wanted else always


def interface(pattern: str, name: Callable[[HookPacket], str]) -> Match:
    """A name; with a `+` at its end, all names that begin so."""
    if pattern.endswith("+"):
        start = pattern[:-1]
        return lambda packet, _at: name(packet).startswith(start)
    return lambda packet, _at: name(packet) == pattern


def _ports(text: str, number: Callable[[HookPacket], tuple[int, ...]]) -> Match:
    """Ports and ranges between commas. What is not a packet's first fragment has no ports."""
    spans = [names.span(part, ":", 65535) for part in text.split(",")]

    def match(packet: HookPacket, _at: At) -> Answer:
        own = number(packet)
        if any(low <= one <= high for one in own if one for low, high in spans):
            return True
        return _of_any_port(spans) if 0 in own and packet.protocol in WITH_PORTS else False

    return match


def _of_any_port(spans: Sequence[tuple[int, int]]) -> Answer:
    """Of a port that the sender's kernel is still to choose."""
    first, last = CHOSEN
    if any(low <= first and last <= high for low, high in spans):
        return True
    return "the sender's port" if any(low <= last and first <= high for low, high in spans) else False


def _source_port(packet: HookPacket) -> tuple[int, ...]:
    return (packet.source_port,)


def _destination_port(packet: HookPacket) -> tuple[int, ...]:
    return (packet.destination_port,)


def _both_ports(packet: HookPacket) -> tuple[int, ...]:
    return packet.source_port, packet.destination_port


def _flags(mask: str, wanted: str) -> Match:
    of, on = names.bits(mask, names.TCP_FLAGS), names.bits(wanted, names.TCP_FLAGS)
    return lambda packet, _at: packet.tcp_flags & of == on


def _icmp(text: str) -> Match:
    """`any`, TYPE, TYPE/CODE, or the name of a type or of a code of "destination unreachable"."""
    if text in ("any", "255"):
        return always
    if text in names.ICMP_CODES:
        text = f"3/{names.ICMP_CODES[text]}"
    kind, _, code = text.partition("/")
    first = str(names.ICMP_TYPES.get(kind, kind))
    wanted, codes = names.number(first, 255), names.span(code, ":", 255) if code else (0, 255)
    return lambda packet, _at: packet.icmp_type == wanted and codes[0] <= packet.icmp_code <= codes[1]


def _length(text: str) -> Match:
    low, high = names.span(text, ":", 65535)
    return lambda packet, _at: low <= packet.length <= high


def _ttl(compare: Callable[[int, int], bool]) -> OptionBuilder:
    def build(text: str) -> Match:
        limit = names.number(text, 255)
        return lambda packet, _at: compare(packet.ttl, limit)

    return build


def _dscp(text: str) -> Match:
    wanted = names.number(text, 63)
    return lambda packet, _at: packet.tos >> 2 == wanted


def _tos(text: str) -> Match:
    value, _, mask = text.partition("/")
    wanted, of = names.number(value, 255), names.number(mask, 255) if mask else 255
    return lambda packet, _at: packet.tos & of == wanted


def _range(end: Callable[[HookPacket], int]) -> OptionBuilder:
    def build(text: str) -> Match:
        low, high = names.address_span(text)
        return lambda packet, _at: low <= end(packet) <= high

    return build


def _mac(text: str) -> Match:
    wanted = text.lower()

    def match(packet: HookPacket, _at: At) -> Answer:
        return packet.mac.lower() == wanted if packet.mac else "mac"

    return match


def _pkttype(text: str) -> Match:
    wanted = {"host": "unicast", "bcast": "broadcast", "mcast": "multicast"}.get(text, text)
    return lambda packet, _at: packet.pkttype == wanted


def _named(name: str) -> OptionBuilder:
    return lambda *_values: doubt(name)


def _of_ports(more: Mapping[str, tuple[int, OptionBuilder]]) -> dict[str, tuple[int, OptionBuilder]]:
    return {
        "--sport": (1, lambda text: _ports(text, _source_port)),
        "--source-port": (1, lambda text: _ports(text, _source_port)),
        "--dport": (1, lambda text: _ports(text, _destination_port)),
        "--destination-port": (1, lambda text: _ports(text, _destination_port)),
        **more,
    }


HEADERS: dict[str, dict[str, tuple[int, OptionBuilder]]] = {
    "": {
        "-s": (1, source),
        "-d": (1, destination),
        "-p": (1, protocol),
        "-i": (1, lambda text: interface(text, lambda packet: packet.iif)),
        "-o": (1, lambda text: interface(text, lambda packet: packet.oif)),
        "-f": (0, lambda: lambda packet, _at: packet.fragment),
    },
    "tcp": _of_ports(
        {
            "--tcp-flags": (2, _flags),
            "--syn": (0, lambda: _flags("SYN,RST,ACK,FIN", "SYN")),
            "--tcp-option": (1, _named("tcp --tcp-option")),
        }
    ),
    "udp": _of_ports({}),
    "udplite": _of_ports({}),
    "sctp": _of_ports({"--chunk-types": (2, _named("sctp --chunk-types"))}),
    "dccp": _of_ports(
        {"--dccp-types": (1, _named("dccp --dccp-types")), "--dccp-option": (1, _named("dccp --dccp-option"))}
    ),
    "icmp": {"--icmp-type": (1, _icmp)},
    "multiport": {
        "--sports": (1, lambda text: _ports(text, _source_port)),
        "--source-ports": (1, lambda text: _ports(text, _source_port)),
        "--dports": (1, lambda text: _ports(text, _destination_port)),
        "--destination-ports": (1, lambda text: _ports(text, _destination_port)),
        "--ports": (1, lambda text: _ports(text, _both_ports)),
    },
    "length": {"--length": (1, _length)},
    "ttl": {
        "--ttl-eq": (1, _ttl(lambda own, limit: own == limit)),
        "--ttl": (1, _ttl(lambda own, limit: own == limit)),
        "--ttl-lt": (1, _ttl(lambda own, limit: own < limit)),
        "--ttl-gt": (1, _ttl(lambda own, limit: own > limit)),
    },
    "dscp": {"--dscp": (1, _dscp), "--dscp-class": (1, _named("dscp --dscp-class"))},
    "tos": {"--tos": (1, _tos)},
    "iprange": {
        "--src-range": (1, _range(lambda packet: int(packet.source))),
        "--dst-range": (1, _range(lambda packet: int(packet.destination))),
    },
    "mac": {"--mac-source": (1, _mac)},
    "pkttype": {"--pkt-type": (1, _pkttype)},
}
"""Options by module, with the number of their values; each is a match of its own."""
OF_FIRST_FRAGMENT = frozenset(("tcp", "udp", "udplite", "sctp", "dccp", "icmp", "multiport"))
"""The modules that no later fragment passes, whatever they ask: it has no such header."""
