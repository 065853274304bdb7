"""Processes of the kubelet's for probes and hooks: commands in containers, and gRPC probes on the node.

Imported for the first of them.
"""

from __future__ import annotations

import os
import sys
import time

from nslab.components.kubelet.beside import STARTED
from nslab.components.kubelet.execs import Session, start
from nslab.components.kubelet.exit_status import exit_code
from nslab.runtime import rpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from nslab.components.kubelet.beside import Target
    from nslab.components.kubelet.container import Spec
    from nslab.components.kubelet.execs import Execs
    from nslab.components.kubelet.prober import Ran
    from nslab.components.runtime.loop import Loop
    from nslab.components.runtime.node_context import NodeContext
    from nslab.runtime.health_check import HealthCheck

    class KubeletForCommands(Protocol):
        """What they need of their node's process (nslab.components.kubelet.agent)."""

        loop: Loop
        context: NodeContext
        execs: Execs

        def clean(self) -> None:
            """Restore default signal handling in a new child."""

        def beside(self, ns: str, name: str) -> Target:
            """The target of a command."""


MOST = 10 * 1024
"""The most bytes kept of the output of a probe or a hook."""


STARTUP = 10.0
"""Seconds for the start of Python, which count for no time-out."""
GRPC_CLIENT = f"{os.path.dirname(__file__)}/grpc_client.py"


def run(agent: KubeletForCommands, spec: Spec, address: str, check: HealthCheck, done: Ran) -> None:
    """Have a process run a probe or a hook of a container; then call `done` (see Command).

    One that asks by gRPC runs on the node, as the kubelet does: from a socket of the node's.
    """
    if check.kind == "grpc":
        where = check.host or address, str(check.port)
        argv = [sys.executable, "-I", GRPC_CLIENT, *where, f"{check.timeout:g}", check.service]
        _run(agent, agent.context.ns, "", argv, check.timeout + STARTUP, done)
    else:
        _run(agent, spec.ns, spec.container, [*check.command], check.timeout, done)


def _run(agent: KubeletForCommands, ns: str, container: str, argv: list[str], seconds: float, done: Ran) -> None:
    request = {"ns": ns, "container": container, "argv": argv, "tty": False, "stderr": False}
    request |= {"env": {}, "working_dir": ""}
    try:
        target = agent.beside(ns, container)
        try:
            command = Command(agent.loop, *start(agent.context, target, request, agent.clean))
        finally:
            target.close()
    except OSError as error:
        text = (error.strerror or "the container does not run").encode()
        agent.loop.at(0, lambda: done(126, text))
        return
    agent.execs.admit(command)
    command.begin(seconds, done)


class Command(Session):
    """The command of a probe or a hook.

    `done` gets its exit status (None: it took too long and was killed) and the beginning of its output.
    """

    def begin(self, seconds: float, done: Ran) -> None:
        """Read its output until it ends, or kill it after so many seconds."""
        self._done, self._output, self._late = done, b"", False
        given, self._out = self._ends
        os.close(given)
        os.set_blocking(self._out, False)
        self._loop.watch(self._out, self._read)
        self._loop.watch(self._report.fileno(), self._reported)
        self._loop.at(time.monotonic() + seconds, self._timed_out)

    def _reported(self) -> None:
        self._loop.forget(self._report.fileno())
        message, _ = rpc.receive_descriptors(self._report, 1 << 12, 1)
        self._report.close()
        if message not in (b"", STARTED):  # of one that has started, the output may have come before the report
            self._output = message

    def _read(self) -> None:
        try:
            block = os.read(self._out, 1 << 12)
        except BlockingIOError:
            return
        if block:
            self._output = (self._output + block)[:MOST]
        else:
            self._loop.forget(self._out)

    def _timed_out(self) -> None:
        self._late = not self.over
        self.kill()

    def ended(self, status: int) -> None:
        if self._report.fileno() >= 0:
            self._reported()
        self.over = True
        self._read()
        self._loop.forget(self._out)
        os.close(self._out)
        self._done(None if self._late else exit_code(status), self._output)
