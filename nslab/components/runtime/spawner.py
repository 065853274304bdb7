"""The spawner: a small process that `up` starts early and asks for others. It ends with `up`; the others stay.

It is executed from a copy of the interpreter's mount that can only be read, and so are all that are forked from it: no
container can write to what this machine runs.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket

from nslab import rundir, syscall
from nslab.components.apiserver import control
from nslab.components.kubelet import agent, standin
from nslab.components.runtime.lastwords import complain
from nslab.components.runtime.node_context import NET, NodeContext
from nslab.components.runtime.rootfs import Template
from nslab.runtime import rpc
from nslab.runtime.cgroups import Groups
from nslab.runtime.marks import VARIABLE, Memory
from nslab.runtime.mounts import detach_below
from nslab.runtime.trust import Births

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Never, TypeAlias

    Be: TypeAlias = Callable[[NodeContext, Memory, int], Never]


def serve(descriptor: int, pods: int, run: str) -> None:
    """Fork an nslab-node, nslab-control or stand-in for each request on the socket, until its other end is closed.

    `pods`: a copy of the mount of the lab's folder of pods' files; `run`: the lab's folder.
    """
    syscall.prctl(syscall.PR_SET_PDEATHSIG, signal.SIGKILL)
    # Whoever is forked from here and runs no other program: no container may open its files, root or memory.
    syscall.prctl(syscall.PR_SET_DUMPABLE, 0)
    # The collector writes into every object that it visits, so each child would soon own a copy of them all.
    gc.disable()
    os.umask(0o077)
    lab = os.environ[VARIABLE].split(" ")[0]
    memory = Memory()
    # Children are born with this mark, so there is no moment in which they are not the lab's.
    memory.show(memory.process_title(f"nslab-spawner {lab}", {VARIABLE: f"{lab} spawner"}))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for `up`, which rolls back with our help
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a node
    groups = Groups(run)
    # By descriptor: the mount of the folder is one of those that we let go of.
    folder = f"/proc/self/fd/{os.open(run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)}"
    births: Births | None = None
    _shed_mounts()
    template = Template(pods)
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    up = socket.socket(fileno=descriptor)
    while True:
        text, (ns_dir, run_fd, client) = _receive(up)
        request = json.loads(text)
        what, ns = request["what"], request["ns"]
        context = NodeContext(ns, run, ns_dir, run_fd, template, groups)

        def child(context: NodeContext = context, client: int = client, be: Be = _BE[what]) -> None:
            up.close()
            be(context, memory, client)

        try:
            if what in _LASTING:
                births = births or _journal(f"{folder}/{rundir.STARTED}")
                births.fork(ns, what, child, born=_inside(context, home))
            else:
                with _inside(context, home):
                    if os.fork() == 0:
                        child()
        except OSError as error:
            complain(client, f"nslab-{what}: {error.strerror}")
        for fd in (ns_dir, run_fd, client):
            os.close(fd)


_BE: dict[str, Be] = {"node": agent.run, "control": control.run, "exec": standin.run, "alone": standin.alone}
_LASTING = ("node", "control")
"""Who outlives us, and is written down: `up` asks for them, and no two at the same time."""


def _journal(path: str) -> Births:
    births = Births(path)
    for _, pidfd in births.adopt():
        os.close(pidfd)
    return births


@contextlib.contextmanager
def _inside(context: NodeContext, home: int) -> Iterator[None]:
    """Who is forked in here is born in the namespace of its node: it is the lab's from its first moment."""
    context.enter(context.ns)
    try:
        yield
    finally:
        syscall.setns(home, NET)


def _receive(up: socket.socket) -> tuple[bytes, tuple[int, ...]]:
    message = rpc.receive_descriptors(up, 1 << 16, 3)
    if not message[0]:
        os._exit(0)  # `up` is gone
    return message


def _shed_mounts() -> None:
    # Every mount namespace copies every mount, and every named network namespace is one, of all labs on this machine:
    # let go of them once, here, before anything is cloned. Private first, or the machine would lose them too.
    syscall.unshare(syscall.CLONE_NEWNS)
    syscall.mount("none", "/", flags=syscall.MS_REC | syscall.MS_PRIVATE)
    detach_below("/run", "/sys")
