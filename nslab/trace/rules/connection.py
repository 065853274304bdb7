"""iptables' matches on a packet's connection and on marks (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.trace.rules import names
from nslab.trace.rules.turn import all_of, doubt, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nslab.trace.rules.ipsets import IpSets
    from nslab.trace.rules.packet import HookPacket
    from nslab.trace.rules.parts import RuleOption
    from nslab.trace.rules.turn import Answer, At, Match


def states(packet: HookPacket, at: At) -> set[str]:
    """A packet's state, and its connection's NAT. Where conntrack has not seen it yet, it is INVALID."""
    state = seen_state(packet, at)
    return {state} if state in ("INVALID", "UNTRACKED") else {state, *packet.status & {"SNAT", "DNAT"}}


def seen_state(packet: HookPacket, at: At) -> str:
    """The state that a rule sees."""
    return packet.state if at.tracked or packet.state == "UNTRACKED" else "INVALID"


def _state(option: RuleOption) -> Match:
    wanted = {*option.value.split(",")}
    return signed(option.negated, lambda packet, at: not wanted.isdisjoint(states(packet, at)))


def _conntrack(options: Sequence[RuleOption], _sets: IpSets) -> Match:
    """Of a packet without a connection, nothing is asked but its state."""
    asked = [_state(option) for option in options if option.name in ("--ctstate", "--state")]
    others = [_of_connection(option) for option in options if option.name not in ("--ctstate", "--state")]

    def match(packet: HookPacket, at: At) -> Answer:
        answer = all_of(asked, packet, at)
        if answer is not True or not others:
            return answer
        if seen_state(packet, at) in ("INVALID", "UNTRACKED"):
            return bool(asked)
        return all_of(others, packet, at)

    return match


def _of_connection(option: RuleOption) -> Match:
    match option.name, option.value:
        case "--ctproto", value:
            number = names.protocol(value.lower())
            return signed(option.negated, lambda packet, _at: packet.protocol == number)
        case "--ctdir", "ORIGINAL" | "REPLY" as value:
            return signed(option.negated, lambda packet, _at: packet.reply == (value == "REPLY"))
        case "--ctstatus", value:
            wanted = {*value.split(",")}
            return signed(option.negated, lambda packet, _at: _has_status(packet, wanted))
        case ("--ctorigsrc" | "--ctorigdst") as name, value:
            base, mask = names.network(value)
            test = _original(name == "--ctorigsrc", lambda address, _port: address & mask == base)
            return signed(option.negated, test)
        case "--ctorigsrcport" | "--ctorigdstport" as name, value:
            low, high = names.span(value, ":", 65535)
            return signed(
                option.negated, _original(name == "--ctorigsrcport", lambda _address, port: low <= port <= high)
            )
    return doubt(f"conntrack {option.name}")


def _has_status(packet: HookPacket, wanted: set[str]) -> Answer:
    return not wanted.isdisjoint(packet.status) or (wanted == {"NONE"} and not packet.status)


def _original(source: bool, test: Callable[[int, int], bool]) -> Match:
    """A test of one end of the connection's first tuple."""

    def match(packet: HookPacket, _at: At) -> Answer:
        flow = packet.origin or packet.flow
        if packet.reply and packet.origin is None:
            return "the connection's first tuple"
        address, port = flow[:2] if source else flow[2:]
        return test(int(address), port)

    return match


def _value_and_mask(text: str) -> tuple[int, int]:
    value, _, mask = text.partition("/")
    return names.number(value), names.number(mask) if mask else 0xFFFFFFFF


def _mark(options: Sequence[RuleOption], _sets: IpSets) -> Match:
    (option,) = options
    value, mask = _value_and_mask(option.value)
    return signed(option.negated, lambda packet, _at: packet.mark & mask == value)


def _connmark(options: Sequence[RuleOption], _sets: IpSets) -> Match:
    (option,) = options
    value, mask = _value_and_mask(option.value)
    untracked = ("INVALID", "UNTRACKED")
    return lambda packet, at: (
        seen_state(packet, at) not in untracked and (packet.ct_mark & mask == value) != option.negated
    )


def _connlimit(options: Sequence[RuleOption], _sets: IpSets) -> Match:
    (option,) = (one for one in options if one.name in ("--connlimit-above", "--connlimit-upto"))
    limit = names.number(option.value)
    answer = (limit < 1) == (option.name == "--connlimit-above")
    return signed(option.negated, lambda _packet, _at: answer)


_CONNTRACK = dict.fromkeys(
    (
        "--ctstate", "--ctproto", "--ctorigsrc", "--ctorigdst", "--ctreplsrc", "--ctrepldst", "--ctorigsrcport",
        "--ctorigdstport", "--ctreplsrcport", "--ctrepldstport", "--ctstatus", "--ctexpire", "--ctdir",
    ),
    1,
)  # fmt: skip

CONNECTION: dict[str, tuple[dict[str, int], Callable[[Sequence[RuleOption], IpSets], Match]]] = {
    "conntrack": (_CONNTRACK, _conntrack),
    "state": ({"--state": 1}, _conntrack),
    "mark": ({"--mark": 1}, _mark),
    "connmark": ({"--mark": 1}, _connmark),
    "connlimit": (
        {
            "--connlimit-above": 1,
            "--connlimit-upto": 1,
            "--connlimit-mask": 1,
            "--connlimit-saddr": 0,
            "--connlimit-daddr": 0,
        },
        _connlimit,
    ),
}
"""Modules with the number of values of their options; all options of a module are one match."""
