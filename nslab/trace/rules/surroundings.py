"""iptables' matches on what surrounds a packet: its connection, the node's addresses, sets, chance, its process (pure).

A match that counts (`limit`, `hashlimit`, `connlimit`) is asked as if the packet were the only one for a while.
"""

from __future__ import annotations

from fractions import Fraction
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Final, TypeAlias

from nslab.trace.rules import names
from nslab.trace.rules.headers import interface
from nslab.trace.rules.turn import always, doubt, negated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nslab.trace.rules.ipsets import IpSets
    from nslab.trace.rules.packet import Packet
    from nslab.trace.rules.parts import RuleOption
    from nslab.trace.rules.turn import Answer, At, Match

ModuleBuilder: TypeAlias = "Callable[[Sequence[RuleOption], IpSets], Match]"
"""Makes one match of all options of a module. Raises ValueError."""

_RESOLUTION: Final = Fraction(1, 1 << 31)
_NOBODY: Final = IPv4Address(0)
_TO_MANY: Final = ("BROADCAST", "MULTICAST")


def states(packet: Packet, at: At) -> set[str]:
    """A packet's state, and its connection's NAT. Where conntrack has not seen it yet, it is INVALID."""
    state = seen_state(packet, at)
    return {state} if state in ("INVALID", "UNTRACKED") else {state, *packet.status & {"SNAT", "DNAT"}}


def seen_state(packet: Packet, at: At) -> str:
    """The state that a rule sees."""
    return packet.state if at.tracked or packet.state == "UNTRACKED" else "INVALID"


def _state(option: RuleOption) -> Match:
    wanted = {*option.value.split(",")}
    return _signed(option, lambda packet, at: not wanted.isdisjoint(states(packet, at)))


def _conntrack(options: Sequence[RuleOption], _sets: IpSets) -> Match:
    """Of a packet without a connection, nothing is asked but its state."""
    asked = [_state(option) for option in options if option.name in ("--ctstate", "--state")]
    others = [_of_connection(option) for option in options if option.name not in ("--ctstate", "--state")]

    def match(packet: Packet, at: At) -> Answer:
        answer = _all(asked, packet, at)
        if answer is not True or not others:
            return answer
        if seen_state(packet, at) in ("INVALID", "UNTRACKED"):
            return bool(asked)
        return _all(others, packet, at)

    return match


def _all(matches: Iterable[Match], packet: Packet, at: At) -> Answer:
    """No if one match says no, else what one does not know, else yes."""
    answers = [match(packet, at) for match in matches]
    return False if False in answers else next((answer for answer in answers if answer is not True), True)


def _signed(option: RuleOption, match: Match) -> Match:
    return negated(match) if option.negated else match


def _of_connection(option: RuleOption) -> Match:
    match option.name, option.value:
        case "--ctproto", value:
            number = names.protocol(value.lower())
            return _signed(option, lambda packet, _at: packet.protocol == number)
        case "--ctdir", "ORIGINAL" | "REPLY" as value:
            return _signed(option, lambda packet, _at: packet.reply == (value == "REPLY"))
        case "--ctstatus", value:
            wanted = {*value.split(",")}
            return _signed(option, lambda packet, _at: _has_status(packet, wanted))
        case "--ctorigsrc" | "--ctorigdst" as name, value:
            base, mask = names.network(value)
            return _signed(option, _original(name == "--ctorigsrc", lambda address, _port: address & mask == base))
        case "--ctorigsrcport" | "--ctorigdstport" as name, value:
            low, high = names.span(value, ":", 65535)
            return _signed(option, _original(name == "--ctorigsrcport", lambda _address, port: low <= port <= high))
    return doubt(f"conntrack {option.name}")


def _has_status(packet: Packet, wanted: set[str]) -> Answer:
    return not wanted.isdisjoint(packet.status) or (wanted == {"NONE"} and not packet.status)


def _original(source: bool, test: Callable[[int, int], bool]) -> Match:
    """A test of one end of the connection's first tuple."""

    def match(packet: Packet, _at: At) -> Answer:
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
    return _signed(option, lambda packet, _at: packet.mark & mask == value)


def _connmark(options: Sequence[RuleOption], _sets: IpSets) -> Match:
    (option,) = options
    value, mask = _value_and_mask(option.value)
    untracked = ("INVALID", "UNTRACKED")
    return lambda packet, at: (
        seen_state(packet, at) not in untracked and (packet.ct_mark & mask == value) != option.negated
    )


