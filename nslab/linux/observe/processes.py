"""Unmanaged processes and listening sockets in a lab's namespaces."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nslab.linux.netlink import sockets as sockets_of
from nslab.linux.observe.place import is_safe_to_ask
from nslab.objects.unmanaged import Unmanaged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.linux.observe.place import Found, ObservedNamespace


def processes(place: ObservedNamespace) -> Found:
    """Processes that nobody of the lab started, with the ports that they listen on."""
    ports = _listening() if place.processes else {}
    return (), [
        Unmanaged(
            place.ns,
            f"process {record.pid} ({record.name}){_listens(ports, record.pid)}",
            (f"kill -KILL {record.pid}",),
            record.pid,
            record.start,
            acts_on_packets=False,
        )
        for record in place.processes
    ]


def _listens(ports: Mapping[int, str], pid: int) -> str:
    mine = sorted(ports[inode] for inode in held([pid]) if inode in ports)
    return f" listens on {', '.join(mine)}" if mine else ""


def sockets(place: ObservedNamespace) -> Found:
    """Listening sockets that no process in this namespace holds: a process that has left made them."""
    ports = _listening()
    unknown = ports.keys() - place.sockets
    if not unknown:
        return (), ()
    unknown -= held(record.pid for record in place.processes)
    return (), [
        Unmanaged(place.ns, f"socket of process {holder} listens on {ports[inode]}", acts_on_packets=False)
        for inode in sorted(unknown)
        if (holder := _holder(inode))
    ]


def _listening() -> dict[int, str]:
    return sockets_of.listening(by_diag=all(map(is_safe_to_ask, sockets_of.MODULES)))


def held(pids: Iterable[int]) -> set[int]:
    """The numbers of the sockets that these processes hold."""
    return {inode for pid in pids for inode in _sockets(pid)}


def _sockets(pid: int) -> Iterator[int]:
    folder = f"/proc/{pid}/fd"
    try:
        descriptors = os.listdir(folder)
    except OSError:  # it ended
        return
    for descriptor in descriptors:
        try:
            target = os.readlink(f"{folder}/{descriptor}")
        except OSError:
            continue
        if target.startswith("socket:["):
            yield int(target[8:-1])


def _holder(inode: int) -> str:
    """The process that holds a socket, wherever it runs; nothing, if the kernel itself does (a VXLAN tunnel's)."""
    for entry in filter(str.isdigit, os.listdir("/proc")):
        if inode in _sockets(int(entry)):
            with open(f"/proc/{entry}/comm") as file:
                return f"{entry} ({file.read().strip()})"
    return ""
