"""The kernel's memory statistics, and a wait for its background cleanup."""

from __future__ import annotations

import os
import socket
import subprocess
import time

from nslab.linux import owned
from nslab.syscall import CLONE_NEWNET, setns, unshare
from nslab.wire.netlink import DELLINK, messages

_RTMGRP_LINK = 1


def tidied() -> float:
    """Wait until the kernel has freed all network namespaces released before; return the milliseconds of waiting.

    It frees them in order, in the background. So this creates one more, with a veth to another namespace, and releases
    it: when the other end of the veth is gone, the kernel has freed all earlier namespaces.
    """
    started = time.perf_counter()
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        unshare(CLONE_NEWNET)
        watch = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        watch.bind((0, _RTMGRP_LINK))
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        unshare(CLONE_NEWNET)
        there = f"/proc/{os.getpid()}/fd/{here}"
        argv = ["ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", there]
        subprocess.run(argv, check=True)
    finally:
        setns(home)
        os.close(home)
    with watch:
        while all(kind != DELLINK for kind, _, _ in messages(watch.recv(1 << 16))):
            pass
    os.close(here)
    return (time.perf_counter() - started) * 1000


def memory(text: str) -> dict[str, int]:
    """Parse a file like /proc/meminfo or /proc/PID/smaps_rollup: kB by name."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if rest.endswith(" kB"):
            found[name] = int(rest.split()[0])
    return found


def available() -> dict[str, int]:
    """The current /proc/meminfo."""
    with open("/proc/meminfo") as file:
        return memory(file.read())


def private(lab: str, role: str) -> list[int]:
    """Private memory of each process with a role, in kB."""
    found = []
    for record in owned.processes(lab):
        if record.role == role:
            with open(f"/proc/{record.pid}/smaps_rollup") as file:
                pages = memory(file.read())
            found.append(pages["Private_Clean"] + pages["Private_Dirty"])
    return found
