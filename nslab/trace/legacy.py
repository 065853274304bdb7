"""The trace of iptables-legacy: what to look for, and its lines as events of nf_tables' trace (pure).

A line names table, chain and the rule's number: `TRACE: nat:KUBE-SERVICES:rule:3 `.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass, field
from nslab.wire import nftables
from nslab.wire.nftables import BaseChain, Event, ListedRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nslab.wire.nflog import Logged

_LINE = re.compile(r"TRACE: (\w+):(.+):(?:rule|return|policy):(\d+) ")
_VERDICT = re.compile(r"(?:^| )-([jg]) (\S+)")
_BASES = {"PREROUTING": 0, "INPUT": 1, "FORWARD": 2, "OUTPUT": 3, "POSTROUTING": 4}
_FIRST = {"PREROUTING": "prerouting", "OUTPUT": "output"}
_PRIORITIES = {"raw": -300, "mangle": -150, "filter": 0, "security": 50}
_ENDS = {
    "ACCEPT": "accept", "DROP": "drop", "REJECT": "drop", "RETURN": "return", "NFQUEUE": "queue", "QUEUE": "queue",
    **dict.fromkeys(("DNAT", "SNAT", "MASQUERADE", "REDIRECT", "NETMAP"), "accept"),
}  # fmt: skip
_HEADER = "0>>22&0x3C@"
"""u32(8 of iptables-extensions): on from the IPv4 header by its length."""
AROUND = ((_HEADER, 0), (f"{_HEADER}{_HEADER}", 0), (f"{_HEADER}30>>22&0x3C@", 30), (f"{_HEADER}8>>22&0x3C@", 8))
"""The way to the transport header, and the bytes before it that are left: of a packet alone, in IP-in-IP, in VXLAN
(behind UDP, VXLAN and Ethernet), and in an ICMP error."""


@dataclass(frozen=True, slots=True)
class SavedChains:
    """What `iptables-legacy-save` says: rules by table and chain, in order, and the policies of base chains."""

    rules: Mapping[tuple[str, str], Sequence[str]]
    policies: Mapping[tuple[str, str], str]
    listed: Sequence[ListedRule]
    """The rules, each with a number of its own."""

    def texts(self) -> dict[tuple[str, int], str]:
        """By table and number: the rule."""
        every = (text for rules in self.rules.values() for text in rules)
        return {(one.table, one.handle): text for one, text in zip(self.listed, every, strict=True)}


def saved(text: str) -> SavedChains:
    """Read `iptables-legacy-save`."""
    rules: dict[tuple[str, str], list[str]] = {}
    policies: dict[tuple[str, str], str] = {}
    table = ""
    for line in text.splitlines():
        words = line.split(" ", 2)
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            rules[table, words[0][1:]] = []
            policies[table, words[0][1:]] = words[1].lower()
        elif words[0] == "-A":
            rules.setdefault((table, words[1]), []).append(words[2] if len(words) > 2 else "")
    places = [place for place, own in rules.items() for _ in own]
    return SavedChains(rules, policies, [ListedRule("ip", *place, handle) for handle, place in enumerate(places, 1)])


def u32(place: int, value: bytes) -> list[str]:
    """Tests for `-m u32`: these bytes at this place from the transport header on, alone, in tunnels, in an error."""
    words = [(at, value[at : at + 4]) for at in range(0, len(value) - 3, 4)]
    return [
        "&&".join(f"{before}{skipped + place + at}=0x{struct.unpack('>I', word)[0]:x}" for at, word in words)
        for before, skipped in AROUND
    ]


def base_chains(chains: SavedChains) -> list[BaseChain]:
    """The chains that hooks call."""
    return [
        BaseChain("ip", table, name, _BASES[name], _priority(table, name))
        for table, name in chains.policies
        if name in _BASES
    ]


def _priority(table: str, name: str) -> int:
    if table == "nat":
        return -100 if name in _FIRST else 100
    return _PRIORITIES.get(table, 0)


@dataclass(slots=True)
class _Reader:
    """Numbers the packets: a line of raw after one of another table is the next packet's."""

    own: str
    chains: SavedChains
    handles: Mapping[tuple[str, str, int], int]
    identity: int = 0
    base: tuple[str, str] = ("", "")
    over: bool = True
    made: list[Event] = field(default_factory=list)

    def read(self, one: Logged, mark: int) -> None:
        if not (line := _LINE.match(one.prefix)):
            return
        table, chain, number = line[1], line[2], int(line[3])
        begins = chain in _BASES and (table, chain) != self.base
        if table == "raw" and chain in _FIRST and (begins or self.over):
            self.identity += 1
            begins = True
            self.made.append(self._event(nftables.RULE, self.own, _FIRST[chain], mark, "continue", "", one, one.packet))
        if begins:
            self.base = table, chain
        rules = self.chains.rules.get((table, chain), ())
        packet = one.packet if begins else b""
        # The kernel calls the last rule of a chain so, too, if it matches everything.
        if number > len(rules):
            what = nftables.POLICY if chain in _BASES else nftables.RETURN
            verdict = self.chains.policies.get((table, chain), "") if chain in _BASES else "return"
            self.made.append(self._event(what, table, chain, 0, verdict, "", one, packet))
        else:
            verdict, target = _verdict(rules[number - 1], {name for of, name in self.chains.rules if of == table})
            handle = self.handles[table, chain, number]
            self.made.append(self._event(nftables.RULE, table, chain, handle, verdict, target, one, packet))
        self.over = self.made[-1].verdict in ("accept", "drop")

    def _event(
        self, kind: int, table: str, chain: str, handle: int, verdict: str, target: str, one: Logged, packet: bytes
    ) -> Event:
        return Event(
            kind, "ip", table, chain, handle, verdict, target, packet, b"", one.iif, one.oif, one.mark, self.identity
        )


def events(lines: Iterable[tuple[Logged, int]], chains: SavedChains, own: str) -> list[Event]:
    """The events. With each line comes the number of the sign by which its packet is known.

    A packet begins with an event of `own`, the table that nf_tables' trace has for its signs.
    """
    handles = dict(zip(_places(chains), (one.handle for one in chains.listed), strict=True))
    reader = _Reader(own, chains, handles)
    for one, mark in lines:
        reader.read(one, mark)
    return reader.made


def _places(chains: SavedChains) -> Iterator[tuple[str, str, int]]:
    for (table, chain), rules in chains.rules.items():
        for number in range(1, len(rules) + 1):
            yield table, chain, number


def _verdict(rule: str, chains: set[str]) -> tuple[str, str]:
    """A rule's verdict, and the chain to which it goes."""
    found = _VERDICT.search(rule)
    if found and found[2] in chains:
        return "goto" if found[1] == "g" else "jump", found[2]
    return _ENDS.get(found[2], "continue") if found else "continue", ""
