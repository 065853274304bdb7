"""What BIRD answers on its control socket, as rows: its sessions, as calicoctl shows them, and the routes learned."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nslab.bgp.speaker import PEER_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SESSIONS, ROUTES = "show protocols", "show route all where source = RTS_BGP"
"""The commands that `sessions` and `routes` read the answers to."""

_END = re.compile(r"\d{4} ")
_CODE = re.compile(r"\d{4}-| ")
_SESSION = re.compile(r"(?P<kind>[A-Z][a-z]+)_(?P<peer>[\d_]+) +BGP +\S+ +(?P<state>\S+) +(?P<since>\S+)(?P<info>.*)")
_ROUTE = re.compile(r"(?P<network>[\d./]+)? +unicast \[(?P<session>\S+) (?P<since>\S+?)(?: from \S+)?\](?P<best> \*)?")


def complete(answer: str) -> bool:
    """Whether an answer has its last line, whose code is followed by a space."""
    return answer.endswith("\n") and bool(_END.match(answer.splitlines()[-1]))


def lines(answer: str) -> list[str]:
    """The lines of an answer without their codes."""
    return [_CODE.sub("", line, count=1) for line in answer.splitlines()]


def sessions(answer: Iterable[str]) -> Iterator[dict[str, Any]]:
    """A row for each BGP session, with the words of `calicoctl node status`."""
    for line in answer:
        if found := _SESSION.match(line):
            yield {
                "peerAddress": found["peer"].replace("_", "."),
                "peerType": PEER_TYPES.get(found["kind"], found["kind"]),
                "state": found["state"],
                "since": _whole(found["since"]),
                "info": " ".join(found["info"].split()),
            }


def routes(answer: Iterable[str]) -> Iterator[dict[str, Any]]:
    """A row for each route that a peer announced. `via`: whom packets go to; `best`: whether it is in use."""
    network, row = "", dict[str, Any]()
    for line in answer:
        if found := _ROUTE.match(line):
            if row:
                yield row
            network = found["network"] or network  # a second route to a network does not repeat it
            row = {"network": network, "nextHop": "", "peer": _peer(found["session"]), "asPath": ""}
            row |= {"best": bool(found["best"]), "since": _whole(found["since"])}
        elif row:
            name, _, value = line.strip().partition(": ")
            column = {"BGP.next_hop": "nextHop", "BGP.as_path": "asPath"}.get(name.rstrip(":"))
            if column:
                row[column] = value.split(" ")[0] if column == "nextHop" else value
    if row:
        yield row


def _peer(session: str) -> str:
    return session.partition("_")[2].replace("_", ".")


def _whole(since: str) -> str:
    """The time of the day, or the date, without its thousandths."""
    return since.partition(".")[0]