def _addrtype(options: Sequence[RuleOption], _sets: IpSets) -> Match:
    limits = {option.name for option in options}

    def dev(packet: Packet) -> str:
        return packet.iif if "--limit-iface-in" in limits else packet.oif if "--limit-iface-out" in limits else ""

    def one(option: RuleOption) -> Match:
        kinds, source = {*option.value.split(",")}, option.name == "--src-type"
        return _signed(
            option,
            lambda packet, at: at.addresses.kind(packet.source if source else packet.destination, dev(packet)) in kinds,
        )

    matches = [one(option) for option in options if option.name in ("--src-type", "--dst-type")]
    return lambda packet, at: _all(matches, packet, at)


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

    def match(packet: Packet, _at: At) -> Answer:
        answer = own.has(packet, directions, sets, nomatch=nomatch)
        return f"set {name}, to which a rule adds" if answer is False and name in packet.added else answer

    return _signed(option, match)


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
    return _signed(option, lambda _packet, _at: answer)


def _recent(options: Sequence[RuleOption], _sets: IpSets) -> Match:
    by_name = {option.name: option for option in options}
    name = by_name["--name"].value if "--name" in by_name else "DEFAULT"
    hits = names.number(by_name["--hitcount"].value) if "--hitcount" in by_name else 1
    if "--set" in by_name:
        return _signed(by_name["--set"], always)
    asked = next((by_name[one] for one in ("--rcheck", "--update", "--remove") if one in by_name), None)
    if asked is None:
        return doubt("recent")

    def match(packet: Packet, _at: At) -> Answer:
        if "--rdest" in by_name or (name in packet.recent and (hits > 1 or "--rttl" in by_name)):
            return f"recent --name {name}"
        return name in packet.recent or (name in packet.added and hits <= 1)

    return _signed(asked, match)


def _physdev(options: Sequence[RuleOption], _sets: IpSets) -> Match:
    """A packet that crosses no bridge passes what is negated; only on its way out is it known where it leaves one."""
    ports = {
        "--physdev-in": lambda packet: packet.physdev_in,
        "--physdev-out": lambda packet: packet.physdev_out,
    }

    def one(option: RuleOption) -> Match:
        match option.name:
            case "--physdev-in" | "--physdev-out" as name:
                return _signed(option, interface(option.value, ports[name]))
            case "--physdev-is-in":
                return _signed(option, lambda packet, _at: bool(packet.physdev_in))
            case "--physdev-is-out" | "--physdev-is-bridged":
                return _signed(option, lambda packet, _at: bool(packet.physdev_out))
        return doubt(f"physdev {option.name}")

    matches, inverse = [one(option) for option in options], all(option.negated for option in options)
    return lambda packet, at: _all(matches, packet, at) if packet.physdev_in or packet.physdev_out else inverse


def _rpfilter(options: Sequence[RuleOption], _sets: IpSets) -> Match:
    given = {option.name for option in options}

    def match(packet: Packet, at: At) -> Answer:
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
            return doubt(f"owner {option.name}") if option.name != "--socket-exists" else _signed(option, always)
        low, high = names.span(option.value, "-")

        def match(packet: Packet, _at: At) -> Answer:
            own = packet.uid if option.name == "--uid-owner" else packet.gid
            return f"owner {option.name}" if own is None else low <= own <= high

        return _signed(option, match)

    matches, inverse = [one(option) for option in options], all(option.negated for option in options)
    return lambda packet, at: inverse if packet.iif else _all(matches, packet, at)


def _connlimit(options: Sequence[RuleOption], _sets: IpSets) -> Match:
    (option,) = (one for one in options if one.name in ("--connlimit-above", "--connlimit-upto"))
    limit = names.number(option.value)
    answer = (limit < 1) == (option.name == "--connlimit-above")
    return _signed(option, lambda _packet, _at: answer)


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
_CONNTRACK = dict.fromkeys(
    (
        "--ctstate", "--ctproto", "--ctorigsrc", "--ctorigdst", "--ctreplsrc", "--ctrepldst", "--ctorigsrcport",
        "--ctorigdstport", "--ctreplsrcport", "--ctrepldstport", "--ctstatus", "--ctexpire", "--ctdir",
    ),
    1,
)  # fmt: skip
_RECENT = {
    "--name": 1, "--set": 0, "--rcheck": 0, "--update": 0, "--remove": 0, "--seconds": 1, "--reap": 0, "--hitcount": 1,
    "--rttl": 0, "--rsource": 0, "--rdest": 0, "--mask": 1,
}  # fmt: skip

SURROUNDINGS: dict[str, tuple[dict[str, int], ModuleBuilder]] = {
    "comment": ({"--comment": 1}, _passes),
    "conntrack": (_CONNTRACK, _conntrack),
    "state": ({"--state": 1}, _conntrack),
    "mark": ({"--mark": 1}, _mark),
    "connmark": ({"--mark": 1}, _connmark),
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
    "owner": ({"--uid-owner": 1, "--gid-owner": 1, "--socket-exists": 0, "--suppl-groups": 0}, _owner),
}
"""Modules with the number of values of their options; all options of a module are one match."""
