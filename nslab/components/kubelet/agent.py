"""The pods and containers of a node, and what is asked of its process."""

from __future__ import annotations

import contextlib
import os

from nslab import rundir
from nslab.components.ipip import tunnel
from nslab.components.kubelet import container, events, sandbox
from nslab.components.kubelet.beside import Target
from nslab.components.kubelet.children import Children
from nslab.components.kubelet.container_manager import ContainerManager
from nslab.components.kubelet.daemons import Daemons
from nslab.components.kubelet.execs import Execs
from nslab.components.kubelet.status import StatusReporter, pod_status
from nslab.components.kubelet.waits import WaitingClients
from nslab.components.runtime.loop import Loop
from nslab.components.runtime.node_context import NodeContext, host_of, remove_tree
from nslab.components.runtime.peers import Peer, listen
from nslab.runtime.journal import Journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from nslab.components.kubelet.container_state import ContainerState
    from nslab.components.kubelet.endings import Endings
    from nslab.components.kubelet.order import Order
    from nslab.components.kubelet.prober import Ran
    from nslab.components.kubelet.status import Pods
    from nslab.components.runtime.volumes import Volume
    from nslab.runtime.health_check import HealthCheck
    from nslab.runtime.marks import Memory

    Answer = dict[str, Any]


class Kubelet:
    """The state of a node's process: pods, containers, tunnels, and waiting clients."""

    def __init__(self, context: NodeContext, memory: Memory) -> None:
        self.context, self.memory, self.loop = context, memory, Loop()
        self.events = events.Events()
        self.sandboxes: dict[str, sandbox.PodSandbox] = {}
        self.containers: dict[tuple[str, str], ContainerManager] = {}
        self.lost: dict[str, sandbox.PodSandbox] = {}  # pods whose pause process was killed
        self.attempts: dict[str, int] = {}  # earlier runs of removed containers, by POD_FOLDER/NAME (from their logs)
        self.tunnels: dict[str, int] = {}
        self.children = Children(self.loop, context, self.ended)
        self.births, self.clean = self.children.births, self.children.clean
        self.open, self.end = self.children.open, self.children.end
        self.daemons = Daemons(context, memory, self.children)
        self.execs = Execs(self.loop, context, self.clean, self.beside, self.starts)
        self.journal = Journal(f"{context.folder}{rundir.JOURNAL}", lambda call: self.loop.at(0, call))
        self._order: Order | None = None
        self._endings: Endings | None = None
        self.teller = StatusReporter(self.loop, context, self.pods)
        self.waits = WaitingClients(self.loop, self.containers, self.teller.flush)
        self.socket = listen(self.loop, context, self.answer, self.births.release)

    def answer(self, peer: Peer, request: Answer) -> Answer | None:
        """Handle a request and return the answer; None if it comes later."""
        match request.pop("op", None), request.pop("what", None):
            case "add", "Sandbox":
                return {"ok": True, "pid": self.add_sandbox(**request)}
            case "add", "Workload":
                return {"ok": True, "pid": self.add_container(request)}
            case "add", "TunnelAgent":
                return {"ok": True, "pid": self.add_tunnel(**request)}
            case "remove", "Sandbox":
                self.remove_sandbox(request["ns"])
            case "remove", "Workload":
                self.remove_container(request["ns"], request["container"])
            case "remove", "TunnelAgent":
                self.end(self.tunnels.pop(request["ns"], 0))
            case "add", "NodeComponent":
                return {"ok": True, "pid": self.daemons.start(request["role"], request["settings"])}
            case "add", "Bird":
                return {"ok": True, "pid": self.daemons.start_bird(request["program"], request["config"])}
            case "remove", "NodeComponent" | "Bird":
                self.daemons.end(request["role"])
            case "exec", None:
                return self.execs.begin(peer, request)
            case "wait", None:
                self.waits.add(peer, float(request["deadline"]), request.get("containers"))
                return None
            case "terminate", None:
                self.endings.begin(request["pods"])
            case "wait-terminated", None:
                self.endings.wait(peer, **request)
                return None
            case "events", None:
                return {"ok": True, "events": self.events.listed()}
            case "stop", None:
                self.stop(peer)
            case op, what:
                return {"error": f"unknown request: {op} {what or ''}"}
        return {"ok": True}

    def add_sandbox(
        self, resolv_conf: str, volumes: Sequence[Volume] = (), domain: str = "", aliases: str = "", **fields: Any
    ) -> int:
        """Start a pod's pause process, with the pod's files and volumes."""
        pod = sandbox.PodSandbox(**fields)
        if pod.ns in self.sandboxes:
            raise FileExistsError(f"the pod of {pod.ns} has a pause process")
        sandbox.write_files(self.context, pod, resolv_conf, domain, aliases)
        pod.pid = sandbox.start(self.context, self.memory, self.births, pod, volumes)
        sandbox.name_netns(pod)
        self.sandboxes[pod.ns] = pod
        self.events.record(pod, "", *events.made(pod, self.context.node, anew=pod.ns in self.lost))
        self.lost.pop(pod.ns, None)
        self.teller.changed()
        return pod.pid

    def remove_sandbox(self, ns: str) -> None:
        """Remove a pod: its remaining containers, its pause process, its files, its logs."""
        for key in [key for key in self.containers if key[0] == ns]:
            self.remove_container(*key)
        self.teller.changed()
        if self._order:
            self._order.forget(ns)
        if self._endings:
            self._endings.forget(ns)
        pod = self.sandboxes.pop(ns, None)
        if pod:
            sandbox.unname_netns(pod)
            pod.close()
            self.end(pod.pid)
        if pod := pod or self.lost.pop(ns, None):
            remove_tree(f"{self.context.folder}/{rundir.POD_LOGS}/{pod.log_folder}")
            logs = f"{pod.log_folder}/"
            self.attempts = {path: count for path, count in self.attempts.items() if not path.startswith(logs)}
        remove_tree(f"{self.context.run}/{rundir.pod(host_of(ns))}")

    def pod_of(self, ns: str) -> sandbox.PodSandbox:
        """The pod in a namespace; a substitute for a process that runs on the node or a client itself."""
        host = host_of(ns)
        return self.sandboxes.get(ns) or sandbox.PodSandbox(ns, "default", host, "host", host, "127.0.0.1", False)

    def add_container(self, request: Answer) -> int:
        """Start a container and manage it from then on. It may not be ready yet: see `wait`."""
        spec = container.Spec(**request)
        key = (spec.ns, spec.container)
        found = self.containers.get(key)
        if found and (found.alive or found.deferred or found.over):
            if found.spec.equals(spec):
                return found.pid  # adopted, and started again before we were asked to; or it waits, or has ended
            if not found.over:
                raise FileExistsError(f"container {spec.container} of {spec.ns} runs")
        if spec.ns != self.context.ns and spec.ns not in self.sandboxes:
            raise FileNotFoundError(f"the pod of {spec.ns} has no pause process")
        if key in self.containers:
            self.remove_container(*key)
        pod = self.pod_of(spec.ns)
        if self._endings:
            self._endings.forget(spec.ns)
        life = ContainerManager(self, spec, pod)
        life.restarts = self.attempts.get(f"{pod.log_folder}/{spec.container}", 0)
        pid = life.start() if not life.ordered or self.order.admits(life) else life.defer()
        self.containers[key] = life
        self.journal.add(request)
        self.teller.changed()
        return pid

    def launch(self, spec: container.Spec, attempt: int) -> tuple[int, tuple[int, int, int]]:
        """Fork a container's process for run number `attempt`; return its pid and the ends of its pipes."""
        pod = self.sandboxes.get(spec.ns)
        pause = self.open(pod.pid) if pod else -1
        try:
            return container.start(self.context, self.memory, self.births, spec, attempt, pod, pause, self.clean)
        finally:
            if pod:
                os.close(pause)

    def let_go(self, spec: container.Spec) -> None:
        """Drop a container's pipes from the pod's pause process."""
        pod = self.sandboxes.get(spec.ns)
        if pod and pod.store:
            pod.store.drop(spec.container)

    def remove_container(self, ns: str, name: str) -> None:
        """End a container and forget it."""
        found = self.containers.pop((ns, name), None)
        if found:
            self.journal.remove(ns, name)
            self.execs.end(ns, name)
            self.end(found.pid)
            found.forget()
            self.context.groups.let_go(found.spec.group)
            self.attempts[f"{found.pod.log_folder}/{name}"] = found.restarts + 1
            self.teller.changed()

    def beside(self, ns: str, name: str) -> Target:
        """The target of a command: a container, or without a name the node itself."""
        if not name and ns == self.context.ns:
            return Target()
        life = self.containers.get((ns, name))
        if not life or not life.pid:
            raise ProcessLookupError
        return Target(self.open(life.pid), life.spec)

    def starts(self, ns: str, name: str) -> bool:
        """Whether the process of a container is on its way into it."""
        life = self.containers.get((ns, name))
        return life is not None and life.starts

    def command(self, spec: container.Spec, address: str, check: HealthCheck, done: Ran) -> None:
        """Have a process run a probe or a hook of a container whose pod has this address."""
        from nslab.components.kubelet.commands import run  # memory of each node, needed by few

        run(self, spec, address, check, done)

    # What few nodes need is memory of those alone.

    @property
    def order(self) -> Order:
        """The pods whose containers start one after the other."""
        if not self._order:
            from nslab.components.kubelet.order import Order

            self._order = Order(self)
        return self._order

    @property
    def endings(self) -> Endings:
        """The pods that terminate."""
        if not self._endings:
            from nslab.components.kubelet.endings import Endings

            self._endings = Endings(self)
        return self._endings

    def record(self, life: ContainerState, reason: str, message: str) -> None:
        """Record an event of a container."""
        self.events.record(life.pod, events.path(life.spec), reason, message)

    def stuck(self, life: ContainerState) -> bool:
        """Whether a container waits for an init container that has failed."""
        return self.order.stuck(life)

    def add_tunnel(self, ns: str, dev: str, local: str) -> int:
        """Start the process behind a TUN device."""
        self.tunnels[ns] = tunnel.start(self.context, self.memory, self.births, ns, dev, local, self.clean)
        return self.tunnels[ns]

    def ended(self, pid: int, status: int) -> None:
        """Handle the end of a process; `status` as subprocess has it."""
        self.execs.ended(pid, status)
        for found in [life for life in self.containers.values() if life.pid == pid]:
            found.ended(status)
            if found.over:
                self.teller.flush()  # the node's next process does not run it again
        for pod in list(self.sandboxes.values()):
            if pod.pid == pid:
                # Like the kubelet: without its sandbox, a pod's containers end.
                for key in [key for key in self.containers if key[0] == pod.ns]:
                    self.remove_container(*key)
                sandbox.unname_netns(pod)
                pod.close()
                self.lost[pod.ns] = self.sandboxes.pop(pod.ns)
                self.teller.changed()
        self.tunnels = {ns: other for ns, other in self.tunnels.items() if other != pid}
        self.daemons.ended(pid)

    def changed(self) -> None:
        """Handle a container's change: update the status file and control, and answer waiting clients."""
        self.teller.changed()
        if self._order:
            self._order.go_on()
        if self._endings:
            self._endings.go_on()
        self.waits.go_on()

    def pods(self) -> Pods:
        """The status of the pods, by NAMESPACE/NAME."""
        lives: dict[str, list[ContainerManager]] = {ns: [] for ns in (*self.sandboxes, *self.lost)}
        for (ns, _), life in self.containers.items():
            lives.setdefault(ns, []).append(life)
        named = {ns: self.lost.get(ns) or self.pod_of(ns) for ns in lives}
        return {
            f"{named[ns].namespace}/{named[ns].pod}": pod_status(mine)
            | (self._endings.status(ns) if self._endings else {})
            for ns, mine in lives.items()
        }

    def stop(self, peer: Peer) -> None:
        """End everything on this node, then this process."""
        for ns in list(self.sandboxes):
            self.remove_sandbox(ns)
        for key in list(self.containers):
            self.remove_container(*key)
        self.execs.end(self.context.ns, "")
        self.daemons.end_all()
        for pid in self.tunnels.values():
            self.end(pid)
        with contextlib.suppress(OSError):
            os.unlink(f"{self.context.folder}{rundir.SOCKET}")
        for kept in ("journal", "status.json", "pids"):
            with contextlib.suppress(OSError):
                os.unlink(f"{self.context.folder}.{kept}")
        peer.send({"ok": True})
        raise SystemExit
