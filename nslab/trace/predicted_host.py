"""What one host of a prediction does to a packet: its routes, its rules, its conntrack (pure)."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from nslab.dataclass import replace as changed
from nslab.objects.inet import Address, Blackhole, Route
from nslab.objects.names import host
from nslab.ruletext.comments import without_comment
from nslab.trace import commands
from nslab.trace.branch import LO, Branch, ended, header_of, times
from nslab.trace.hops import BLACKHOLE, BY_CONNTRACK, NO_ROUTE, Action, End, Hop
from nslab.trace.observed import Match, RouteQuestion, RouteTaken
from nslab.trace.rules.evaluate import evaluate
from nslab.trace.rules.from_state import node_addresses, node_rules
from nslab.trace.rules.packet import Packet, Verdict
from nslab.trace.translations import path, where_changed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address

    from nslab.trace.authors import Authors
    from nslab.trace.rules.packet import Addresses, Outcome, Step
    from nslab.trace.rules.ruleset import Ruleset
    from nslab.trace.topology import Topology

_ENDS = {Verdict.DROP: (Action.DROP, End.DROPPED), Verdict.REJECT: (Action.REJECT, End.REJECTED)}


class PredictedHosts:
    """The hosts of one lab; reads each host's rules once."""

    def __init__(self, lab: str, net: Topology, authors: Authors) -> None:
        self._lab, self._net, self._authors = lab, net, authors
        self._rules: dict[str, tuple[Ruleset, Addresses]] = {}

    def source(self, ns: str, target: IPv4Address) -> IPv4Address:
        """The address that the kernel chooses for a packet of the host itself."""
        if self.is_local(ns, target):
            return target
        hop = self._net.lookup(ns, target)
        own = self._net.addresses[ns]
        if isinstance(hop, Route | Address):
            via = hop.via if isinstance(hop, Route) and hop.via else target
            on = [one for one in own if one.dev == hop.dev]
            best = [one for one in on if via in one.address.network] or on
            if best:
                return best[0].address.ip
        return next((one.address.ip for one in own if not one.address.ip.is_loopback), target)

    def is_local(self, ns: str, address: IPv4Address) -> bool:
        """Whether it is an address of the host itself."""
        return address.is_loopback or self._net.owner(ns, address) is not None

    def way(self, ns: str, to: IPv4Address) -> RouteTaken | None:
        """How a host sends a packet to an address; None if it cannot."""
        if self.is_local(ns, to):
            return RouteTaken("local", IPv4Network(to), dev=LO, protocol="kernel")
        match self._net.lookup(ns, to):
            case Address(address=own, dev=dev):
                return RouteTaken("unicast", own.network, dev=dev, protocol="kernel")
            case Route() as route:
                return RouteTaken("unicast", route.to, route.via, route.dev, route.protocol, onlink=route.onlink)
            case _:
                return None

    def through(self, branch: Branch, hook: str, iif: str = "", oif: str = "") -> Iterator[Branch]:
        """What the chains of a hook make of the packet."""
        rules, addresses = self._of(branch.ns)
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

    def _verdict(self, branch: Branch, before: Packet, outcome: Outcome) -> Branch:
        matches = tuple(_match(step) for step in outcome.steps if step.number)
        if outcome.verdict in _ENDS:
            action, end = _ENDS[outcome.verdict]
            last = outcome.steps[-1]
            cause = (
                path(_table(last), _first(outcome, _table(last)), [one for one in matches if one.table == _table(last)])
                if last.number
                else f"policy DROP of chain {last.chain} (table {last.table})"
            )
            branch = self.hop(branch, action, dev=before.iif or before.oif, matches=matches, cause=cause)
            verb = "rejects" if action is Action.REJECT else "drops"
            what = "the reply" if branch.packet.reply else "it"
            return ended(branch, end, f"{host(branch.ns)} {verb} {what} by {cause}: {without_comment(last.rule)}")
        if outcome.verdict is Verdict.UNKNOWN:
            return ended(branch, End.LOST, f"not understood: {', '.join(outcome.doubts)}")
        after = branch.packet
        for action, same in (
            (Action.DNAT, (before.destination, before.destination_port) == (after.destination, after.destination_port)),
            (Action.SNAT, before.source == after.source and not outcome.packet.masquerade),
        ):
            if not same:
                nat = tuple(match for match in matches if match.table == matches[-1].table)
                table = nat[-1].table
                cause = path(table, _first(outcome, table), nat)
                branch = self.hop(
                    branch,
                    action,
                    dev=where_changed(action, before.iif, before.oif),
                    before=before,
                    matches=nat,
                    cause=cause,
                )
        return changed(branch, masqueraded=branch.masqueraded or outcome.packet.masquerade)

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
        command = commands.connections(self._lab, host(branch.ns), nat.came.source)
        return self.hop(branch, action, dev=dev, before=before, cause=BY_CONNTRACK, by="kernel", command=command)

    def hop(
        self, branch: Branch, action: Action, *, dev: str = "", way: RouteTaken | None = None, iif: str = "",
        before: Packet | None = None, matches: tuple[Match, ...] = (), cause: str = "", by: str = "", command: str = "",
    ) -> Branch:  # fmt: skip
        """The branch with one hop more. `way`: the route; `matches`: the rules; else `cause` and `command` say why."""
        name, packet = host(branch.ns), branch.packet
        question = RouteQuestion(name, header_of(packet), iif, packet.mark)
        if way:
            cause, by = f"route {way}", self._authors.of_route(name, way)
            command = commands.route(self._lab, question)
        elif matches:
            by = self._authors.of_rule(name, matches[-1])
            command = commands.chain(self._lab, name, matches[-1].table, matches[-1].chain)
        hop = Hop(
            name, action, header_of(branch.inner or packet), (branch.inner or packet).reply, dev,
            before=header_of(before) if before else None, outer=header_of(packet) if branch.inner else None,
            cause=cause, by=by, matches=matches, mark=packet.mark,
            mtu=self.mtu(branch.ns, dev), command=command,
        )  # fmt: skip
        return changed(branch, hops=(*branch.hops, hop))

    def lost(self, branch: Branch, dev: str, why: str = "") -> Branch:
        """The branch, where the host passes it no further."""
        route = self._net.lookup(branch.ns, branch.packet.destination)
        why = why or (BLACKHOLE if isinstance(route, Blackhole) else NO_ROUTE)
        question = RouteQuestion(host(branch.ns), header_of(branch.packet), dev)
        branch = self.hop(branch, Action.LOST, dev=dev, cause=why, command=commands.route(self._lab, question))
        what = "the reply" if branch.packet.reply else "it"
        # Of a missing route, the kernel tells the sender; of a blackhole, and where it does not forward, nobody.
        end = End.UNREACHABLE if why == NO_ROUTE else End.LOST
        return ended(branch, end, f"{host(branch.ns)} does not pass {what} on: {why}")

    def mtu(self, ns: str, dev: str) -> int:
        """The MTU of an interface, 0 if it has none."""
        return int(getattr(self._net.device(ns, dev), "mtu", 0) or 0)

    def _of(self, ns: str) -> tuple[Ruleset, Addresses]:
        if ns not in self._rules:
            self._rules[ns] = node_rules(self._net.within[ns]), node_addresses(self._net, ns)
        return self._rules[ns]


def _match(step: Step) -> Match:
    verdict, _, target = step.result.partition(" ")
    return Match(_table(step), step.chain, verdict.lower(), target, without_comment(step.rule), step.comment)


def _table(step: Step) -> str:
    """The name of a rule's table: an nft table's without its family."""
    return step.table.rpartition(" ")[2]


def _first(outcome: Outcome, table: str) -> str:
    """The base chain of a table that the packet went through."""
    return next(step.chain for step in outcome.steps if _table(step) == table)
