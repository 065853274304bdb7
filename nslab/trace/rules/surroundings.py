"""iptables' matches on what surrounds a packet: the node's addresses and routes, sets, chance, its process (pure).

A match that counts (`limit`, `hashlimit`; `connlimit`, too) is asked as if the packet were the only one for a while.
"""

from __future__ import annotations

from fractions import Fraction
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final, TypeAlias

from nslab.trace.rules import names
from nslab.trace.rules.connection import CONNECTION
from nslab.trace.rules.headers import interface
from nslab.trace.rules.turn import all_of, always, doubt, negated, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nslab.trace.rules.ipsets import IpSets
    from nslab.trace.rules.packet import HookPacket
    from nslab.trace.rules.parts import RuleOption
    from nslab.trace.rules.turn import Answer, At, Match

ModuleBuilder: TypeAlias = "Callable[[Sequence[RuleOption], IpSets], Match]"
"""Makes one match of all options of a module. Raises ValueError."""

_RESOLUTION: Final = Fraction(1, 1 << 31)
_NOBODY: Final = IPv4Address(0)
_TO_MANY: Final = ("BROADCAST", "MULTICAST")


def _addrtype(options: Sequence[RuleOption], _sets: IpSets) -> Match:
    limits = {option.name for option in options}

    def dev(packet: HookPacket) -> str:
        return packet.iif if "--limit-iface-in" in limits else packet.oif if "--limit-iface-out" in limits else ""

    def one(option: RuleOption) -> Match:
        kinds, source = {*option.value.split(",")}, option.name == "--src-type"
        return signed(
            option.negated,
            lambda packet, at: at.addresses.kind(packet.source if source else packet.destination, dev(packet)) in kinds,
        )

    matches = [one(option) for option in options if option.name in ("--src-type", "--dst-type")]
    return lambda packet, at: all_of(matches, packet, at)


def _set(options: Sequence[RuleOption], sets: IpSets) -> Match:
    by_name = {option.name: option for option in options}
    option = by_name.pop("--match-set", None) or by_name.pop("--set", None)
    nomatch = by_name.pop("--return-nomatch", None) is not None
    if option is None or any(not name.startswith("--update-") for name in by_name):
        return doubt(f"set {' '.join(by_name)}".rstrip())
    name, directions = option.values[0], option.values[1].split(",")
    own = sets.get(name)
    if own is None:
        return doubt(f"set {name}, which the dump does not have")

    def match(packet: HookPacket, _at: At) -> Answer:
        answer = own.has(packet, directions, sets, nomatch=nomatch)
        return f"set {name}, to which a rule adds" if answer is False and name in packet.added else answer

    return signed(option.negated, match)


def _statistic(options: Sequence[RuleOption], _sets: IpSets) -> Match:
    """The chance as it was written: the kernel keeps 31 bits of it."""
    by_name = {option.name: option for option in options}
    match by_name.get("--mode", options[0]).value:
        case "random":
            option = by_name["--probability"]
            exact = names.fraction(option.value)
            near = exact.limit_denominator(20_000)
            chance = near if abs(near - exact) <= _RESOLUTION else exact
        case "nth":
            option = by_name["--every"]
            chance = Fraction(1, max(names.number(option.value), 1))
        case mode:
            return doubt(f"statistic --mode {mode}")
    answer: Answer = chance == 1 if chance in (0, 1) else chance
    return signed(option.negated, lambda _packet, _at: answer)


def _recent(options: Sequence[RuleOption], _sets: IpSets) -> Match:
    by_name = {option.name: option for option in options}
    name = by_name["--name"].value if "--name" in by_name else "DEFAULT"
    hits = names.number(by_name["--hitcount"].value) if "--hitcount" in by_name else 1
    if "--set" in by_name:
        return signed(by_name["--set"].negated, always)
    asked = next((by_name[one] for one in ("--rcheck", "--update", "--remove") if one in by_name), None)
    if asked is None:
        return doubt("recent")

    def match(packet: HookPacket, _at: At) -> Answer:
        if "--rdest" in by_name or (name in packet.recent and (hits > 1 or "--rttl" in by_name)):
            return f"recent --name {name}"
        return name in packet.recent or (name in packet.added and hits <= 1)

    return signed(asked.negated, match)


def _physdev(options: Sequence[RuleOption], _sets: IpSets) -> Match:
    """A packet that crosses no bridge passes what is negated; only on its way out is it known where it leaves one."""
    ports = {
        "--physdev-in": lambda packet: packet.physdev_in,
        "--physdev-out": lambda packet: packet.physdev_out,
    }

    def one(option: RuleOption) -> Match:
        match option.name:
            case "--physdev-in" | "--physdev-out" as name:
                return signed(option.negated, interface(option.value, ports[name]))
            case "--physdev-is-in":
                return signed(option.negated, lambda packet, _at: bool(packet.physdev_in))
            case "--physdev-is-out" | "--physdev-is-bridged":
                return signed(option.negated, lambda packet, _at: bool(packet.physdev_out))
        return doubt(f"physdev {option.name}")

    matches, inverse = [one(option) for option in options], all(option.negated for option in options)
    return lambda packet, at: all_of(matches, packet, at) if packet.physdev_in or packet.physdev_out else inverse


