"""What the kernel says of its memory, and when it has tidied up."""

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
    """Wait until the kernel has ended every network namespace that was let go of before; milliseconds of waiting.

    It ends them one after the other in the background. So one more is made, with a cable to another namespace, and let
    go of: when that end of the cable is gone, all that was before it is gone.
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
    """kB by name of a file like /proc/meminfo or /proc/PID/smaps_rollup."""
    found = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if rest.endswith(" kB"):
            found[name] = int(rest.split()[0])
    return found


def available() -> dict[str, int]:
    """/proc/meminfo, now."""
    with open("/proc/meminfo") as file:
        return memory(file.read())


def private(lab: str, role: str) -> list[int]:
    """kB that each process of a role has to itself."""
    found = []
    for record in owned.processes(lab):
        if record.role == role:
            with open(f"/proc/{record.pid}/smaps_rollup") as file:
                pages = memory(file.read())
            found.append(pages["Private_Clean"] + pages["Private_Dirty"])
    return found
