"""The matrix of Services: who reaches which (pure: results in, lines out)."""

from __future__ import annotations

from collections import Counter
from types import MappingProxyType
from typing import TYPE_CHECKING

from nslab.probes import Call, CallResult, Outcome, Spread, Square, Way, likelihood, squares, verdict
from nslab.probes.verdict import FAR, NEAR, POD, SERVICE, names_fail
from nslab.views.matrix import readable
from nslab.views.table import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nslab.probes import ProbeHost, Result, ServiceSurvey
    from nslab.probes.verdict import Causes

COLUMNS = 12
"""With more columns, or in a narrower terminal, only failures are listed."""
INSIDE = (Way.CLUSTER_IP, Way.NAME)
_WORDS = {Outcome.REACHED: "ok", Outcome.TIMED_OUT: "silent"}
_LEGEND = {
    "ok": "answered by its endpoints, which see the right client address",
    "refused": "it has no endpoints, and the client is refused at once",
    "silent": "no answer at all, as it should be (policy Local and no local endpoint, or a source outside the ranges)",
    "ended": "it has no endpoints: the proxy accepts the connection and closes it",
    "no way": "NetworkPolicies, or a router without routes to pods, drop packets to its endpoints or to kube-dns",
    "in part": "some endpoints answer; NetworkPolicies, or a router without routes to pods, drop packets to the others",
}


def service_matrix(survey: ServiceSurvey, results: Sequence[CallResult], width: int = 0) -> list[str]:
    """The tables from inside and outside, the legend, the distribution of answers, the source addresses seen."""
    if not results:
        return []
    asked = [result for result in results if result.call in {*survey.calls}]
    shown: list[str] = []
    for title, ways in (("Services, from inside", INSIDE), ("Services, from outside", (*Way,)[2:])):
        chosen = [result for result in asked if result.call.way in ways]
        if chosen:
            shown += ["", title, *_table(chosen, width)]
    words = {word(result) for result in asked}
    legend = [f"{name}: {meaning}" for name, meaning in _LEGEND.items() if name in words]
    spread = [_spread(result) for result in results if result.call in {*survey.spread}]
    return [
        *shown,
        *legend,
        *spread,
        *seen(survey.places, asked),
        *([survey.note] if survey.note else []),
        _count(results),
    ]


def word(result: CallResult) -> str:
    """The word of a cell."""
    outcome = result.call.outcome
    if result.wrong:
        return f"FAIL {result.wrong}"
    if result.call.lost:
        return "in part" if result.call.answers and not result.unresolved else "no way"
    return _WORDS.get(outcome, outcome.value)


def four_cells(
    places: Sequence[ProbeHost],
    results: Sequence[Result],
    calls: Sequence[CallResult],
    causes: Causes = MappingProxyType({}),
) -> list[str]:
    """The two tables that distinguish faults of the pod network from those of kube-proxy, with their verdicts.

    `causes`: of the probes and calls that went wrong.
    """
    lines: list[str] = []
    for square in squares(places, results, calls, causes):
        if square.asked:
            rows = [[where, _cell(square, where, POD), _cell(square, where, SERVICE)] for where in (NEAR, FAR)]
            lines += ["", *table([f"{square.role}s to", POD, SERVICE], rows).splitlines()]
            if words := verdict(square):
                lines.append(words)
    words = names_fail(calls, causes)
    return [*lines, words] if words else lines


def seen(places: Sequence[ProbeHost], results: Sequence[CallResult]) -> Iterator[str]:
    """The source addresses that servers see, a line for each kind of call."""
    by_name = {place.name: place for place in places}
    views: dict[str, dict[str, None]] = {}
    for result in results:
        call, asker = result.call, by_name[result.call.source]
        own = {answer.hostname for answer in call.answers if answer.pod == asker.name}
        for one in result.tries:
            if one.seen_from and call.asks:
                whom = f"{asker.role}s that ask by {call.way}{f' (policy {call.policy})' if call.policy else ''}"
                whom = f"{asker.role}s that meet themselves by {call.way}" if one.hostname in own else whom
                views.setdefault(whom, {})[_as(by_name, result.call, asker, str(one.seen_from))] = None
    for whom, names in views.items():
        some = [*names] if len(names) <= 4 else [*[*names][:3], f"{len(names) - 3} more"]
        yield f"{whom} are seen as {', '.join(some)}"


def _as(by_name: Mapping[str, ProbeHost], call: Call, asker: ProbeHost, address: str) -> str:
    if address == str(asker.address):
        return "themselves"
    own = call.node in by_name and str(by_name[call.node].address) == address
    return call.node if own else f"{address} (of {call.node})"


def _table(results: Sequence[CallResult], width: int) -> list[str]:
    heads = list(dict.fromkeys(result.call.column for result in results))
    rows: dict[str, dict[str, str]] = {}
    for result in results:
        rows.setdefault(result.call.source, {})[result.call.column] = word(result)
    body = [[source, *(row.get(head, "") for head in heads)] for source, row in rows.items()]
    lines = table(["", *heads], body).splitlines() if len(heads) <= COLUMNS else []
    # Transposed, the table has a row for each Service, and is usually narrow enough.
    sides = [[head, *(row.get(head, "") for row in rows.values())] for head in heads]
    turned = table(["", *rows], sides).splitlines() if len(rows) <= COLUMNS else []
    if found := readable((lines, turned), width):
        return [*found]
    why = f"more than {COLUMNS} callers" if len(rows) > COLUMNS else f"the terminal has {width} columns"
    wrong = [f"{result.call}: FAIL {result.wrong}" for result in results if result.wrong]
    return [f"no table: {why}", *(wrong or [f"all {len(results)} as they should be"])]


def _spread(result: CallResult) -> str:
    call, counts = result.call, Counter(result.answered)
    numbers = [counts[answer.hostname] for answer in call.answers]
    words = ", ".join(f"{answer.hostname} {counts[answer.hostname]}" for answer in call.answers)
    chance = f" (p = {likelihood(numbers):.2f})" if call.spread is Spread.CHANCE and any(numbers) else ""
    wrong = f": FAIL {result.wrong}" if result.wrong else ""
    return f"{call.column} from {call.source}, {call.spread}: {words}{chance}{wrong}"


def _cell(square: Square, where: str, what: str) -> str:
    asked, failed = square.asked.get((where, what), 0), square.failed.get((where, what), 0)
    if not asked:
        return "-"
    return f"FAIL {failed} of {asked}" if failed else "ok"


def _count(results: Sequence[CallResult]) -> str:
    wrong = sum(bool(result.wrong) for result in results)
    tries = sum(len(result.tries) for result in results)
    right = f"{wrong} of {len(results)} calls wrong" if wrong else f"all {len(results)} calls right"
    return f"{right} ({tries} connections, slowest {max((result.ms for result in results), default=0.0):.1f} ms)"
