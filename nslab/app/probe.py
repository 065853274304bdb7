"""Find out with real packets who can reach whom, and compare that with what the lab allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias, TypeVar

from nslab import probes
from nslab.app.drift import drift_of
from nslab.app.listener import QUIET
from nslab.app.moment import moment, steady
from nslab.compiler.networks import network
from nslab.dataclass import dataclass, replace
from nslab.linux.flows import flows
from nslab.linux.netns import Namespaces
from nslab.linux.prober.hosts import ask
from nslab.linux.prober.services import ask_services
from nslab.linux.processes.control import ControlClient
from nslab.linux.visits import visiting
from nslab.objects.names import host, netns
from nslab.probes import Way
from nslab.probes.cause import Cause, CauseKind, as_of, unfollowed
from nslab.probes.evidence import question, question_of
from nslab.probes.probe import Kind
from nslab.probes.representatives import alike, call_traits, pair_traits, representatives
from nslab.probes.verdict import KUBE_PROXY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from ipaddress import IPv4Address

    from nslab.app.drift import Drift
    from nslab.lab.types import Lab
    from nslab.probes import Call, CallResult, Probe, ProbeHost, Result, ServiceSurvey, Survey
    from nslab.probes.evidence import Conversation, Trail
    from nslab.probes.representatives import Trait

    Causes: TypeAlias = dict[Probe, Cause]
    Reasons: TypeAlias = dict[Call, Cause]
    Key = TypeVar("Key")
    Item = TypeVar("Item", Result, CallResult)
    Progress = Callable[[int, int], None]

FOLLOWED = 64
"""How many failed conversations are repeated to see where they end."""

ROUNDS = 6
"""How often all is asked at most, while the lab changes by itself: pods become ready, or end."""

DRAWS, MOST_DRAWS = 4, 16
"""Repetitions of a failed call per endpoint, and in all."""


@dataclass(frozen=True, slots=True)
class Probed:
    """The questions and their answers. `explanations` and `reasons`: for each wrong answer, its cause.

    `lab`: with the routes that its routers got by hand. `services`: None if no Service was probed.
    """

    drift: Drift
    lab: Lab
    survey: Survey
    results: list[Result]
    explanations: Causes
    services: ServiceSurvey | None
    calls: list[CallResult]
    reasons: Reasons

    @property
    def good(self) -> bool:
        """Whether every answer is right."""
        return not (any(result.wrong for result in self.results) or any(call.wrong for call in self.calls))

    @property
    def causes(self) -> dict[Probe | Call, Cause]:
        """The causes of all wrong answers."""
        found: list[tuple[Probe | Call, Cause]] = [*self.explanations.items(), *self.reasons.items()]
        return dict(found)

    @property
    def learned(self) -> list[str]:
        """The routers that know the way to pods by routes made by hand."""
        return [router.name for router in self.lab.routers if router not in self.drift.lab.routers]


def probe(
    name: str,
    sources: Sequence[str] = (),
    targets: Sequence[str] = (),
    hosts: Progress = QUIET.progress,
    services: Progress = QUIET.progress,
) -> Probed:
    """Probe every pair of hosts, and (without `targets`) every Service; only from `sources` and to `targets`, if given.

    `hosts`, `services`: progress of each round.
    """
    with visiting(name), ControlClient(name) as control:
        rounds = 0
        while True:
            before, rounds = moment(name, control), rounds + 1
            found = _asked(name, sources, targets, hosts, services)
            # If the lab has changed meanwhile, what was expected may be wrong, and not the answers.
            if found.good or rounds == ROUNDS or steady(name, before, control):
                return _with_causes(found)


def _asked(name: str, sources: Sequence[str], targets: Sequence[str], hosts: Progress, services: Progress) -> Probed:
    """All questions and their answers, without causes."""
    drift = drift_of(name)
    lab = probes.with_learned_routes(drift.lab, drift.plan)
    survey = probes.survey(lab, drift.host, sources, targets)
    differing = {host(step.obj.ns) for step in drift.plan if step.obj.by == KUBE_PROXY}
    asked = None if targets else probes.survey_services(lab, drift.host, sources, differing)
    calls: list[CallResult] = []
    with Namespaces() as spaces:
        results = ask(spaces, name, survey.places, survey.probes, progress=hosts)
        if asked:
            calls = ask_services(spaces, name, asked, drift.lab.dns_address, progress=services)
    return Probed(drift, lab, survey, results, {}, asked, calls, {})


def _with_causes(found: Probed) -> Probed:
    drift, places = found.drift, found.survey.places
    explanations = _explained(drift, places, [result for result in found.results if result.wrong])
    reasons, calls = _reasons(drift, places, explanations, found.calls)
    return replace(found, explanations=explanations, reasons=reasons, calls=calls)


def _explained(drift: Drift, places: Sequence[ProbeHost], wrong: list[Result]) -> Causes:
    if not wrong:
        return {}
    if network(drift.lab).BY_HAND and not drift.plan:
        by_hand = f"this lab has no network plugin, so the way is yours to make: nslab check {drift.lab.name}"
        return {result.probe: Cause(by_hand) for result in wrong}
    from nslab.trace.captured import captured
    from nslab.trace.ending import described, ending
    from nslab.trace.explain import explain
    from nslab.trace.topology import topology
    from nslab.trace.walk import depends

    made = topology(drift.want)
    first = {result.probe.pair: result for result in reversed(wrong)}
    traits = pair_traits(places)
    chosen = representatives([*first.values()], traits, FOLLOWED)
    followed = _follow(drift, {result.probe.pair: question(result.probe) for result in chosen})
    causes: dict[Cause, list[tuple[str, str]]] = {}
    ends = {pair: ending(trail, pair[1]) for pair, trail in followed.items()}
    for pair, result in reversed(first.items()):
        way = depends(drift.lab, result.probe, made)
        cause = captured(drift.lab, way) or explain(result, way, drift.plan, drift.in_the_way, ends.get(pair))
        causes.setdefault(cause, []).append(pair)
    cells: dict[tuple[str, str], Cause] = {}
    for cause, pairs in causes.items():
        seen = [pair for pair in pairs if pair in ends]
        words = described([ends[pair] for pair in seen], [followed[pair] for pair in seen]) if seen else ""
        cells |= dict.fromkeys(pairs, replace(cause, seen=words))
    known = {result: cells[pair] for pair, result in first.items()}
    cells |= {result.probe.pair: cause for result, cause in _not_followed(known, chosen, traits, _of_pair).items()}
    return {result.probe: cells[result.probe.pair] for result in wrong}


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
    from nslab.linux.prober.follow import follow

    with Namespaces() as spaces:
        trails = follow(spaces, drift.lab.name, [*questions.values()], drift.host.iptables)
    return dict(zip(questions, trails, strict=True))


def _reasons(
    drift: Drift, places: Sequence[ProbeHost], explained: Causes, calls: list[CallResult]
) -> tuple[Reasons, list[CallResult]]:
    """Why calls failed; and the calls with the endpoints that were seen to be silent."""
    failed = [result for result in calls if result.wrong]
    if not failed:
        return {}, calls
    from nslab.trace.explain_services import Evidence, explain_call, silent_pods

    pairs = {probe.pair: reason for probe, reason in explained.items() if probe.kind in (Kind.TCP, Kind.UDP)}
    owners: dict[IPv4Address, list[str]] = {}
    for place in places:
        owners.setdefault(place.address, []).append(place.name)
    traits = call_traits()
    draws = {result: max(1, min(DRAWS * len(result.call.answers), MOST_DRAWS)) for result in failed}
    chosen = representatives(failed, traits, 2 * FOLLOWED // max(draws.values()))
    followed = _follow(drift, _repetitions(drift, {result: draws[result] for result in chosen}))
    causes: dict[CallResult, Cause] = {}
    judged: dict[Call, CallResult] = {}
    for result in failed:
        trails = [trail for (repeated, _), trail in followed.items() if repeated == result]
        old = [] if any(not trail.answered for trail in trails) else _untranslated(drift, result.call)
        evidence = Evidence(pairs, trails, owners, drift.in_the_way, old)
        causes[result] = explain_call(result, drift.lab.name, drift.plan, evidence)
        if evidence.lost:
            judged[result.call] = replace(result, lost_pods=(*silent_pods(result, evidence),))
    causes |= _not_followed(causes, chosen, traits, _of_call)
    reasons = {result.call: cause for result, cause in causes.items()}
    return reasons, [judged.get(result.call, result) for result in calls]


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
