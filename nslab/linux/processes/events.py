"""The events that the nodes' processes keep, asked of all of them at once."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from nslab import rundir
from nslab.linux.netns import folder
from nslab.linux.processes.connection import Connection
from nslab.linux.timeouts import scaled
from nslab.runtime import rpc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SECONDS = scaled(2.0)
"""What all nodes together may take; a stopped one says nothing."""


def read_events(lab: str, nodes: Iterable[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return each node's records (nslab.components.kubelet.events), with its name; none of a node that is silent."""
    deadline = time.monotonic() + SECONDS
    with contextlib.ExitStack() as opened:
        lines: dict[str, Connection] = {}
        for node in nodes:
            with contextlib.suppress(OSError):
                socket = opened.enter_context(rpc.connect(folder(lab) / rundir.node(node, rundir.SOCKET)))
                lines[node] = Connection(socket)
                lines[node].send([{"op": "events"}], deadline)
        return [(node, record) for node, line in lines.items() for record in _records(line, deadline)]


def _records(line: Connection, deadline: float) -> Iterator[dict[str, Any]]:
    with contextlib.suppress(OSError):
        yield from line.receive(1, deadline)[0].get("events", ())
