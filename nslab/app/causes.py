"""Why probes failed: each is predicted through the desired State, and some are repeated and followed."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

from nslab.compiler.networks import network
from nslab.dataclass import dataclass, replace
from nslab.linux.flows import flows
from nslab.linux.netns import Namespaces
from nslab.linux.prober.follow import follow
from nslab.objects.names import netns
from nslab.probes import Way
from nslab.probes.cause import Cause, CauseKind, as_of, unfollowed
from nslab.probes.evidence import question, question_of
from nslab.probes.probe import Kind
from nslab.probes.representatives import alike, call_traits, pair_traits, representatives
from nslab.trace.captured import captured
from nslab.trace.conversation import Conversations, lost
from nslab.trace.ending import described, ending
from nslab.trace.explain import explain
from nslab.trace.explain_services import Evidence, explain_call, silent_pods

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from ipaddress import IPv4Address

    from nslab.app.drift import Drift
    from nslab.probes import Call, CallResult, Probe, ProbeHost, Result
    from nslab.probes.evidence import Conversation, Trail
    from nslab.probes.representatives import Trait
    from nslab.trace.conversation import Lost
    from nslab.trace.needs import Need

    Causes: TypeAlias = dict[Probe, Cause]
    Reasons: TypeAlias = dict[Call, Cause]
    Pair: TypeAlias = tuple[str, str]
    Key = TypeVar("Key")
    Item = TypeVar("Item", Result, CallResult)

FOLLOWED = 64
"""How many failed conversations are repeated to see where they end."""

PREDICTED = 512
"""How many failed pairs are predicted, at about 2 ms each; the others fail like one of them."""

DRAWS, MOST_DRAWS = 4, 16
"""Repetitions of a failed call per endpoint, and in all."""


@dataclass(frozen=True, slots=True)
class _Followed:
    """A failed pair: what its predicted conversation needs; where it ended if it was followed, and what was seen."""

    needs: tuple[Need, ...]
    lost: Lost | None
    trail: Trail | None


def of_pairs(drift: Drift, places: Sequence[ProbeHost], wrong: Sequence[Result]) -> Causes:
    """The cause of each failed probe: of a pair's probes, that of the first."""
    if network(drift.lab).BY_HAND and not drift.plan:
        by_hand = f"this lab has no network plugin, so the way is yours to make: nslab check {drift.lab.name}"
        return {result.probe: Cause(by_hand) for result in wrong}
    first = {result.probe.pair: result for result in reversed(wrong)}
    traits = pair_traits(places)
    predicted = representatives([*first.values()], traits, PREDICTED)
    chosen = representatives(predicted, traits, FOLLOWED)
    known = _seen(drift, predicted, chosen)
    causes: dict[Cause, list[Pair]] = {}
    for result in reversed(predicted):
        causes.setdefault(_cause(drift, result, known[result.probe.pair]), []).append(result.probe.pair)
    cells = _as_seen(causes, known)
    cells |= {
        result.probe.pair: cause
        for result, cause in _not_followed(
            {result: cells[result.probe.pair] for result in predicted}, chosen, traits, _of_pair
        ).items()
    }
    cells |= _not_predicted(cells, predicted, [*first.values()], traits)
    return {result.probe: cells[result.probe.pair] for result in wrong}


def _seen(drift: Drift, predicted: Iterable[Result], chosen: Iterable[Result]) -> dict[Pair, _Followed]:
    """The prediction of each failed pair; and of those that are chosen, where it leaves that."""
    conversations = Conversations(drift.lab.name, drift.want)
    trails = _follow(drift, {result.probe.pair: question(result.probe) for result in chosen})
    found: dict[Pair, _Followed] = {}
    for result in predicted:
        pair, journeys = result.probe.pair, conversations.journeys(question(result.probe))
        trail = trails.get(pair)
        left = lost(ending(trail, pair[1]), trail, journeys) if trail else None
        found[pair] = _Followed(conversations.needs(journeys, result.probe.port), left, trail)
    return found


def _cause(drift: Drift, result: Result, known: _Followed) -> Cause:
    return captured(drift.lab, known.needs) or explain(result, known.needs, drift.plan, drift.in_the_way, known.lost)


def _as_seen(causes: Mapping[Cause, Sequence[Pair]], known: Mapping[Pair, _Followed]) -> dict[Pair, Cause]:
    """The causes with what was seen of those pairs that were followed, by pair."""
    cells: dict[Pair, Cause] = {}
    for cause, pairs in causes.items():
        followed = [known[pair] for pair in pairs]
        ends = [one.lost.end for one in followed if one.lost]
        words = described(ends, [one.trail for one in followed if one.trail]) if ends else ""
        cells |= dict.fromkeys(pairs, replace(cause, seen=words))
    return cells


