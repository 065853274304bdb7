"""nslab-node: the process of one node. It is the parent of the node's processes, answers requests, writes the logs.

A kill loses nothing: containers keep running, their pipes hold their output, and the next nslab-node adopts them.
"""

from __future__ import annotations

import contextlib
import os
import socket

from nslab import rundir, syscall
from nslab.components.kubelet.agent import Kubelet
from nslab.components.kubelet.takeover import take_over, was_here
from nslab.components.runtime.lastwords import last_words
from nslab.components.runtime.peers import Peer
from nslab.runtime.folders import make_tree
from nslab.runtime.marks import VARIABLE, mark
from nslab.runtime.mounts import own_machine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Never

    from nslab.components.runtime.node_context import NodeContext
    from nslab.runtime.marks import Memory


def run(context: NodeContext, memory: Memory, client: int) -> Never:
    """Run the nslab-node of `context`. `client`: the socket of its starter, its first peer."""
    try:
        with contextlib.suppress(SystemExit):
            _enter(context, memory)
            left = was_here(context)
            agent = Kubelet(context, memory)
            first = Peer(agent.loop, socket.socket(fileno=client), agent.answer, before_answers=agent.births.release)
            if left:
                take_over(agent)
            first.send({"ok": True, "pid": os.getpid()})
            client = -1  # the peer owns it; its number may be reused
            while True:
                agent.loop.turn()
    except BaseException as error:
        last_words(f"nslab-node {context.node}", error, f"{context.folder}/{rundir.NODE_LOG}", client)
    os._exit(0)


def _enter(context: NodeContext, memory: Memory) -> None:
    context.groups.join()
    os.setsid()
    memory.show(memory.process_title(f"nslab-node {context.node}", {VARIABLE: mark(context.ns, "node")}))
    # Orphans of containers are reparented to this process, not to the machine's init.
    syscall.prctl(syscall.PR_SET_CHILD_SUBREAPER, 1)
    syscall.prctl(syscall.PR_SET_PDEATHSIG, 0)
    syscall.unshare(syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS)
    socket.sethostname(context.node)
    _mounts(context)
    context.remember_home()


def _mounts(context: NodeContext) -> None:
    own_machine(context.node, context.run, context.run_fd)
    for folder in (f"{context.folder}/{rundir.POD_LOGS}", f"{context.folder}/{rundir.LINKS}"):
        make_tree(folder)
    # /var/log/pods and /var/log/containers, as on a node, but not on the machine's disk.
    if os.path.isdir("/var/log"):
        syscall.mount(f"{context.folder}/log", "/var/log", flags=syscall.MS_BIND)
    os.dup2(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), 0)
    log = os.open(f"{context.folder}/{rundir.NODE_LOG}", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir("/")
