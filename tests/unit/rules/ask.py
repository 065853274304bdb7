"""What tests of the evaluator share: packets, a node, one rule asked alone, and a packet's whole way."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, NamedTuple

from nslab.dataclass import replace
from nslab.trace.rules.evaluate import evaluate
from nslab.trace.rules.packet import Addresses, HookOutcome, HookPacket, Verdict
from nslab.trace.rules.ruleset import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.trace.rules.ruleset import NodeRules

NODE = Addresses(
    {IPv4Address("192.0.2.1"): "eth0", IPv4Address("10.0.1.1"): "cbr0"},
    {IPv4Address("192.0.2.255"): "eth0"},
    lambda address, mark: ("cbr0",) if str(address).startswith("10.0.1.") else ("eth0",) if mark != 7 else (),
)
"""A node with two interfaces; it has no route for packets with mark 7, but to its own pods."""
CLIENT = {"source": "198.51.100.7", "destination": "10.0.1.2", "source_port": 40000, "destination_port": 80}


def packet(**changes: Any) -> HookPacket:
    """A TCP packet from a client, which came by eth0 and leaves by cbr0, with changes."""
    fields = {**CLIENT, "iif": "eth0", "oif": "cbr0", **changes}
    fields |= {name: IPv4Address(fields[name]) for name in ("source", "destination")}
    return HookPacket(**fields)


class Found(NamedTuple):
    """What became of a packet, without the way."""

    verdict: Verdict
    destination: str
    masqueraded: bool


def one_rule(
    rule: str, asked: HookPacket, table: str = "filter", hook: str = "FORWARD", sets: str = ""
) -> HookOutcome | None:
    """The outcome in which a rule alone in its chain matched; None if it did not."""
    ruleset = read(f"*{table}\n-A {hook} {rule}\nCOMMIT\n", sets)
    return next((one for one in evaluate(ruleset, asked, hook, NODE) if any(step.number for step in one.steps)), None)


def answer(rule: str, asked: HookPacket, sets: str = "", hook: str = "FORWARD") -> bool | str | Fraction:
    """Whether a rule with these matches drops a packet: yes, no, what it does not know, or with what chance."""
    table = "mangle" if hook == "PREROUTING" else "filter"
    outcomes = evaluate(read(f"*{table}\n-A {hook} {rule} -j DROP\nCOMMIT\n", sets), asked, hook, NODE)
    if outcomes[0].doubts:
        assert [one.verdict for one in outcomes] == [Verdict.DROP, Verdict.ACCEPT]
        assert [one.chance for one in outcomes] == [None, None]
        (name,) = outcomes[0].doubts
        return name
    dropped = sum((one.chance for one in outcomes if one.verdict is Verdict.DROP and one.chance), Fraction(0))
    return dropped == 1 if dropped in (0, 1) else dropped


@dataclass(frozen=True)
class Way:
    """A packet's way through a node, whose addresses are `local`: the hooks in their order, and routing by address."""

    ruleset: NodeRules
    local: Addresses

    def outcomes(self, sent: HookPacket) -> dict[Found, Fraction]:
        """What can become of it; nothing of it may be unknown."""
        found: dict[Found, Fraction] = {}
        for chance, end in self._from("PREROUTING" if sent.iif else "OUTPUT", sent):
            assert not end.doubts, end
            key = Found(end.verdict, f"{end.packet.destination}:{end.packet.destination_port}", end.packet.masquerade)
            found[key] = found.get(key, Fraction(0)) + chance
        return found

    def _from(self, hook: str, sent: HookPacket) -> Iterator[tuple[Fraction, HookOutcome]]:
        for end in evaluate(self.ruleset, sent, hook, self.local):
            assert end.chance is not None, end
            after = self._next(hook, end)
            if end.verdict is Verdict.ACCEPT and after:
                out = "lo" if after == "OUTPUT" else "" if after == "INPUT" else "eth1"
                on = end.packet if after == "INPUT" else replace(end.packet, oif=out)
                yield from ((end.chance * part, last) for part, last in self._from(after, on))
            else:
                yield end.chance, end

    def _next(self, hook: str, end: HookOutcome) -> str:
        local = self.local.kind(end.packet.destination) == "LOCAL"
        if hook == "PREROUTING":
            return "INPUT" if local else "FORWARD"
        if hook == "OUTPUT":
            return "POSTROUTING"
        return "POSTROUTING" if hook == "FORWARD" else "INPUT" if hook == "POSTROUTING" and local else ""
