"""Compute the journey of a packet through real nodes, from what was dumped of them: nothing is sent, without root."""

from __future__ import annotations

from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.errors import UsageError
from nslab.linux.dumps import read_dump
from nslab.trace.dump.ends import start, target
from nslab.trace.dump.host import DumpedHost
from nslab.trace.dump.predictor import DumpPredictor
from nslab.trace.dump.services import service_of
from nslab.trace.endpoints import sized
from nslab.trace.hops import Journey
from nslab.trace.predict import probe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from nslab.probes.probe import Kind
    from nslab.trace.rules.packet import HookPacket

JOURNEYS = 1000
"""The maximum number of journeys: a stranger's rules may double them at each hop."""


def script() -> str:
    """The shell script that makes a dump of the node on which it runs."""
    return (files("nslab.trace.dump") / "dump-node.sh").read_text()


def dumped_hosts(folders: Sequence[Path]) -> list[DumpedHost]:
    """The nodes of which the folders are dumps. UsageError if one is none."""
    hosts = [DumpedHost(read_dump(folder)) for folder in folders]
    names = [host.name for host in hosts]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise UsageError(f"two dumps of {twice}: write another name into the file hostname of one")
    return hosts


def trace_dumps(
    hosts: Sequence[DumpedHost], sender: str, to: str, kind: Kind | None = None, size: int = 0
) -> list[Journey]:
    """All journeys that a packet may take through the nodes, each with its chance.

    UsageError if a dump has what no program prints, or if the nodes have no such end.
    """
    aim = sized(target(hosts, to, kind), size)
    assert aim.address
    begin = start(hosts, sender, aim.address)
    found = [*islice(DumpPredictor(hosts).from_start(begin, aim), JOURNEYS + 1)]
    known = [note for host in hosts for note in (*host.notes, *_connected(host, probe(begin.address, aim)))]
    known += [f"there are more journeys: these are the first {JOURNEYS}"] * (len(found) > JOURNEYS)
    label = begin.host if sender == begin.host else sender
    names = ", ".join(host.name for host in hosts)
    return [
        Journey(
            names, label, replace(aim, service=service_of(one.hops)), one.hops, one.end, one.why,
            notes=(*(f"not understood: {doubt}" for doubt in dict.fromkeys(one.doubts)), *known),
            chance=float(one.chance) if one.chance is not None else None, computed=True,
        )
        for one in found[:JOURNEYS]
    ]  # fmt: skip


def _connected(host: DumpedHost, packet: HookPacket) -> Iterator[str]:
    """What conntrack already has of such a connection: its packets go on as they did."""
    for line in host.connections(packet)[:3]:
        yield f"{host.name} has such a connection already, whose packets keep their way: {line[:300]}"
