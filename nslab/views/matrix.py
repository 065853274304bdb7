"""The matrix of hosts: who reaches whom (pure: results in, lines out; the command line adds colours)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from nslab.probes import Expected, Kind, Outcome
from nslab.views.access import some_policies

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nslab.probes import ProbeHost, Result, Survey

COLUMNS = 12
"""Beyond so many hosts, or on a terminal too narrow for the table and the turned one, only what is wrong is listed."""
READABLE = 120
"""Columns that a table has in a file, if it can be had so."""
ROWS = 24
"""The turned table is long instead of wide, and fits a screen."""
OK, BLOCKED, DENIED, SELF, UNASKED = "ok", "blocked", "denied", "-", ""
ONLY = " only"
_TITLES = {"pod": "pods", "node": "nodes", "client": "clients"}


def matrix(survey: Survey, results: Sequence[Result], width: int = 0) -> list[str]:
    """The table or the failures; then a legend and the number of correct pairs.

    `width`: the terminal's columns; 0: any number.
    """
    tables = [table(survey.places, results), table(survey.places, results, turned=True)]
    shown = readable(tables, width) or [left_out(tables[0], width), *wrong_pairs(results)]
    return [*shown, *legend(results, survey.why), *([survey.note] if survey.note else []), count(results)]


def cells(results: Iterable[Result]) -> dict[tuple[str, str], str]:
    """The word for each pair: `ok`, `blocked` or `denied` (as expected), or `FAIL` with the error and the kinds."""
    pairs: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        pairs.setdefault(result.probe.pair, []).append(result)
    return {pair: cell(of_pair) for pair, of_pair in pairs.items()}


def cell(results: Sequence[Result]) -> str:
    """The word for one pair, with its errors only."""
    wrong = [result for result in results if result.wrong]
    if not wrong:
        passed = [result.probe.kind.value for result in results if result.probe.expected is Expected.REACH]
        if any(result.probe.denied for result in results):
            return f"{','.join(dict.fromkeys(passed))}{ONLY}" if passed else DENIED
        return OK if passed else BLOCKED
    by_trouble: dict[str, list[str]] = {}
    for result in wrong:
        by_trouble.setdefault(_short(result), []).append(result.probe.kind.value)
    asked = {result.probe.kind for result in results}
    parts = [
        trouble if set(kinds) == asked else f"{','.join(dict.fromkeys(kinds))} {trouble}"
        for trouble, kinds in by_trouble.items()
    ]
    return "FAIL " + "; ".join(parts)


def readable(tables: Sequence[Sequence[str]], width: int) -> Sequence[str]:
    """The first of some tables that fits the terminal; where there is none, one that is read with ease, or the first.

    Nothing, if none fits. An empty table is none.
    """
    there = [lines for lines in tables if lines]
    fits = [lines for lines in there if max(map(len, lines)) <= (width or READABLE)]
    return next(iter(fits or (() if width else there)), ())


def left_out(lines: Sequence[str], width: int) -> str:
    """Why there is no table, and how to get it."""
    if not lines:
        return f"no table: more than {COLUMNS} hosts; what is wrong follows (--from and --to choose hosts)"
    wide = max(map(len, lines))
    return f"no table: it takes {wide} columns, and the terminal has {width}; what is wrong follows"


def table(places: Sequence[ProbeHost], results: Sequence[Result], *, turned: bool = False) -> list[str]:
    """Rows send, columns receive (`turned`: the other way round); pods, nodes and clients in groups.

    Nothing if there are too many.
    """
    cell_words = cells(results)
    if turned:
        cell_words = {(target, source): word for (source, target), word in cell_words.items()}
    rows = [place for place in places if any(source == place.name for source, _ in cell_words)]
    columns = [place for place in places if any(target == place.name for _, target in cell_words)]
    if len(columns) > COLUMNS or (turned and len(rows) > ROWS):
        return []
    heads = [_heads(columns), ["to \\ from" if turned else "", *(column.name for column in columns)]]
    body = [
        [row.name, *(cell_words.get((row.name, to.name), SELF if row == to else UNASKED) for to in columns)]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*heads, *body, strict=True)]
    # An empty line between two groups.
    starts = {at + 1 for at, place in enumerate(columns) if at and place.role != columns[at - 1].role}
    lines = [_line(words, widths, starts) for words in (*heads, *body)]
    for at in reversed([at for at in range(1, len(rows)) if rows[at].role != rows[at - 1].role]):
        lines.insert(at + 2, "")
    return lines


def wrong_pairs(results: Sequence[Result]) -> list[str]:
    """The failed pairs, a line each."""
    cell_words = {pair: word for pair, word in cells(results).items() if word.startswith("FAIL")}
    length = max((len(source) for source, _ in cell_words), default=0)
    return [f"{source:<{length}} -> {target}: {word}" for (source, target), word in cell_words.items()]


def legend(results: Iterable[Result], why: str = "") -> Iterator[str]:
    """The meaning of the words `ok` and `blocked` here, and why some pairs are blocked."""
    results = list(results)
    cell_words = set(cells(results).values())
    if OK in cell_words:
        asked = {result.probe.kind for result in results}
        sizes = sorted({r.probe.size for r in results if r.probe.size and r.probe.expected is Expected.REACH})
        words = [kind.value.upper() for kind in Kind if kind in asked and kind is not Kind.MTU]
        if sizes:
            words.append(f"whole packets of {' or '.join(map(str, sizes))} bytes, and none larger,")
        yield f"{OK}: {', '.join(words)} arrive{'' if sizes else ','} from the right address".replace(",,", ",")
    if DENIED in cell_words:
        yield f"{DENIED}: NetworkPolicies allow no connection, as it should be"
    if any(word.endswith(ONLY) for word in cell_words):
        yield f"…{ONLY}: NetworkPolicies allow nothing else, as it should be"
    yield from denials(results)
    if BLOCKED in cell_words:
        yield f"{BLOCKED}: no way there, as it should be{f' ({why})' if why else ''}"


def denials(results: Iterable[Result]) -> Iterator[str]:
    """Whom policies deny, a line for each pod that they isolate in a direction."""
    found: dict[tuple[str, str, tuple[str, ...]], dict[str, None]] = {}
    for result in results:
        source, target = result.probe.pair
        if why := result.probe.denied:
            own, other = (target, source) if why.direction == "ingress" else (source, target)
            found.setdefault((own, why.direction, why.policies), {})[other] = None
    for (own, direction, policies), others in found.items():
        way = "from" if direction == "ingress" else "to"
        yield f"  {direction} of {own}, isolated by {some_policies(policies)}: denied {way} {', '.join(others)}"


def count(results: Sequence[Result]) -> str:
    """The number of correct or wrong pairs, in words."""
    cell_words = Counter(word.startswith("FAIL") for word in cells(results).values())
    total, slowest = cell_words.total(), max((r.ms for r in results if r.outcome is Outcome.REACHED), default=0.0)
    right = f"all {total} pairs right" if not cell_words[True] else f"{cell_words[True]} of {total} pairs wrong"
    return f"{right} ({len(results)} probes, slowest answer {slowest:.1f} ms)"


def seen(places: Sequence[ProbeHost], results: Iterable[Result]) -> list[str]:
    """The source addresses with which pods and nodes were seen: one line each."""
    roles = {place.name: place for place in places}
    views: dict[str, dict[tuple[str, str], None]] = {"pod": {}, "node": {}}
    for result in results:
        source, target = roles[result.probe.source], roles[result.probe.target]
        if result.seen_from is None or source.role not in views or source == target:
            continue
        views[source.role].setdefault((_whom(source, target), _as(source, places, result)))
    return [f"{_TITLES[role]} are seen {_grouped(view)}" for role, view in views.items() if view]


def _whom(source: ProbeHost, target: ProbeHost) -> str:
    near = source.node == target.node
    match source.role, target.role:
        case _, "client":
            return "clients"
        case "pod", "pod":
            return "pods of the same node" if near else "pods of other nodes"
        case _, "pod":
            return "their own pods" if near else "pods of other nodes"
        case _:
            return "their own node" if near else "other nodes"


def _as(source: ProbeHost, places: Sequence[ProbeHost], result: Result) -> str:
    if result.seen_from == source.address:
        return "as themselves"
    owner = next((place for place in places if place.address == result.seen_from), None)
    if owner and owner.role == "node" and owner.node == source.node:
        return "as their node"
    return f"as {result.seen_from}"


def _grouped(view: Mapping[tuple[str, str], None]) -> str:
    by_name: dict[str, list[str]] = {}
    for whom, name in view:
        by_name.setdefault(name, []).append(whom)
    by_viewers: dict[tuple[str, ...], list[str]] = {}
    for name, viewers in by_name.items():
        by_viewers.setdefault(tuple(dict.fromkeys(viewers)), []).append(name.removeprefix("as "))
    return "; ".join(f"as {_or(names)} by {_and(viewers)}" for viewers, names in by_viewers.items())


def _or(names: Sequence[str]) -> str:
    """The names joined by "or", shortened: on thirty nodes each may have its own."""
    return " or ".join(names if len(names) <= 4 else [*names[:2], f"{len(names) - 2} more"])


def _and(words: Sequence[str]) -> str:
    pods = [word for word in words if "pods" in word]
    if len(pods) == 2:
        words = ["all pods", *(word for word in words if word not in pods)]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _short(result: Result) -> str:
    return "timeout" if result.outcome is Outcome.TIMED_OUT and result.wrong == "timed out" else result.wrong


def _heads(columns: Sequence[ProbeHost]) -> list[str]:
    roles = [column.role for column in columns]
    return ["", *("" if at and roles[at - 1] == role else _TITLES[role] for at, role in enumerate(roles))]


def _line(words: Sequence[str], widths: Sequence[int], starts: set[int]) -> str:
    return "".join(
        f"{'  ' if at else ''}{'  ' if at in starts else ''}{word:<{width}}"
        for at, (word, width) in enumerate(zip(words, widths, strict=True))
    ).rstrip()
