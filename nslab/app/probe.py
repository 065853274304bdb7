"""Find out with real packets who can reach whom, and compare that with what the lab allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab import probes
from nslab.app.drift import drift_of
from nslab.app.listener import QUIET
from nslab.compiler.networks import network
from nslab.dataclass import dataclass
from nslab.linux.netns import Namespaces
from nslab.linux.prober.hosts import ask
from nslab.linux.prober.services import ask_services

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nslab.app.drift import Drift
    from nslab.lab.types import Lab
    from nslab.probes import Call, CallResult, Probe, Result, ServiceSurvey, Survey

    Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Probed:
    """The questions and their answers. `explanations` and `reasons`: for each wrong answer, its cause.

    `lab`: with the routes that its routers got by hand. `services`: None if no Service was probed.
    """

    drift: Drift
    lab: Lab
    survey: Survey
    results: list[Result]
    explanations: dict[Probe, str]
    services: ServiceSurvey | None
    calls: list[CallResult]
    reasons: dict[Call, str]

    @property
    def good(self) -> bool:
        """Whether every answer is right."""
        return not (any(result.wrong for result in self.results) or any(call.wrong for call in self.calls))

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
    drift = drift_of(name)
    lab = probes.with_learned_routes(drift.lab, drift.plan)
    survey = probes.survey(lab, drift.host, sources, targets)
    asked = None if targets else probes.survey_services(lab, drift.host, sources)
    calls: list[CallResult] = []
    with Namespaces() as spaces:
        results = ask(spaces, name, survey.places, survey.probes, progress=hosts)
        if asked:
            calls = ask_services(spaces, name, asked, drift.lab.dns_address, progress=services)
    explanations = _explained(drift, [result for result in results if result.wrong])
    reasons = _reasons(drift, explanations, [result for result in calls if result.wrong])
    return Probed(drift, lab, survey, results, explanations, asked, calls, reasons)


def _explained(drift: Drift, wrong: list[Result]) -> dict[Probe, str]:
    if not wrong:
        return {}
    if network(drift.lab).BY_HAND and not drift.plan:
        by_hand = f"this lab has no network plugin, so the way is yours to make: nslab check {drift.lab.name}"
        return {result.probe: by_hand for result in wrong}
    from nslab.trace.explain import explain
    from nslab.trace.topology import topology
    from nslab.trace.walk import depends

    made = topology(drift.want)
    cells: dict[tuple[str, str], str] = {}
    for result in wrong:
        if result.probe.pair not in cells:
            way = depends(drift.lab, result.probe, made)
            cells[result.probe.pair] = explain(result, way, drift.plan, drift.in_the_way)
    return {result.probe: cells[result.probe.pair] for result in wrong}


def _reasons(drift: Drift, explained: dict[Probe, str], failed: list[CallResult]) -> dict[Call, str]:
    if not failed:
        return {}
    from nslab.trace.explain_services import explain_call

    pairs = {probe.pair: reason for probe, reason in explained.items()}
    return {result.call: explain_call(result, drift.lab.name, drift.plan, pairs) for result in failed}
