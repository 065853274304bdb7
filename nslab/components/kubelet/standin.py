"""In place of a process that is not there, for `nslab exec`: one command beside a container whose node's process was
killed, or in a network namespace that never had any, the switch."""

from __future__ import annotations

import os
import signal
import socket
import traceback

from nslab import rundir, syscall
from nslab.components.kubelet import adopt
from nslab.components.kubelet.beside import Target
from nslab.components.kubelet.execs import Execs
from nslab.components.runtime.loop import Loop
from nslab.components.runtime.peers import Peer
from nslab.runtime.journal import Journal
from nslab.runtime.marks import VARIABLE, mark
from nslab.runtime.mounts import own_machine, own_run
from nslab.runtime.trust import alive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Never, TypeAlias

    from nslab.components.kubelet.container import Spec
    from nslab.components.runtime.node_context import NodeContext
    from nslab.runtime.marks import Memory

    Find: TypeAlias = Callable[[NodeContext, str, str], Target]


def run(place: NodeContext, memory: Memory, client: int) -> Never:
    """Serve the one request that comes by the socket `client`, as the node's process would. The spawner forks this."""
    _serve(place, memory, client, own_run, _find)


def alone(place: NodeContext, memory: Memory, client: int) -> Never:
    """The same in a namespace without a process, as on a machine of its own."""

    def machine(run: str, tree: int) -> None:
        place.groups.join()
        syscall.unshare(syscall.CLONE_NEWUTS)
        socket.sethostname(place.node)
        own_machine(place.node, run, tree)

    _serve(place, memory, client, machine, lambda *_: Target())


def _serve(place: NodeContext, memory: Memory, client: int, mounts: Callable[[str, int], None], find: Find) -> Never:
    try:
        _enter(place, memory, mounts)
        loop = Loop()
        execs = Execs(loop, place, _nothing, lambda ns, name: find(place, ns, name))
        Peer(loop, socket.socket(fileno=client), execs.begin, _leave)
        while not execs.pids:
            loop.turn()
        (pid,) = execs.pids
        child = os.pidfd_open(pid)
        loop.watch(child, lambda: execs.ended(pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
        while execs.pids:
            loop.turn()
    except BaseException:
        traceback.print_exc()
    finally:
        _leave()


def _enter(place: NodeContext, memory: Memory, mounts: Callable[[str, int], None]) -> None:
    os.setsid()
    memory.show(memory.process_title(f"nslab-exec {place.node}", {VARIABLE: mark(place.ns, "exec")}))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    syscall.prctl(syscall.PR_SET_PDEATHSIG, 0)
    syscall.unshare(syscall.CLONE_NEWNS)
    mounts(place.run, place.run_fd)
    place.settle()


def _find(place: NodeContext, ns: str, name: str) -> Target:
    """The container as the node's next process would find it. The node itself is no more."""
    found = adopt.find(place, alive(f"{place.folder}{rundir.PIDS}"))
    for spec, _, pid in found.containers:
        if (spec.ns, spec.container) == (ns, name):
            return Target(os.dup(found.held[pid]), _asked(place, spec))
    raise ProcessLookupError


def _asked(place: NodeContext, spec: Spec) -> Spec:
    request = Journal(f"{place.folder}{rundir.JOURNAL}").read().get((spec.ns, spec.container))
    return type(spec)(**request) if request else spec


def _nothing() -> None:
    pass


def _leave() -> Never:
    os._exit(0)
