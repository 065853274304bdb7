"""`nslab probe`: who can reach whom, compared with who should."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nslab.cli.arguments import RunningLab
from nslab.cli.complete import probed
from nslab.cli.output import Format, Progress, Report, bullets, document, need_root, say, terminal_columns

if TYPE_CHECKING:
    from nslab.app.probe import Probed
    from nslab.probes import Probe, Result, Survey
    from nslab.probes.cause import Cause


def probe(
    name: RunningLab,
    sources: Annotated[
        list[str] | None, typer.Option("--from", help="Probe from this host only; repeatable.", autocompletion=probed)
    ] = None,
    targets: Annotated[
        list[str] | None, typer.Option("--to", help="Probe to this host only; repeatable.", autocompletion=probed)
    ] = None,
    output: Annotated[Report, typer.Option("--output", "-o", help="table, json, yaml or junit.")] = Report.TABLE,
) -> None:
    """Show by real packets who can reach whom.

    It probes pods, nodes and clients by ICMP, TCP, UDP and full-size packets. Without --to, it also calls every Service
    by address, by name and from outside, and every hostPort, and checks which pod answers and which source address that
    pod sees. It also probes what must fail. It explains a wrong result by what differs from the lab on the way, and
    repeats it to see where its packets end. It exits with 1 if anything is wrong.

    Example: nslab probe calico-two-node
    """
    need_root("probe")
    from nslab.app.probe import probe as prove
    from nslab.views.changes import standing_still
    from nslab.views.junit import calls_to_json, junit, to_json

    done = prove(name, sources or (), targets or (), Progress("probes"), Progress("Services"))
    if output is Report.JUNIT:
        say(junit(name, done.results, done.explanations, done.calls, done.reasons), nl=False)
    elif output is not Report.TABLE:
        answers = [*to_json(done.results, done.explanations), *calls_to_json(done.calls, done.reasons)]
        document(answers, Format(output.value))
    else:
        _printed(done.survey, done.results, done.explanations)
        if done.learned:
            say(f"{', '.join(done.learned)} knows the way to pods by routes made by hand; `nslab up` removes them")
        if done.services and done.calls:
            _printed_services(done)
        if done.drift.stopped:
            say("\n" + "\n".join(standing_still(done.drift.stopped, done.drift.ended, idle=done.drift.idle)))
    if not done.good:
        raise typer.Exit(1)


def _printed(survey: Survey, results: list[Result], explanations: dict[Probe, Cause]) -> None:
    from nslab.views.matrix import matrix, seen

    for line in matrix(survey, results, terminal_columns()):
        say(line, fg="red" if "FAIL" in line else None)
    for line in seen(survey.places, results):
        say(line)
    _because({f"{probe.source} to {probe.target}": str(cause) for probe, cause in explanations.items()})


def _printed_services(done: Probed) -> None:
    from nslab.views.service_matrix import four_cells, service_matrix

    assert done.services
    lines = service_matrix(done.services, done.calls, terminal_columns())
    for line in (*lines, *four_cells(done.survey.places, done.results, done.calls, done.causes)):
        say(line, fg="red" if "FAIL" in line else None)
    _because({f"{call.source} to {call.column}": str(cause) for call, cause in done.reasons.items()})


def _because(explanations: dict[str, str]) -> None:
    """Print each reason once, with the pairs that it explains."""
    reasons: dict[str, list[str]] = {}
    for whom, reason in explanations.items():
        reasons.setdefault(reason, []).append(whom)
    for reason, pairs in reasons.items():
        say(f"\n{reason}")
        bullets(dict.fromkeys(pairs), 6, "more")
