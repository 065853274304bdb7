"""Proving: who reaches whom, against who should."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nslab.cli.life import RunningLab
from nslab.cli.output import Format, Progress, Report, bullets, document, need_root, say
from nslab.lab.types import Plugin

if TYPE_CHECKING:
    from nslab.linux.difference import Difference
    from nslab.probes import Call, CallResult, Probe, Result, ServiceSurvey, Survey


def probe(
    name: RunningLab,
    sources: Annotated[list[str] | None, typer.Option("--from", help="Only from this host; repeatable.")] = None,
    targets: Annotated[list[str] | None, typer.Option("--to", help="Only to this host; repeatable.")] = None,
    output: Annotated[Report, typer.Option("--output", "-o", help="table, json, yaml or junit.")] = Report.TABLE,
) -> None:
    """Prove who reaches whom: every pod, node and client by ICMP, TCP, UDP and with packets as large as fit.

    And every Service, by its address, its name and from outside (without --to): who answers, and whom that one sees.
    What must fail is asked as well. A wrong answer is explained by the first hop that is not as it should be.
    Exits with 1 if anything is wrong.

    Example: nslab probe calico-two-node
    """
    need_root("probe")
    from nslab import probes
    from nslab.linux import lifecycle, netns
    from nslab.linux.prober.hosts import ask
    from nslab.linux.prober.services import ask_services
    from nslab.views.changes import standing_still
    from nslab.views.junit import calls_to_json, junit, to_json

    found = lifecycle.difference(name)
    lab = probes.taught(found.lab, found.plan)
    survey = probes.survey(lab, found.host, sources or (), targets or ())
    services = None if targets else probes.survey_services(lab, found.host, sources or ())
    calls: list[CallResult] = []
    with netns.Namespaces() as spaces:
        results = ask(spaces, name, survey.places, survey.probes, progress=Progress("probes"))
        if services:
            calls = ask_services(spaces, name, services, found.lab.dns_address, progress=Progress("Services"))
    wrong, failed = [result for result in results if result.wrong], [result for result in calls if result.wrong]
    explanations = _explained(found, wrong)
    reasons = _reasons(found, explanations, failed)
    if output is Report.JUNIT:
        say(junit(name, results, explanations, calls, reasons), nl=False)
    elif output is not Report.TABLE:
        document([*to_json(results, explanations), *calls_to_json(calls, reasons)], Format(output.value))
    else:
        _printed(survey, results, explanations)
        if told := [router.name for router in lab.routers if router not in found.lab.routers]:
            say(f"{', '.join(told)} knows where pods are by routes made by hand; `nslab up` takes them away")
        if services and calls:
            _printed_services(services, results, calls, reasons)
        if found.stopped:
            say("\n" + "\n".join(standing_still(found.stopped)))
    if wrong or failed:
        raise typer.Exit(1)


def _explained(found: Difference, wrong: list[Result]) -> dict[Probe, str]:
    if not wrong:
        return {}
    if found.lab.plugin is Plugin.NONE and not found.plan:
        how_far = f"this lab has no network plugin, so the way is yours to make: nslab check {found.lab.name}"
        return {result.probe: how_far for result in wrong}
    from nslab.trace.explain import explain
    from nslab.trace.topology import topology
    from nslab.trace.walk import depends

    world = topology(found.want)
    cells: dict[tuple[str, str], str] = {}
    for result in wrong:
        if result.probe.pair not in cells:
            way = depends(found.lab, result.probe, world)
            cells[result.probe.pair] = explain(result, way, found.plan, found.strangers)
    return {result.probe: cells[result.probe.pair] for result in wrong}


def _reasons(found: Difference, explained: dict[Probe, str], failed: list[CallResult]) -> dict[Call, str]:
    if not failed:
        return {}
    from nslab.trace.explain_services import explain_call

    pairs = {probe.pair: reason for probe, reason in explained.items()}
    return {result.call: explain_call(result, found.lab.name, found.plan, pairs) for result in failed}


def _printed(survey: Survey, results: list[Result], explanations: dict[Probe, str]) -> None:
    from shutil import get_terminal_size

    from nslab.views.matrix import matrix, seen

    for line in matrix(survey, results, get_terminal_size((120, 24)).columns):
        say(line, fg="red" if "FAIL" in line else None)
    for line in seen(survey.places, results):
        say(line)
    _because({f"{probe.source} to {probe.target}": reason for probe, reason in explanations.items()})


def _printed_services(
    survey: ServiceSurvey, results: list[Result], calls: list[CallResult], reasons: dict[Call, str]
) -> None:
    from shutil import get_terminal_size

    from nslab.views.service_matrix import four_cells, service_matrix

    lines = service_matrix(survey, calls, get_terminal_size((120, 24)).columns)
    for line in (*lines, *four_cells(survey.places, results, calls)):
        say(line, fg="red" if "FAIL" in line else None)
    _because({f"{call.source} to {call.column}": reason for call, reason in reasons.items()})


def _because(explanations: dict[str, str]) -> None:
    """Each reason once, with those whom it concerns."""
    reasons: dict[str, list[str]] = {}
    for whom, reason in explanations.items():
        reasons.setdefault(reason, []).append(whom)
    for reason, pairs in reasons.items():
        say(f"\n{reason}")
        bullets(dict.fromkeys(pairs), 6, "more")
