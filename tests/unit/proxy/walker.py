"""A packet's way through what `iptables-save` says: every outcome with its probability.

It knows netfilter's hooks and the matches and targets that kube-proxies use, and raises on any other. It knows nothing
of who wrote the rules. The packet is the first of its connection, so the state of that is NEW; DNAT, once it was
translated. No interface is a port of a bridge. A packet that nobody judged ends as `policy`, so that it is not mistaken
for one that was accepted.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from fractions import Fraction
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

POLICY = "policy"
_FLAGS = {"--rcheck", "--set", "--reap", "--rsource", "--random-fully", "--physdev-is-in"}
_IGNORED = {
    "-m",
    "--comment",
    "--seconds",
    "--reap",
    "--mask",
    "--rsource",
    "--mode",
    "--random-fully",
    "--reject-with",
}


@dataclass(frozen=True)
class Packet:
    """`interface` is "" for one that the node itself sends. `seen`: lists of `recent` that have its source."""

    src: str
    dst: str
    protocol: str
    port: int
    interface: str = "eth0"
    mark: int = 0
    target: str = ""
    masqueraded: bool = False
    seen: frozenset[str] = frozenset()


class Outcome(NamedTuple):
    """Where it was sent on to ("": where it wanted to go), under which name, and whether it was let through."""

    target: str
    masqueraded: bool
    verdict: str


class Rule(NamedTuple):
    """Option, value and whether it is negated; the target is among them."""

    options: tuple[tuple[str, str, bool], ...]

    def value(self, option: str) -> str:
        """An option's value, "" without it."""
        return next((value for name, value, _ in self.options if name == option), "")


