"""iptables' targets (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from nslab.dataclass import replace
from nslab.trace.rules import names, nat
from nslab.trace.rules.connection import seen_state
from nslab.trace.rules.packet import Verdict
from nslab.trace.rules.turn import Move, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nslab.trace.rules.packet import HookPacket
    from nslab.trace.rules.turn import At

Target: TypeAlias = "Callable[[HookPacket, At], Sequence[Turn]]"
Given: TypeAlias = "Mapping[str, str]"
"""A target's options with their first value."""


def continued(packet: HookPacket, result: str) -> Sequence[Turn]:
    """On to the next rule."""
    return [Turn(packet, Move.CONTINUE, result)]


def _ends(verdict: Verdict) -> Callable[[Given], Target]:
    def build(_given: Given) -> Target:
        return lambda packet, _at: [Turn(packet, Move.END, str(verdict), verdict=verdict)]

    return build


def _return(_given: Given) -> Target:
    return lambda packet, _at: [Turn(packet, Move.RETURN, "RETURN")]


def _reject(given: Given) -> Target:
    how = given.get("--reject-with", "icmp-port-unreachable")
    return lambda packet, _at: [
        Turn(packet, Move.END, f"REJECT {how}", verdict=Verdict.REJECT, reject=how),
    ]


def set_mark(packet: HookPacket, mark: int, name: str = "MARK") -> Sequence[Turn]:
    """On with another mark."""
    return continued(
        replace(packet, mark=mark) if mark != packet.mark else packet, f"{name} {packet.mark:#x} -> {mark:#x}"
    )


def _xmark(given: Given) -> tuple[int, int]:
    """Value and mask: the bits of the mask are cleared, then the value is put in by exclusive or."""
    everything = 0xFFFFFFFF
    for option, text in given.items():
        value, found, mask = text.partition("/")
        number = names.number(value) if value else 0
        match option:
            case "--set-xmark":
                return number, names.number(mask) if found else everything
            case "--set-mark":
                return number, (names.number(mask) | number) if found else everything
            case "--or-mark":
                return number, number
            case "--and-mark":
                return 0, ~number & everything
            case "--xor-mark":
                return number, 0
    raise ValueError("no mark")


def _mark(given: Given) -> Target:
    value, mask = _xmark(given)
    return lambda packet, _at: set_mark(packet, packet.mark & ~mask ^ value)


def _connmark(given: Given) -> Target:
    """A packet without a connection passes as it is."""
    change = _connmark_change(given)

    def target(packet: HookPacket, at: At) -> Sequence[Turn]:
        if seen_state(packet, at) in ("INVALID", "UNTRACKED"):
            return continued(packet, "CONNMARK")
        mark, ct_mark = change(packet)
        return continued(replace(packet, mark=mark, ct_mark=ct_mark), f"CONNMARK {ct_mark:#x}, mark {mark:#x}")

    return target


def _connmark_change(given: Given) -> Callable[[HookPacket], tuple[int, int]]:
    """What becomes of a packet's mark, and of its connection's."""
    both = names.number(given.get("--mask", "0xffffffff"))
    of, on = (names.number(given[name]) if name in given else both for name in ("--nfmask", "--ctmask"))
    if "--save-mark" in given:
        return lambda packet: (packet.mark, packet.ct_mark & ~on ^ packet.mark & of)
    if "--restore-mark" in given:
        return lambda packet: (packet.mark & ~of ^ packet.ct_mark & on, packet.ct_mark)
    value, mask = _xmark(given)
    return lambda packet: (packet.mark, packet.ct_mark & ~mask ^ value)


def untracked(packet: HookPacket, at: At) -> HookPacket:
    """A packet that conntrack will not look at, if a rule says so before conntrack sees it."""
    return packet if at.tracked else replace(packet, state="UNTRACKED", status=frozenset())


def _ct(given: Given) -> Target:
    if "--notrack" in given:
        return lambda packet, at: continued(untracked(packet, at), "CT --notrack")
    return lambda packet, _at: continued(packet, "CT")


def _notrack(_given: Given) -> Target:
    return _ct({"--notrack": ""})


def _nat_range(given: Given, option: str) -> nat.NatRange:
    """`ADDRESS[-ADDRESS][:PORT[-PORT[/BASE]]]`; the ports alone, as of `--to-ports`, may lack the colon."""
    text = given.get(option, "")
    addresses, found, ports = text.partition(":")
    if not found and option == "--to-ports":
        addresses, ports = "", text
    span, _, base = ports.partition("/")
    return nat.NatRange(
        names.address_span(addresses) if addresses else None,
        names.span(span, "-", 65535) if span else None,
        names.port(base) if base else 0,
        random="--random" in given or "--random-fully" in given,
    )


