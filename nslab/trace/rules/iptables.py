"""Chains of iptables, whose rules are read when a packet first meets them (pure)."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from fractions import Fraction
from typing import TYPE_CHECKING, Final

from nslab.dataclass import replace
from nslab.trace.rules.headers import HEADERS, OF_FIRST_FRAGMENT
from nslab.trace.rules.nat import unknown
from nslab.trace.rules.parts import parts
from nslab.trace.rules.surroundings import SURROUNDINGS
from nslab.trace.rules.targets import TARGETS
from nslab.trace.rules.turn import ONE, Move, Turn, doubt, negated, weighed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nslab.ruletext.saved import DumpedChain
    from nslab.trace.rules.ipsets import IpSets
    from nslab.trace.rules.packet import HookPacket
    from nslab.trace.rules.parts import Parts, RuleOption
    from nslab.trace.rules.targets import Target
    from nslab.trace.rules.turn import Answer, At, Match

INDEXED: Final = 16
"""The number of rules from which on a chain has an index by destination: kube-proxy's KUBE-SERVICES has thousands."""

_MATCHES: Final = {module: {name: count for name, (count, _) in own.items()} for module, own in HEADERS.items()} | {
    module: own for module, (own, _) in SURROUNDINGS.items()
}
_TARGETS: Final = {name: own for name, (own, _) in TARGETS.items()}
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_ADDRESS: Final = re.compile(r"(?:^|(?<!!) )-d ((?:[1-9]?\d|[12]\d\d)(?:\.(?:[1-9]?\d|[12]\d\d)){3})(?:/32)?(?: |$)")
_PORT: Final = re.compile(r"(?:^|(?<!!) )--dport ([1-9]\d*)(?: |$)")


class IptablesTable:
    """A table, whose chains are made when the walk comes to them."""

    def __init__(self, label: str, dumped: Mapping[str, DumpedChain], sets: IpSets) -> None:
        self.label, self.sets, self._dumped = label, sets, dumped
        self._chains: dict[str, IptablesChain] = {}

    def chain(self, name: str) -> IptablesChain | None:
        """A chain, or None."""
        if name not in self._chains and name in self._dumped:
            self._chains[name] = IptablesChain(self, self._dumped[name])
        return self._chains.get(name)

    def jumps_to(self, name: str) -> bool:
        """Whether it is a chain to which rules may jump."""
        return name in self._dumped and not self._dumped[name].policy


class IptablesChain:
    """A chain as the walk sees it."""

    def __init__(self, table: IptablesTable, dumped: DumpedChain) -> None:
        self.table, self.name, self.policy = table.label, dumped.name, dumped.policy
        self._table, self._texts = table, dumped.rules
        self._rules: dict[int, IptablesRule] = {}
        self._index: _Index | None = None

    def after(self, position: int, packet: HookPacket) -> int:
        """The first position, from this on, of a rule that may match; -1 if there is none."""
        if len(self._texts) < INDEXED:
            return position if position < len(self._texts) else -1
        if self._index is None:
            self._index = _Index(self._texts)
        return self._index.after(position, packet)

    def rule(self, position: int) -> IptablesRule:
        """The rule at a position, counted from 0."""
        found = self._rules.get(position)
        if found is None:
            found = self._rules[position] = IptablesRule(position + 1, self._texts[position], self._table)
        return found

    def other(self, name: str) -> IptablesChain | None:
        """A chain of the same table, or None."""
        return self._table.chain(name)


