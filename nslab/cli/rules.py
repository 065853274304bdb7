"""`nslab rules`: the rules of a node as a tree, with counters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nslab.cli.arguments import RunningLab
from nslab.cli.complete import capturable
from nslab.cli.output import Format, LineFormat, document, flush, json_line, need_root, note, say, terminal_columns
from nslab.errors import UsageError

if TYPE_CHECKING:
    from nslab.app.rules import TimedHit

_STYLES: dict[str, dict[str, Any]] = {"chain": {"bold": True}, "rule": {}, "hand": {"fg": "red"}}


def rules(
    name: RunningLab,
    host: Annotated[str, typer.Argument(metavar="NODE", autocompletion=capturable, help="A node, or another host.")],
    service: Annotated[str, typer.Option(metavar="NAME", help="Only what leads to this Service.")] = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Print what rules match, as it happens.")] = False,
    duration: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0.0, help="With --watch: end after so many seconds.")
    ] = None,
    output: Annotated[LineFormat, typer.Option("--output", "-o", help="text or json.")] = LineFormat.TEXT,
) -> None:
    """Show a node's rules as a tree: which chain leads where, for which Service, with live counters.

    Below each rule stands the chain to which it leads, where it is met first; a rule that draws lots has its chance,
    and one that is not the lab's is named. A table shows what each endpoint of a Service should get by these chances,
    and what it really got: connections as rules or IPVS have counted them, or, in nftables mode, whose rules have no
    counters, as conntrack has them. --watch prints the rules that match, as it happens, until Ctrl-C.

    Example: nslab rules calico-two-node node2 --service svc-b
    """
    need_root("rules")
    if duration is not None and not watch:
        raise UsageError("--duration is for --watch")
    from nslab.app.rules import node_rules, service_of
    from nslab.views import rule_tree as view

    chosen = service_of(name, service) if service else ""
    if watch:
        _watch(name, host, chosen, duration, output)
        return
    found = node_rules(name, host)
    if output is LineFormat.JSON:
        document(view.to_json(found, chosen), Format.JSON)
        return
    say(view.title(found), bold=True)
    for line in view.tree(found, chosen):
        say(line.text, **_STYLES[line.role])
    if shares := view.shares_table(found, chosen, terminal_columns()):
        say(f"\n{shares}")
    for sentence in found.notes:
        note(sentence)


def _watch(name: str, host: str, service: str, duration: float | None, output: LineFormat) -> None:
    from nslab.app.rules import watching

    with watching(name, host) as watched:
        note(f"watching the rules of {host}; Ctrl-C ends it")
        for one in watched.hits(duration):
            if not service or one.hit.service.partition(":")[0] == service:
                _print(one, output)
        if watched.overruns:
            note(f"{watched.overruns} times the kernel had more to tell than was read in time")


def _print(one: TimedHit, output: LineFormat) -> None:
    from nslab.views.hits import hit_json, hit_line

    if output is LineFormat.JSON:
        json_line(hit_json(one.at, one.hit))
    else:
        say(hit_line(one.at, one.hit))
        flush()
