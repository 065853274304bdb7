"""BIRD: the program of a distribution as a process of a node. The routes that it wrote outlive it."""

from __future__ import annotations

import contextlib
import os
import signal

from nslab import rundir
from nslab.components.apiserver.records import replace
from nslab.components.kubelet.rights import Rights
from nslab.runtime.folders import make_tree
from nslab.runtime.marks import VARIABLE, mark
from nslab.runtime.mounts import BIRD

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.components.runtime.node_context import NodeContext
    from nslab.runtime.trust import Births

NET_BIND_SERVICE, NET_ADMIN, NET_RAW = 10, 12, 13
CAPABILITIES = 1 << NET_BIND_SERVICE | 1 << NET_ADMIN | 1 << NET_RAW
"""For port 179, the routes, and its sockets' interfaces."""
CLIENTS = ("birdc", "birdcl")
LIBRARIES = "lib"
"""The folder beside an unpacked bird with the libraries that the machine may lack."""


def start(context: NodeContext, births: Births, program: str, config: str, clean: Callable[[], None]) -> int:
    """Fork a node's BIRD and return its pid."""
    folder = f"{context.folder}/{rundir.BIRD}"
    make_tree(folder)
    _write(context, config)
    show(context)
    for name in CLIENTS:
        _link(f"{folder}/{name}", f"{os.path.dirname(program)}/{name}")
    rights = Rights(mask=CAPABILITIES)
    # -R: it takes over the routes that it finds, until its peers have told it theirs.
    argv = [program, "-f", "-R", "-c", rundir.BIRD_CONFIG, "-s", rundir.BIRD_SOCKET, "-P", rundir.BIRD_PID]
    environment = {VARIABLE: mark(context.ns, "bird"), "LC_ALL": "C"}
    libraries = f"{os.path.dirname(program)}/{LIBRARIES}"
    if os.path.isdir(libraries):
        environment["LD_LIBRARY_PATH"] = libraries

    def child() -> None:
        clean()
        os.setsid()
        os.umask(0o077)
        os.chdir(folder)
        # Above all the node's socket: once the node's process is dead, connections to it must be refused.
        os.closerange(3, 1 << 20)
        try:
            rights.drop()
            os.execve(program, argv, environment)
        except OSError as error:
            os.write(2, f"BIRD: {program}: {error.strerror}\n".encode())
        os._exit(1)

    return births.fork(context.ns, "bird", child)


def configure(context: NodeContext, pidfd: int, config: str) -> None:
    """Have a running BIRD read another configuration."""
    try:
        _write(context, config)
        signal.pidfd_send_signal(pidfd, signal.SIGHUP)
    finally:
        os.close(pidfd)


def _write(context: NodeContext, config: str) -> None:
    """Replace the configuration, which BIRD reads at its start, at `birdc configure` and on SIGHUP."""
    replace(f"{context.folder}/{rundir.BIRD}/{rundir.BIRD_CONFIG}", config)


def show(context: NodeContext) -> None:
    """Have BIRD's folder where its clients, and people, look for it on the node."""
    _link(BIRD, f"{context.folder}/{rundir.BIRD}")


def _link(name: str, target: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name)
    os.symlink(target, name)