class _Index:
    """The positions of a chain's rules by the destination or else the port that they ask for; those of all others."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._addresses: dict[str, list[int]] = defaultdict(list)
        self._ports: dict[str, list[int]] = defaultdict(list)
        self._others: list[int] = []
        for position, text in enumerate(texts):
            plain = _QUOTED.sub("", text) if '"' in text else text
            if found := _ADDRESS.search(plain):
                self._addresses[found[1]].append(position)
            elif found := _PORT.search(plain):
                self._ports[found[1]].append(position)
            else:
                self._others.append(position)

    def after(self, position: int, packet: HookPacket) -> int:
        """The first position, from this on, of a rule that may match; -1 if there is none."""
        found = (
            self._addresses.get(str(packet.destination)),
            self._ports.get(str(packet.destination_port)),
            self._others,
        )
        return min((place for own in found if own and (place := _first(own, position)) >= 0), default=-1)


def _first(positions: Sequence[int], start: int) -> int:
    place = bisect_left(positions, start)
    return positions[place] if place < len(positions) else -1


class IptablesRule:
    """A rule as the walk sees it. What it does not understand of its text is a doubt."""

    def __init__(self, number: int, text: str, table: IptablesTable) -> None:
        self.number, self.text = number, text
        try:
            own = parts(text, _MATCHES, _TARGETS)
        except ValueError as error:
            self.comment, self._adds = "", frozenset[str]()
            self._matches: list[Match] = [doubt(f"the rule {text[:60]!a} ({error})")]
            self._target: Target = lambda packet, _at: unknown(packet, f"the rule {text[:60]!a}")
            return
        self.comment = own.comment
        self._matches = [*_matches(own, table.sets)]
        self._target = _target(own, table)
        self._adds = frozenset(_adds(own))

    def turns(self, packet: HookPacket, at: At) -> Sequence[Turn]:
        """All ways on; none if the rule does not match."""
        chance, doubts = ONE, None
        for match in self._matches:
            answer = match(packet, at)
            if answer is False:
                return ()
            if answer is True:
                continue
            if isinstance(answer, Fraction):
                chance *= answer
            else:
                doubts = (*(doubts or ()), str(answer))
        matched = self._target(replace(packet, added=packet.added | self._adds) if self._adds else packet, at)
        return matched if chance is ONE and not doubts else weighed(matched, packet, chance, doubts or ())


def _matches(own: Parts, sets: IpSets) -> Iterator[Match]:
    for module, options in own.modules:
        if module in HEADERS:
            if module in OF_FIRST_FRAGMENT:
                yield _first_fragment
            yield from (_of_header(module, option) for option in options)
        elif module in SURROUNDINGS:
            known, build = SURROUNDINGS[module]
            strange = [option.name for option in options if option.name not in known]
            try:
                yield doubt(f"{module} {strange[0]}") if strange else build(options, sets)
            except (ValueError, LookupError):
                yield doubt(f"{module} {_shown(options)}")
        else:
            yield doubt(module[:60] if module.isprintable() else ascii(module[:60]))


def _first_fragment(packet: HookPacket, _at: At) -> Answer:
    return not packet.fragment


def _of_header(module: str, option: RuleOption) -> Match:
    own = HEADERS[module].get(option.name)
    if own is None:
        return doubt(f"{module} {option.name}".lstrip())
    try:
        match = own[1](*option.values)
    except (ValueError, LookupError):
        return doubt(f"{module} {_shown([option])}".lstrip())
    return negated(match) if option.negated else match


def _shown(options: Sequence[RuleOption]) -> str:
    return " ".join(f"{option.name} {' '.join(option.values)}" for option in options)[:60]


def _adds(own: Parts) -> Iterator[str]:
    """The lists of `recent` to which the rule adds the packet's source."""
    for module, options in own.modules:
        if module == "recent" and any(option.name == "--set" for option in options):
            yield next((option.value for option in options if option.name == "--name"), "DEFAULT")


def _target(own: Parts, table: IptablesTable) -> Target:
    name = own.target
    if not name:
        return lambda packet, _at: [Turn(packet, Move.CONTINUE, "counted")]
    if table.jumps_to(name):
        action, result = (Move.GOTO, f"goto {name}") if own.goto else (Move.JUMP, f"jump {name}")
        return lambda packet, _at: [Turn(packet, action, result, to=name)]
    if name in TARGETS and not own.goto:
        given = {option.name: option.value for option in own.options}
        try:
            return TARGETS[name][1](given)
        except (ValueError, LookupError):
            return lambda packet, _at: _either(packet, f"{name} {_shown(own.options)}")
    return lambda packet, _at: _either(packet, f"target {name[:60]}")


def _either(packet: HookPacket, name: str) -> Sequence[Turn]:
    """A target that nobody knows ends the packet's walk, or does not."""
    return [*unknown(packet, name), Turn(packet, Move.CONTINUE, "not known", chance=None, doubts=(name,))]