def _rpfilter(options: Sequence[RuleOption], _sets: IpSets) -> Match:
    given = {option.name for option in options}

    def match(packet: HookPacket, at: At) -> Answer:
        kind = at.addresses.kind(packet.source)
        if packet.iif == "lo" or (packet.source == _NOBODY and at.addresses.kind(packet.destination) in _TO_MANY):
            return True
        if kind != "UNICAST":
            return (
                kind == "LOCAL"
                and "--accept-local" in given
                and ("--loose" in given or at.addresses.local.get(packet.source, "lo") == packet.iif)
            )
        if at.addresses.routes is None:
            return "rpfilter, without the node's routes"
        devices = at.addresses.routes(packet.source, packet.mark if "--validmark" in given else 0)
        return bool(devices) if "--loose" in given else packet.iif in devices

    return negated(match) if "--invert" in given else match


def _owner(options: Sequence[RuleOption], _sets: IpSets) -> Match:
    """Only what this node sends has a process."""

    def one(option: RuleOption) -> Match:
        if option.name not in ("--uid-owner", "--gid-owner"):
            return doubt(f"owner {option.name}") if option.name != "--socket-exists" else signed(option.negated, always)
        low, high = names.span(option.value, "-")

        def match(packet: HookPacket, _at: At) -> Answer:
            own = packet.uid if option.name == "--uid-owner" else packet.gid
            return f"owner {option.name}" if own is None else low <= own <= high

        return signed(option.negated, match)

    matches, inverse = [one(option) for option in options], all(option.negated for option in options)
    return lambda packet, at: inverse if packet.iif else all_of(matches, packet, at)


def _hashlimit(options: Sequence[RuleOption], _sets: IpSets) -> Match:
    above = any(option.name == "--hashlimit-above" or option.negated for option in options)
    return lambda _packet, _at: not above


def _passes(_options: Sequence[RuleOption], _sets: IpSets) -> Match:
    return always


_LIMITS = {
    "--hashlimit-upto": 1, "--hashlimit": 1, "--hashlimit-above": 1, "--hashlimit-burst": 1, "--hashlimit-mode": 1,
    "--hashlimit-name": 1, "--hashlimit-srcmask": 1, "--hashlimit-dstmask": 1, "--hashlimit-htable-size": 1,
    "--hashlimit-htable-max": 1, "--hashlimit-htable-expire": 1, "--hashlimit-htable-gcinterval": 1,
    "--hashlimit-rate-match": 0, "--hashlimit-rate-interval": 1,
}  # fmt: skip
_RECENT = {
    "--name": 1, "--set": 0, "--rcheck": 0, "--update": 0, "--remove": 0, "--seconds": 1, "--reap": 0, "--hitcount": 1,
    "--rttl": 0, "--rsource": 0, "--rdest": 0, "--mask": 1,
}  # fmt: skip

SURROUNDINGS: dict[str, tuple[dict[str, int], ModuleBuilder]] = CONNECTION | {
    "comment": ({"--comment": 1}, _passes),
    "addrtype": ({"--src-type": 1, "--dst-type": 1, "--limit-iface-in": 0, "--limit-iface-out": 0}, _addrtype),
    "set": (
        {"--match-set": 2, "--set": 2, "--return-nomatch": 0, "--update-counters": 0, "--update-subcounters": 0},
        _set,
    ),
    "statistic": ({"--mode": 1, "--probability": 1, "--every": 1, "--packet": 1}, _statistic),
    "recent": (_RECENT, _recent),
    "physdev": (
        {"--physdev-in": 1, "--physdev-out": 1, "--physdev-is-in": 0, "--physdev-is-out": 0, "--physdev-is-bridged": 0},
        _physdev,
    ),
    "rpfilter": ({"--loose": 0, "--validmark": 0, "--accept-local": 0, "--invert": 0}, _rpfilter),
    "nfacct": ({"--nfacct-name": 1}, _passes),
    "limit": ({"--limit": 1, "--limit-burst": 1}, _passes),
    "hashlimit": (_LIMITS, _hashlimit),
    "owner": ({"--uid-owner": 1, "--gid-owner": 1, "--socket-exists": 0, "--suppl-groups": 0}, _owner),
}
"""Modules with the number of values of their options; all options of a module are one match."""
