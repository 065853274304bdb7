"""What one host of a prediction does to a packet: its routes, its rules, its conntrack (pure)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from nslab.dataclass import replace as changed
from nslab.ruletext.comments import without_comment
from nslab.trace import commands
from nslab.trace.branch import Branch, ended, header_of, times
from nslab.trace.hops import BY_CONNTRACK, TOLD, Action, End, Hop
from nslab.trace.observed import RouteQuestion
from nslab.trace.rules.evaluate import evaluate
from nslab.trace.rules.packet import Verdict
from nslab.trace.steps import chain_of, table_of, translating
from nslab.trace.translations import where_changed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Address

    from nslab.trace.ipvs import VirtualServers
    from nslab.trace.observed import Match, RouteTaken
    from nslab.trace.rules.packet import Addresses, HookOutcome, HookPacket
    from nslab.trace.rules.ruleset import NodeRules

_ENDS = {Verdict.DROP: (Action.DROP, End.DROPPED), Verdict.REJECT: (Action.REJECT, End.REJECTED)}


class PredictedHosts(ABC):
    """The hosts on the way of a packet. What each of them has, a subclass knows; `lab`: "" for hosts of no lab."""

    lab = ""

    @abstractmethod
    def name(self, ns: str) -> str:
        """A host's name."""

    @abstractmethod
    def source(self, ns: str, target: IPv4Address) -> IPv4Address:
        """The address that the kernel chooses for a packet of the host itself."""

    @abstractmethod
    def ways(self, branch: Branch, iif: str = "", /) -> Iterable[tuple[Branch, RouteTaken]]:
        """The routes that the host may choose, each with the packet that takes it; one with `error` if it has none."""

    @abstractmethod
    def rules(self, ns: str) -> tuple[NodeRules, Addresses]:
        """Its rules, and what they ask of its addresses."""

    @abstractmethod
    def mtu(self, ns: str, dev: str) -> int:
        """The MTU of an interface, 0 if it has none."""

    @abstractmethod
    def forwards(self, ns: str, iif: str, /) -> bool:
        """Whether it forwards what comes in there."""

    @abstractmethod
    def wrote(self, ns: str, way: RouteTaken, /) -> str:
        """Who wrote a route."""

    @abstractmethod
    def wrote_rule(self, ns: str, match: Match, /) -> str:
        """Who wrote a rule."""

    def refuses(self, _branch: Branch, _iif: str, /) -> str:
        """Why routing does not take what comes in there; "" if it does."""
        return ""

    def virtual_servers(self, _ns: str, /) -> VirtualServers:
        """Those of its IPVS."""
        return {}

    def deaf(self, _branch: Branch, /) -> str:
        """Why a packet that the host receives is refused; "" if something listens, or if nobody knows."""
        return ""

    def command(self, ns: str, text: str) -> str:
        """A command for a person, on the host."""
        return commands.in_lab(self.lab, self.name(ns), text)

    def through(self, branch: Branch, hook: str, iif: str = "", oif: str = "") -> Iterator[Branch]:
        """What the chains of a hook make of the packet."""
        rules, addresses = self.rules(branch.ns)
        before = changed(branch.packet, iif=iif, oif=oif)
        for outcome in evaluate(rules, before, hook, addresses):
            after = outcome.packet
            if after.masquerade:
                # An interface without an address borrows the first of the host's (inet_select_addr in devinet.c).
                own = addresses.on(oif) or next((one for one in addresses.local if not one.is_loopback), None)
                after = changed(after, source=own or after.source, source_port=0, masquerade=False)
            chance = times(branch.chance, outcome.chance)
            on = changed(branch, packet=after, chance=chance, doubts=(*branch.doubts, *outcome.doubts))
            yield self._verdict(on, before, outcome)

    def _verdict(self, branch: Branch, before: HookPacket, outcome: HookOutcome) -> Branch:
        if outcome.verdict in _ENDS:
            return self._stopped(branch, before, outcome)
        if outcome.verdict is Verdict.UNKNOWN:
            return ended(branch, End.UNKNOWN, f"{self.name(branch.ns)} has {', '.join(outcome.doubts)}")
        after = branch.packet
        # MASQUERADE keeps a host's own address; it then shows by another port, which only a random one is for sure.
        renumbered = outcome.packet.masquerade and bool(outcome.packet.source_ports)
        for action, same in (
            (Action.DNAT, (before.destination, before.destination_port) == (after.destination, after.destination_port)),
            (Action.SNAT, before.source == after.source and not renumbered),
        ):
            if not same:
                nat, cause = chain_of(outcome.steps, translating(outcome.steps))
                dev = where_changed(action, before.iif, before.oif)
                branch = self.hop(branch, action, dev=dev, before=before, matches=nat, cause=cause)
        return changed(branch, masqueraded=branch.masqueraded or renumbered)

    def _stopped(self, branch: Branch, before: HookPacket, outcome: HookOutcome) -> Branch:
        action, end = _ENDS[outcome.verdict]
        last = outcome.steps[-1]
        matches, cause = chain_of(outcome.steps, len(outcome.steps) - 1)
        if not last.number:
            cause = f"policy DROP of chain {last.chain} (table {table_of(last)})"
        branch = self.hop(branch, action, dev=before.iif or before.oif, matches=matches, cause=cause)
        verb = "rejects" if action is Action.REJECT else "drops"
        what = "the reply" if branch.packet.reply else "it"
        return ended(branch, end, f"{self.name(branch.ns)} {verb} {what} by {cause}: {without_comment(last.rule)}")

    def restored(self, branch: Branch, hook: str, dev: str = "") -> Branch:
        """What conntrack undoes of a reply at a hook: SNAT before the route is chosen, DNAT on the way out."""
        nat, packet = branch.nat.get(branch.ns), branch.packet
        if not nat or not packet.reply:
            return branch
        before = packet
        if hook in ("PREROUTING", "OUTPUT") and packet.destination == nat.went.source:
            packet = changed(packet, destination=nat.came.source, destination_port=nat.came.source_port)
            action = Action.REVERSE_SNAT
        elif hook in ("POSTROUTING", "INPUT") and packet.source == nat.went.destination:
            packet = changed(packet, source=nat.came.destination, source_port=nat.came.destination_port)
            action = Action.REVERSE_DNAT
        else:
            return branch
        branch = changed(branch, packet=packet)
        if packet.flow == before.flow and not (action is Action.REVERSE_SNAT and nat.masqueraded):
            return branch
        command = commands.connections(self.lab, self.name(branch.ns), nat.came.source)
        return self.hop(branch, action, dev=dev, before=before, cause=BY_CONNTRACK, by="kernel", command=command)

    def hop(
        self, branch: Branch, action: Action, *, dev: str = "", way: RouteTaken | None = None, iif: str = "",
        before: HookPacket | None = None, matches: tuple[Match, ...] = (), cause: str = "", by: str = "",
        command: str = "",
    ) -> Branch:  # fmt: skip
        """The branch with one hop more. `way`: the route; `matches`: the rules; else `cause` and `command` say why."""
        name, packet = self.name(branch.ns), branch.packet
        question = RouteQuestion(name, header_of(packet), iif, packet.mark)
        if way:
            cause, by = f"route {way}", self.wrote(branch.ns, way)
            command = commands.route(self.lab, question)
        elif matches:
            by = self.wrote_rule(branch.ns, matches[-1])
            command = commands.chain(self.lab, name, matches[-1].table, matches[-1].chain)
        hop = Hop(
            name, action, header_of(branch.inner or packet), (branch.inner or packet).reply, dev,
            before=header_of(before) if before else None, outer=header_of(packet) if branch.inner else None,
            cause=cause, by=by, matches=matches, mark=packet.mark,
            mtu=self.mtu(branch.ns, dev), command=command,
        )  # fmt: skip
        return changed(branch, hops=(*branch.hops, hop))

    def lost(self, branch: Branch, dev: str, why: str, *, told: bool = False) -> Branch:
        """The branch, where the host passes it no further. `told`: it tells the sender, as of each cause in `TOLD`."""
        question = RouteQuestion(self.name(branch.ns), header_of(branch.packet), dev)
        branch = self.hop(branch, Action.LOST, dev=dev, cause=why, command=commands.route(self.lab, question))
        what = "the reply" if branch.packet.reply else "it"
        # Of a missing route, the kernel tells the sender; of a blackhole, and where it does not forward, nobody.
        end = End.UNREACHABLE if told or why in TOLD else End.LOST
        return ended(branch, end, f"{self.name(branch.ns)} does not pass {what} on: {why}")
