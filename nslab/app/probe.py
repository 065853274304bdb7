"""Find out with real packets who can reach whom, and compare that with what the lab allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab import probes
from nslab.app.drift import drift_of
from nslab.app.listener import QUIET
from nslab.app.moment import moment, steady
from nslab.dataclass import dataclass, replace
from nslab.linux.netns import Namespaces
from nslab.linux.prober.hosts import ask
from nslab.linux.prober.services import ask_services
from nslab.linux.processes.control import ControlClient
from nslab.linux.visits import visiting
from nslab.objects.names import host
from nslab.probes.verdict import KUBE_PROXY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nslab.app.causes import Causes, Reasons
    from nslab.app.drift import Drift
    from nslab.lab.types import Lab
    from nslab.probes import Call, CallResult, Probe, ProbeHost, Result, ServiceSurvey, Survey
    from nslab.probes.cause import Cause

    Progress = Callable[[int, int], None]

ROUNDS = 6
"""How often all is asked at most, while the lab changes by itself: pods become ready, or end."""


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
    from nslab.app.causes import of_pairs

    return of_pairs(drift, places, wrong)


def _reasons(
    drift: Drift, places: Sequence[ProbeHost], explained: Causes, calls: list[CallResult]
) -> tuple[Reasons, list[CallResult]]:
    """Why calls failed; and the calls with the endpoints that were seen to be silent."""
    failed = [result for result in calls if result.wrong]
    if not failed:
        return {}, calls
    from nslab.app.causes import of_calls

    reasons, judged = of_calls(drift, places, explained, failed)
    return reasons, [judged.get(result.call, result) for result in calls]
