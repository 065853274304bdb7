"""The spawner: a small process that `up` starts early and that forks the lab's processes. It ends with `up`.

It runs from a read-only copy of the interpreter's mount, and so do all its forks: through /proc/PID/exe no container
can write to the machine's interpreter.
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
from nslab.components.kubelet import process, standin
from nslab.components.kubelet.rights import Rights
from nslab.components.runtime.lastwords import complain
from nslab.components.runtime.node_context import NET, NodeContext
from nslab.components.runtime.rootfs import Template
from nslab.runtime import rpc
from nslab.runtime.cgroups import Groups
from nslab.runtime.handlers import IGNORE, handle
from nslab.runtime.marks import VARIABLE, Memory, mark
from nslab.runtime.mounts import detach_below
from nslab.runtime.trust import Births

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Never, TypeAlias

    Be: TypeAlias = Callable[[NodeContext, Memory, int], Never]


def serve(descriptor: int) -> None:
    """Fork an nslab-node, nslab-control or stand-in for each request on the socket, until EOF.

    The first message is the lab, with a detached mount of its folder of pods' files.
    """
    syscall.prctl(syscall.PR_SET_PDEATHSIG, signal.SIGKILL)
    # Not dumpable, nor are forks without exec: no container may open their files, root or memory in /proc.
    syscall.prctl(syscall.PR_SET_DUMPABLE, 0)
    # The garbage collector writes to every object that it visits, so each child would soon copy all pages.
    gc.disable()
    os.umask(0o077)
    up = socket.socket(fileno=descriptor)
    text, (pods,) = _receive(up)
    lab, run = json.loads(text)
    memory = Memory()
    # Children inherit this mark, so that they belong to the lab from their first moment.
    memory.show(memory.process_title(f"nslab-spawner {lab}", {VARIABLE: mark(f"nslab.{lab}.", "spawner")}))
    handle(signal.SIGINT, IGNORE)  # Ctrl-C is for `up`, whose rollback needs the spawner
    handle(signal.SIGCHLD, IGNORE)  # the kernel reaps nodes' processes
    Rights()  # what it works out once and keeps would be each child's own memory
    groups = Groups(run)
    # Through a descriptor: `_shed_mounts` detaches the folder's mount.
    folder = f"/proc/self/fd/{os.open(run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)}"
    births: Births | None = None
    _shed_mounts()
    template = Template(pods)
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
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
                births.fork(ns, what, child, around=_inside(context, home))
            else:
                with _inside(context, home):
                    if os.fork() == 0:
                        child()
        except OSError as error:
            complain(client, f"nslab-{what}: {error.strerror}")
        for fd in (ns_dir, run_fd, client):
            os.close(fd)


_BE: dict[str, Be] = {"node": process.run, "control": control.run, "exec": standin.run, "alone": standin.alone}
_LASTING = ("node", "control")
"""The kinds of processes that outlive the spawner and stand in the journal; only `up` requests them."""


def _journal(path: str) -> Births:
    births = Births(path)
    for _, pidfd in births.adopt():
        os.close(pidfd)
    return births


@contextlib.contextmanager
def _inside(context: NodeContext, home: int) -> Iterator[None]:
    """Fork inside the namespace of the node, so that the child belongs to the lab from its first moment."""
    context.enter(context.ns)
    try:
        yield
    finally:
        syscall.setns(home, NET)


def _receive(up: socket.socket) -> tuple[bytes, tuple[int, ...]]:
    message = rpc.receive_descriptors(up, 1 << 16, 3)
    if not message[0]:
        os._exit(0)  # `up` has ended
    return message


def _shed_mounts() -> None:
    # Each mount namespace copies all mounts, and each named network namespace of each lab is a mount. Detach them once,
    # before any clone. Private first: otherwise the umounts would propagate to the machine.
    syscall.unshare(syscall.CLONE_NEWNS)
    syscall.mount("none", "/", flags=syscall.MS_REC | syscall.MS_PRIVATE)
    detach_below("/run", "/sys")