def _not_predicted(
    cells: Mapping[Pair, Cause], predicted: Sequence[Result], every: Sequence[Result], traits: Sequence[Trait[Result]]
) -> dict[Pair, Cause]:
    """The causes of failures beyond those: of one that fails alike."""
    found: dict[Pair, Cause] = {}
    for result in every:
        if result.probe.pair not in cells:
            other = alike(predicted, result, traits)
            few = Cause(f"not looked at: only {len(predicted)} of {len(every)} failures were", CauseKind.NOT_FOLLOWED)
            found[result.probe.pair] = as_of(cells[other.probe.pair], _of_pair(other)) if other else few
    return found


def _of_pair(result: Result) -> str:
    return f"{result.probe.source} to {result.probe.target}"


def _of_call(result: CallResult) -> str:
    return f"{result.call.source} to {result.call.column}"


def _not_followed(
    causes: dict[Item, Cause], followed: Sequence[Item], traits: Sequence[Trait[Item]], name: Callable[[Item], str]
) -> dict[Item, Cause]:
    """Of the failures without a cause that were not followed: the cause of one that fails alike, and was."""
    if len(followed) == len(causes):
        return {}
    explained = [one for one in followed if causes[one].kind is not CauseKind.NOTHING]
    found: dict[Item, Cause] = {}
    for one, cause in causes.items():
        if cause.kind is CauseKind.NOTHING and one not in followed:
            other = alike(explained, one, traits)
            found[one] = as_of(causes[other], name(other)) if other else unfollowed(cause, len(followed), len(causes))
    return found


def _follow(drift: Drift, questions: dict[Key, Conversation]) -> dict[Key, Trail]:
    """Repeat conversations, and see where they end."""
    with Namespaces() as spaces:
        trails = follow(spaces, drift.lab.name, [*questions.values()], drift.host.iptables)
    return dict(zip(questions, trails, strict=True))


def of_calls(
    drift: Drift, places: Sequence[ProbeHost], explained: Causes, failed: Sequence[CallResult]
) -> tuple[Reasons, dict[Call, CallResult]]:
    """Why calls failed; and those of them whose silent endpoints are known now."""
    pairs = {probe.pair: reason for probe, reason in explained.items() if probe.kind in (Kind.TCP, Kind.UDP)}
    owners: dict[IPv4Address, list[str]] = {}
    for place in places:
        owners.setdefault(place.address, []).append(place.name)
    traits = call_traits()
    draws = {result: max(1, min(DRAWS * len(result.call.answers), MOST_DRAWS)) for result in failed}
    chosen = representatives(failed, traits, 2 * FOLLOWED // max(draws.values()))
    followed = _follow(drift, _repetitions(drift, {result: draws[result] for result in chosen}))
    needs = _needs_of(drift, chosen)
    causes: dict[CallResult, Cause] = {}
    judged: dict[Call, CallResult] = {}
    for result in failed:
        trails = [trail for (repeated, _), trail in followed.items() if repeated == result]
        old = [] if any(not trail.answered for trail in trails) else _untranslated(drift, result.call)
        evidence = Evidence(pairs, trails, owners, drift.in_the_way, old, needs.get(result, ()))
        causes[result] = explain_call(result, drift.lab.name, drift.plan, evidence)
        if evidence.lost:
            judged[result.call] = replace(result, lost_pods=(*silent_pods(result, evidence),))
    causes |= _not_followed(causes, chosen, traits, _of_call)
    return {result.call: cause for result, cause in causes.items()}, judged


def _needs_of(drift: Drift, chosen: Collection[CallResult]) -> dict[CallResult, tuple[Need, ...]]:
    """What the predicted conversations of failed calls need."""
    conversations = Conversations(drift.lab.name, drift.want)
    asked = {result: question_of(result, drift.lab.dns_address) for result in chosen}
    return {result: conversations.needs(conversations.journeys(one)) for result, one in asked.items() if one}


def _untranslated(drift: Drift, call: Call) -> list[str]:
    """What conntrack on the node has of connections to a Service's address that were not translated, with its cure."""
    found: list[str] = []
    if call.way not in (Way.CLUSTER_IP, Way.NAME):
        return found  # a port of a node is the node's own address: its replies come from there, too
    with Namespaces() as spaces:
        for address in call.addresses:
            listed = flows(spaces, netns(drift.lab.name, call.node), "--orig-dst", str(address))
            if old := [line for line in listed if f" src={address} " in line]:
                cure = f"ip netns exec {netns(drift.lab.name, call.node)} conntrack -D --orig-dst {address}"
                found.append(f"{len(old)} to {address} as no rule translated them: {cure}")
    return found


def _repetitions(drift: Drift, draws: dict[CallResult, int]) -> dict[tuple[CallResult, int], Conversation]:
    """For failed calls, so many connections that each endpoint is probably drawn."""
    made: dict[tuple[CallResult, int], Conversation] = {}
    for result, times in draws.items():
        if one := question_of(result, drift.lab.dns_address):
            made |= {(result, turn): one for turn in range(times)}
    return made