class Ruleset:
    """What `iptables-save` printed, on a node that has these addresses (and 127.0.0.0/8)."""

    def __init__(self, saved: str, addresses: frozenset[str]) -> None:
        self._addresses = addresses
        self._chains: dict[tuple[str, str], list[Rule]] = {}
        table = ""
        for line in saved.splitlines():
            if line.startswith("*"):
                table = line[1:]
            elif line.startswith(":"):
                self._chains.setdefault((table, line[1:].split()[0]), [])
            elif line.startswith("-A "):
                chain, *words = shlex.split(line)[1:]
                self._chains.setdefault((table, chain), []).append(_rule(words))
            else:
                assert line in ("", "COMMIT") or line.startswith("#"), line

    def outcomes(self, packet: Packet) -> dict[Outcome, Fraction]:
        """What can become of a packet; the probabilities add up to one."""
        found: dict[Outcome, Fraction] = {}
        for chance, end, verdict in self._way(packet):
            # An icmp-port-unreachable or nothing at all: then it does not matter what it was turned into.
            refused = verdict in ("DROP", "REJECT")
            outcome = Outcome("", False, verdict) if refused else Outcome(end.target, end.masqueraded, verdict)
            found[outcome] = found.get(outcome, Fraction(0)) + chance
        assert sum(found.values()) == 1
        return found

    def _way(self, packet: Packet) -> Iterator[tuple[Fraction, Packet, str]]:
        """The hooks in their order. NAT decides before filter, and filter before the source is translated."""
        for chance, arrived, _ in self._chain("nat", "PREROUTING" if packet.interface else "OUTPUT", packet):
            to_node = self._is_local(arrived.dst)
            hooks = ["INPUT" if to_node else "FORWARD"] if packet.interface else ["OUTPUT", *["INPUT"] * to_node]
            leaves = not (packet.interface and to_node)
            for part, passed, verdict in self._filtered(hooks, arrived):
                if leaves and verdict not in ("DROP", "REJECT"):
                    for last, sent, _ in self._chain("nat", "POSTROUTING", passed):
                        yield chance * part * last, sent, verdict
                else:
                    yield chance * part, passed, verdict

    def _filtered(self, hooks: list[str], packet: Packet) -> Iterator[tuple[Fraction, Packet, str]]:
        first, *others = hooks
        for chance, passed, verdict in self._chain("filter", first, packet):
            if others and verdict not in ("DROP", "REJECT"):
                yield from ((chance * part, *rest) for part, *rest in self._filtered(others, passed))
            else:
                yield chance, passed, verdict or POLICY

    def _chain(self, table: str, name: str, packet: Packet) -> Iterator[tuple[Fraction, Packet, str]]:
        yield from self._rules(table, self._chains.get((table, name), []), 0, packet)

    def _rules(
        self, table: str, rules: list[Rule], start: int, packet: Packet
    ) -> Iterator[tuple[Fraction, Packet, str]]:
        """From rule `start` on; verdict "" if the packet comes back to where it jumped from."""
        for place, rule in enumerate(rules[start:], start):
            chance = self._chance(rule, packet)
            if chance == 0:
                continue
            if chance < 1:
                yield from (
                    ((1 - chance) * part, *rest) for part, *rest in self._rules(table, rules, place + 1, packet)
                )
            for part, changed, verdict in self._target(table, rule, packet):
                if verdict == "continue":
                    after = self._rules(table, rules, place + 1, changed)
                    yield from ((chance * part * more, *rest) for more, *rest in after)
                else:
                    yield chance * part, changed, "" if verdict == "RETURN" else verdict
            return
        yield Fraction(1), packet, ""

    def _target(self, table: str, rule: Rule, packet: Packet) -> Iterator[tuple[Fraction, Packet, str]]:
        one = Fraction(1)
        match rule.value("-j"):
            case "":
                yield one, packet, "continue"
            case "ACCEPT" | "DROP" | "REJECT" | "RETURN" as verdict:
                yield one, packet, verdict
            case "MARK":
                value, _, mask = rule.value("--set-xmark").partition("/")
                # What the mask covers is cleared; then the value is put in with exclusive or.
                yield one, replace(packet, mark=packet.mark & ~int(mask, 0) ^ int(value, 0)), "continue"
            case "DNAT":
                target = rule.value("--to-destination")
                ip, _, port = target.partition(":")
                yield one, replace(packet, dst=ip, port=int(port), target=target), "ACCEPT"
            case "MASQUERADE":
                yield one, replace(packet, masqueraded=True), "ACCEPT"
            case chain:
                assert (table, chain) in self._chains, f"no chain {chain} in {table}"
                for chance, changed, verdict in self._chain(table, chain, packet):
                    yield chance, changed, verdict or "continue"

    def _chance(self, rule: Rule, packet: Packet) -> Fraction:
        """How likely the rule matches; all its matches are sure but `statistic`."""
        chance = Fraction(1)
        for option, value, negated in rule.options:
            if option == "--probability":
                assert not negated
                chance = Fraction(value).limit_denominator(1000)  # the kernel has 1/3 as 0.33333333349
            elif self._matches(rule, option, value, packet) == negated:
                return Fraction(0)
        return chance

    def _matches(self, rule: Rule, option: str, value: str, packet: Packet) -> bool:
        match option:
            case "-s" | "-d":
                return ip_address(packet.src if option == "-s" else packet.dst) in ip_network(value)
            case "-p":
                return packet.protocol == value
            case "--dport":
                return packet.port == int(value)
            case "--src-type" | "--dst-type":
                assert value == "LOCAL"
                return self._is_local(packet.src if option == "--src-type" else packet.dst)
            case "--ctstate":
                states = {"NEW", "DNAT"} if packet.target else {"NEW"}
                return not states.isdisjoint(value.split(","))
            case "--mark":
                wanted, mask = (int(word, 0) for word in value.split("/"))
                return packet.mark & mask == wanted
            case "--rcheck":
                return rule.value("--name") in packet.seen
            case "--physdev-is-in":
                return False
        return True  # a target's option, or one of _IGNORED: see _rule

    def _is_local(self, ip: str) -> bool:
        return ip in self._addresses or ip.startswith("127.")


_KNOWN = _IGNORED | {
    "-s", "-d", "-p", "-j", "--dport", "--src-type", "--dst-type", "--ctstate", "--mark", "--rcheck", "--set", "--name",
    "--probability", "--set-xmark", "--to-destination", "--physdev-is-in",
}  # fmt: skip


def _rule(words: list[str]) -> Rule:
    options, negated, rest = [], False, iter(words)
    for word in rest:
        if word == "!":
            negated = True
            continue
        assert word in _KNOWN, f"{word} is not understood: {' '.join(words)}"
        options.append((word, "" if word in _FLAGS else next(rest), negated))
        negated = False
    return Rule(tuple(options))
