"""`nslab trace`: one packet, hop by hop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nslab.cli.arguments import Output, RunningLab
from nslab.cli.complete import probed
from nslab.cli.output import Format, document, need_root, say
from nslab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.trace.hops import Journey

_STYLES: dict[str, dict[str, Any]] = {
    "host": {"bold": True}, "hop": {}, "stop": {"fg": "red"}, "cause": {"fg": "cyan"}, "command": {"dim": True}
}  # fmt: skip


def trace(
    name: RunningLab,
    sender: Annotated[str, typer.Argument(metavar="FROM", autocompletion=probed, help="A pod, a node or a client.")],
    to: Annotated[
        str,
        typer.Argument(
            metavar="TO[:PORT]", autocompletion=probed, help="A host, a Service, an address, or a name for DNS."
        ),
    ],
    udp: Annotated[bool, typer.Option("--udp", help="Send a UDP datagram.")] = False,
    icmp: Annotated[bool, typer.Option("--icmp", help="Send an ICMP echo.")] = False,
    predict: Annotated[
        bool, typer.Option("--predict", help="Compute it from the lab's desired state: no packet, and no root.")
    ] = False,
    no_reply: Annotated[bool, typer.Option("--no-reply", help="Do not show the reply.")] = False,
    output: Output = Format.TABLE,
) -> None:
    """Follow one packet and its reply, hop by hop.

    It sends one real packet (the first of a TCP connection, unless you say otherwise), watches it at every interface
    and in every chain, and shows what each host did to it, which rule or route caused that, who wrote that, and a
    command that shows the same. If the packet is lost, it says where and why. It leaves nothing behind. It exits with 1
    if the packet was not delivered.

    Example: nslab trace calico-two-node pod-d svc-b
    """
    if not predict:
        need_root("trace")
    if udp and icmp:
        raise UsageError("--udp or --icmp: a packet is one of them")
    from nslab.probes.probe import Kind

    kind = Kind.UDP if udp else Kind.ICMP if icmp else None
    if predict:
        from nslab.app.predict import predict as compute

        _print_all(compute(name, sender, to, kind), output, reply=not no_reply)
        return
    from nslab.app.trace import trace as follow
    from nslab.trace.hops import End
    from nslab.views import journey as view

    done = follow(name, sender, to, kind)
    if output is not Format.TABLE:
        document(view.to_json(done, reply=not no_reply), output)
    else:
        _print_hops(done, reply=not no_reply)
        for line in (
            *filter(None, [done.deviation]),
            *done.differing,
            *map(view.connection, done.connections),
            *done.notes,
        ):
            say(line)
    if done.end is not End.DELIVERED:
        raise typer.Exit(1)


def _print_hops(journey: Journey, *, reply: bool) -> None:
    from nslab.trace.hops import End
    from nslab.views import journey as view

    say(view.title(journey), bold=True)
    for line in view.asked_names(journey):
        say(line)
    for role, line in view.lines(journey, reply=reply):
        say(line, **_STYLES[role])
    say(f"\n{view.summary(journey)}", fg=None if journey.end is End.DELIVERED else "red")


def _print_all(journeys: Sequence[Journey], output: Format, *, reply: bool) -> None:
    """All that may come, then an exit status: 1 if nothing of it is delivered."""
    from nslab.trace.hops import End
    from nslab.views import journey as view

    if output is not Format.TABLE:
        document([view.to_json(one, reply=reply) for one in journeys], output)
    else:
        for number, one in enumerate(journeys):
            if number:
                say("")
            _print_hops(one, reply=reply)
            for line in one.notes:
                say(f"not understood: {line}")
    if not any(one.end is End.DELIVERED for one in journeys):
        raise typer.Exit(1)
