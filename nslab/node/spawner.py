"""The spawner: a small process that `up` starts early and asks for others. It ends with `up`; the others stay."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket

from nslab import syscall
from nslab.node import agent, control, standin
from nslab.node.marks import VARIABLE, Memory
from nslab.node.mounts import detach_below
from nslab.node.place import Place


def serve(descriptor: int) -> None:
    """Fork an nslab-node or nslab-control for each request on the socket, until its other end is closed."""
    syscall.prctl(syscall.PR_SET_PDEATHSIG, signal.SIGKILL)
    # The collector writes into every object that it visits, so each child would soon own a copy of them all.
    gc.disable()
    lab = os.environ[VARIABLE].split(" ")[0]
    memory = Memory()
    # Children are born with this mark, so there is no moment in which they are not the lab's.
    memory.show(memory.guise(f"nslab-spawner {lab}", {VARIABLE: f"{lab} spawner"}))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for `up`, which rolls back with our help
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a node
    _shed_mounts()
    up = socket.socket(fileno=descriptor)
    while True:
        text, (ns_dir, run, client), _, _ = _receive(up)
        if os.fork() == 0:
            up.close()
            request = json.loads(text)
            be = {"node": agent.run, "control": control.run, "exec": standin.run}[request.pop("what")]
            be(Place(**request, ns_dir=ns_dir, run_fd=run), memory, client)
        for fd in (ns_dir, run, client):
            os.close(fd)


def _receive(up: socket.socket) -> tuple[bytes, list[int], int, object]:
    message = socket.recv_fds(up, 1 << 16, 3)
    if not message[0]:
        os._exit(0)  # `up` is gone
    return message


def _shed_mounts() -> None:
    # Every mount namespace copies every mount, and every named network namespace is one, of all labs on this machine:
    # let go of them once, here, before anything is cloned. Private first, or the machine would lose them too.
    syscall.unshare(syscall.CLONE_NEWNS)
    syscall.mount("none", "/", flags=syscall.MS_REC | syscall.MS_PRIVATE)
    detach_below("/run", "/sys")
