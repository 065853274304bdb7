"""`nslab events`: what happens in a lab, as it happens."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from nslab.cli.arguments import RunningLab
from nslab.cli.output import LineFormat, flush, json_line, need_root, note, say


def events(
    name: RunningLab,
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="SECONDS", min=0.0, help="End after so many seconds.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", "-c", metavar="N", min=1, help="End after so many events.")
    ] = None,
    output: Annotated[LineFormat, typer.Option("--output", "-o", help="text or json.")] = LineFormat.TEXT,
) -> None:
    """Print what happens in a lab, a line each, as it happens.

    Links, addresses, routes and neighbours of every host; the rules of nftables and of iptables-nft that come and go;
    connections as conntrack makes and forgets them, with what NAT does to them; pods and endpoints as the nodes publish
    them. Addresses have the names of pods, nodes and Services. The kernel says no time: what one host tells of its
    interfaces, or of its rules and connections, comes in order; what several hosts tell in one moment may come in any.
    It ends on Ctrl-C, and says whether the kernel had more to tell than was read in time. Kubernetes' Events, which
    kubelets and controllers report, are `nslab get LAB events`.

    Example: nslab events calico-two-node
    """
    need_root("events")
    from nslab.app.events import lab_events
    from nslab.views.lab_events import event_json, event_line
    from nslab.views.packets import width

    with lab_events(name) as heard:
        for sentence in heard.notes:
            note(sentence)
        note(f"hearing {len(heard.hosts)} hosts; Ctrl-C ends it")
        for event in islice(heard.events(duration), count):
            if output is LineFormat.JSON:
                json_line(event_json(event))
            else:
                say(event_line(event, width(heard.hosts)))
                flush()
        if heard.overruns:
            note(f"{heard.overruns} times the kernel had more to tell than was read in time: some events are missing")