def _dnat(given: Given) -> Target:
    target = _nat_range(given, "--to-destination")
    return lambda packet, _at: nat.destination(packet, target)


def _snat(given: Given) -> Target:
    target = _nat_range(given, "--to-source")
    return lambda packet, _at: nat.source(packet, target)


def _masquerade(given: Given) -> Target:
    target = _nat_range(given, "--to-ports")
    return lambda packet, _at: nat.masquerade(packet, target)


def _redirect(given: Given) -> Target:
    target = _nat_range(given, "--to-ports")
    return lambda packet, at: nat.redirect(packet, at, target)


def _netmap(given: Given) -> Target:
    network = names.network(given["--to"])
    return lambda packet, at: nat.netmap(packet, at, network)


def _ttl(given: Given) -> Target:
    ((option, text),) = given.items()
    step = names.number(text, 255)
    if option == "--ttl-set":
        return lambda packet, _at: continued(replace(packet, ttl=step), "TTL")
    up = step if option == "--ttl-inc" else -step
    return lambda packet, _at: continued(replace(packet, ttl=min(max(packet.ttl + up, 0), 255)), "TTL")


def _dscp(given: Given) -> Target:
    dscp = names.number(given["--set-dscp"], 63)
    return lambda packet, _at: continued(replace(packet, tos=dscp << 2 | packet.tos & 3), "DSCP")


def _tos(given: Given) -> Target:
    value, _, mask = given["--set-tos"].partition("/")
    new, of = names.number(value, 255), names.number(mask, 255) if mask else 255
    return lambda packet, _at: continued(replace(packet, tos=packet.tos & ~of ^ new), "TOS")


def _set(given: Given) -> Target:
    """A later rule that asks for the set cannot know without a clock whether the packet is in it."""
    if "--map-set" in given:
        raise ValueError("it may change the mark")
    name = given.get("--add-set", "")
    return lambda packet, _at: continued(replace(packet, added=packet.added | {name}) if name else packet, "SET")


def _passes(name: str) -> Callable[[Given], Target]:
    return lambda _given: lambda packet, _at: continued(packet, name)


_TO = {"--to-destination": 1, "--to-source": 1, "--to-ports": 1, "--random": 0, "--random-fully": 0, "--persistent": 0}
_MARKS = {"--set-xmark": 1, "--set-mark": 1, "--or-mark": 1, "--and-mark": 1, "--xor-mark": 1}
_CONNMARKS = _MARKS | {"--save-mark": 0, "--restore-mark": 0, "--nfmask": 1, "--ctmask": 1, "--mask": 1}
_UNHEEDED: Final = (
    "LOG", "NFLOG", "ULOG", "TCPMSS", "TCPOPTSTRIP", "TRACE", "AUDIT", "CHECKSUM", "CLASSIFY", "TEE", "IDLETIMER",
    "RATEEST", "LED", "SECMARK", "CONNSECMARK", "ECN",
)  # fmt: skip
"""Targets after which the packet goes on, and no match sees what they did."""

TARGETS: dict[str, tuple[dict[str, int], Callable[[Given], Target]]] = {
    "ACCEPT": ({}, _ends(Verdict.ACCEPT)),
    "DROP": ({}, _ends(Verdict.DROP)),
    "RETURN": ({}, _return),
    "REJECT": ({"--reject-with": 1}, _reject),
    "MARK": (_MARKS, _mark),
    "CONNMARK": (_CONNMARKS, _connmark),
    "CT": ({"--notrack": 0, "--zone": 1, "--zone-orig": 1, "--zone-reply": 1, "--helper": 1}, _ct),
    "NOTRACK": ({}, _notrack),
    "DNAT": (_TO, _dnat),
    "SNAT": (_TO, _snat),
    "MASQUERADE": (_TO, _masquerade),
    "REDIRECT": (_TO, _redirect),
    "NETMAP": ({"--to": 1}, _netmap),
    "TTL": ({"--ttl-set": 1, "--ttl-dec": 1, "--ttl-inc": 1}, _ttl),
    "DSCP": ({"--set-dscp": 1}, _dscp),
    "TOS": ({"--set-tos": 1}, _tos),
    "SET": ({"--add-set": 2, "--del-set": 2, "--map-set": 2, "--exist": 0, "--timeout": 1}, _set),
    **{name: ({}, _passes(name)) for name in _UNHEEDED},
}
"""Targets with the number of values of their options."""
