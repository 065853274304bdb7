"""Stand-ins for a missing process, for `nslab exec`: they run one command in a container whose node's process was
killed, or in a network namespace without any process, such as the switch."""

from __future__ import annotations

import os
import signal
import socket

from nslab import rundir, syscall
from nslab.components.kubelet import adopt
from nslab.components.kubelet.beside import Target
from nslab.components.kubelet.execs import Execs
from nslab.components.runtime.loop import Loop
from nslab.components.runtime.peers import Peer
from nslab.runtime.handlers import DEFAULT, handle
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


def run(context: NodeContext, memory: Memory, client: int) -> Never:
    """Serve one request on the socket `client` as the node's process would. The spawner forks this."""
    _serve(context, memory, client, own_run, _find)


def alone(context: NodeContext, memory: Memory, client: int) -> Never:
    """Like `run`, for a namespace without a process, which looks like a machine of its own."""

    def machine(run: str, tree: int) -> None:
        context.groups.join()
        syscall.unshare(syscall.CLONE_NEWUTS)
        socket.sethostname(context.node)
        own_machine(context.node, run, tree)

    _serve(context, memory, client, machine, lambda *_: Target())


def _serve(context: NodeContext, memory: Memory, client: int, mounts: Callable[[str, int], None], find: Find) -> Never:
    try:
        _enter(context, memory, mounts)
        loop = Loop()
        execs = Execs(loop, context, _nothing, lambda ns, name: find(context, ns, name))
        Peer(loop, socket.socket(fileno=client), execs.begin, _leave)
        while not execs.pids:
            loop.turn()
        (pid,) = execs.pids
        child = os.pidfd_open(pid)
        loop.watch(child, lambda: execs.ended(pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
        while execs.pids:
            loop.turn()
    except BaseException:
        import traceback  # half a megabyte of the library

        traceback.print_exc()
    finally:
        _leave()


def _enter(context: NodeContext, memory: Memory, mounts: Callable[[str, int], None]) -> None:
    os.setsid()
    memory.show(memory.process_title(f"nslab-exec {context.node}", {VARIABLE: mark(context.ns, "exec")}))
    handle(signal.SIGCHLD, DEFAULT)
    syscall.prctl(syscall.PR_SET_PDEATHSIG, 0)
    syscall.unshare(syscall.CLONE_NEWNS)
    mounts(context.run, context.run_fd)
    context.remember_home()


def _find(context: NodeContext, ns: str, name: str) -> Target:
    """Find the container as the node's next process would. ProcessLookupError for the node itself."""
    found = adopt.find(context, alive(f"{context.folder}{rundir.PIDS}"))
    for spec, _, pid in found.containers:
        if (spec.ns, spec.container) == (ns, name):
            return Target(os.dup(found.held[pid]), _asked(context, spec))
    raise ProcessLookupError


def _asked(context: NodeContext, spec: Spec) -> Spec:
    request = Journal(f"{context.folder}{rundir.JOURNAL}").read().get((spec.ns, spec.container))
    return type(spec)(**request) if request else spec


def _nothing() -> None:
    pass


def _leave() -> Never:
    os._exit(0)
