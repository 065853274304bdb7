"""`nslab trace`: one packet, hop by hop; `nslab dump-node`: what it needs of a real node."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from nslab.cli.arguments import RunningLab
from nslab.cli.complete import probed
from nslab.cli.deliver import OpenOption, WriteOption, deliver
from nslab.cli.output import Format, document, need_root, say
from nslab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.probes.probe import Kind
    from nslab.trace.hops import Journey

    Packet: TypeAlias = tuple[Kind | None, int]
    """Its kind, or None for the port's own, and its size in bytes, or 0."""


class Shown(StrEnum):
    """The formats of a journey."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    HTML = "html"


_STYLES: dict[str, dict[str, Any]] = {
    "host": {"bold": True}, "hop": {}, "stop": {"fg": "red"}, "cause": {"fg": "cyan"}, "command": {"dim": True}
}  # fmt: skip


Sender = Annotated[str, typer.Argument(metavar="FROM", autocompletion=probed, help="A pod, a node or a client.")]
Aim = Annotated[
    str,
    typer.Argument(
        metavar="TO[:PORT]", autocompletion=probed, help="A host, a Service, an address, or a name for DNS."
    ),
]
Predict = Annotated[
    bool, typer.Option("--predict", help="Compute it from the lab's desired state: no packet, and no root.")
]
Size = Annotated[
    int,
    typer.Option(metavar="BYTES", help="With --udp or --icmp: the size of the IP packet, which no host may fragment."),
]
Dumps = Annotated[
    list[Path] | None,
    typer.Option(
        "--dump", metavar="DIR", help="Compute it from the dump of a real node, instead of LAB; once for each node."
    ),
]
Output = Annotated[Shown, typer.Option("--output", "-o", help="table, json, yaml or html (a page to step through).")]


def trace(
    name: RunningLab,
    sender: Sender = "",
    to: Aim = "",
    udp: Annotated[bool, typer.Option("--udp", help="Send a UDP datagram.")] = False,
    icmp: Annotated[bool, typer.Option("--icmp", help="Send an ICMP echo.")] = False,
    size: Size = 0,
    predict: Predict = False,
    dump: Dumps = None,
    no_reply: Annotated[bool, typer.Option("--no-reply", help="Do not show the reply.")] = False,
    output: Output = Shown.TABLE,
    write: WriteOption = "",
    opened: OpenOption = False,
) -> None:
    """Follow one packet and its reply, hop by hop.

    It opens a real TCP connection (unless you say otherwise), asks a pod's server for /, resets it, and follows its
    first packet, at every interface and in every chain. It shows what each host did to it, which rule or route caused
    that and which accepted it, who wrote them, and a command that shows the same. If the packet is lost, it says where
    and why. It leaves nothing behind but a line in the server's log. It exits with 1 if the packet was not delivered.
    The page (-o html, or --open) shows the lab's picture, in which the packet walks step by step.

    `--dump DIR` computes the way through real nodes, from their own rules, instead: FROM and TO are addresses or the
    nodes' names, and there is no LAB. `nslab dump-node` says how to take a dump.

    Example: nslab trace calico-two-node pod-d svc-b
    """
    output = Shown.HTML if opened and output is Shown.TABLE else output
    if (write or opened) and output is not Shown.HTML:
        raise UsageError("-w and --open go with -o html")
    if dump and output is Shown.HTML:
        raise UsageError("a page shows a lab's picture, and dumps of nodes are no lab: -o table or -o json")
    kind = _kind(udp=udp, icmp=icmp)
    packet = kind, size
    journeys = _dumped(dump, name, sender, to, packet) if dump else _of_lab(name, sender, to, packet, predict=predict)
    if output is Shown.HTML:
        deliver(_page(name, journeys), ".html", write=write, opened=opened)
    elif output is not Shown.TABLE:
        _print_document(journeys, Format(output), reply=not no_reply, several=predict or bool(dump))
    else:
        _print_all(journeys, reply=not no_reply)
    _exit(journeys)


def _kind(*, udp: bool, icmp: bool) -> Kind | None:
    from nslab.probes.probe import Kind

    if udp and icmp:
        raise UsageError("--udp or --icmp: a packet is one of them")
    return Kind.UDP if udp else Kind.ICMP if icmp else None


def _exit(journeys: Sequence[Journey]) -> None:
    """Exit with 1 if no packet was delivered, as far as anybody can see."""
    from nslab.trace.hops import End

    if not any(one.end in (End.DELIVERED, End.LEFT) for one in journeys):
        raise typer.Exit(1)


def _of_lab(name: str, sender: str, to: str, packet: Packet, *, predict: bool) -> Sequence[Journey]:
    if not to:
        raise UsageError("say what to trace: nslab trace LAB FROM TO[:PORT]")
    if predict:
        from nslab.app.predict import predict as compute

        return compute(name, sender, to, *packet)
    need_root("trace")
    from nslab.app.trace import trace as follow

    return [follow(name, sender, to, *packet)]


def _page(name: str, journeys: Sequence[Journey]) -> str:
    from nslab.app.desired import desired
    from nslab.app.graph import pictured
    from nslab.views.page import page

    found = pictured(desired(name))
    return page(found.graph, found.state, journeys)


def _print_document(journeys: Sequence[Journey], output: Format, *, reply: bool, several: bool) -> None:
    """A prediction is a list of all that may come; what was followed is one journey."""
    from nslab.views import journey as view

    plain = [view.to_json(one, reply=reply) for one in journeys]
    document(plain if several else plain[0], output)


def _print_all(journeys: Sequence[Journey], *, reply: bool) -> None:
    from nslab.views import journey as view

    for number, one in enumerate(journeys):
        if number:
            say("")
        _print_hops(one, reply=reply)
        for line in (*view.findings(one), *one.notes):
            say(line)


def _dumped(dumps: Sequence[Path], sender: str, to: str, more: str, packet: Packet) -> Sequence[Journey]:
    if more:
        raise UsageError("--dump stands for LAB: nslab trace --dump DIR FROM TO:PORT")
    if not to:
        raise UsageError(f"say where it goes: nslab trace --dump DIR {sender} TO:PORT")
    from nslab.app.dumps import dumped_hosts, trace_dumps

    return trace_dumps(dumped_hosts(dumps), sender, to, *packet)


def dump_node() -> None:
    """Print a shell script that dumps what a node's kernel would do to packets. For `trace --dump`.

    The script needs nothing but sh and what the node has; it reads as root, and changes nothing. With its output into
    `tar x`, there is a folder nslab-dump-NODE here. A program that the node lacks is named in its file `notes`.

    Example: nslab dump-node | ssh node1 sudo sh | tar x
    """
    from nslab.app.dumps import script

    say(script(), nl=False)


def _print_hops(journey: Journey, *, reply: bool) -> None:
    from nslab.trace.hops import End
    from nslab.views import journey as view

    say(view.title(journey), bold=True)
    for line in view.asked_names(journey):
        say(line)
    for role, line in view.lines(journey, reply=reply):
        say(line, **_STYLES[role])
    say(f"\n{view.summary(journey)}", fg=None if journey.end in (End.DELIVERED, End.LEFT) else "red")
