"""nslab-node: the process of one node. It is the parent of the node's processes, answers requests, writes the logs.

A kill loses nothing: containers keep running, their pipes hold their output, and the next nslab-node adopts them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time

from nslab import rundir, syscall
from nslab.components.ipip import tunnel
from nslab.components.kubelet import adopt, container, sandbox
from nslab.components.kubelet.attempt import UNKNOWN
from nslab.components.kubelet.beside import Target
from nslab.components.kubelet.crilog import attempts
from nslab.components.kubelet.execs import Execs
from nslab.components.kubelet.restart import ContainerManager
from nslab.components.kubelet.status import StatusReporter, pod_status, read
from nslab.components.kubeproxy import process as kubeproxy
from nslab.components.runtime.lastwords import last_words
from nslab.components.runtime.loop import AT_ONCE, Loop
from nslab.components.runtime.node_context import NodeContext, host_of, remove_tree
from nslab.components.runtime.peers import Peer, listen
from nslab.runtime.journal import Journal
from nslab.runtime.marks import VARIABLE, Memory, mark
from nslab.runtime.mounts import own_machine
from nslab.runtime.trust import Births

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Never

    from nslab.components.kubelet.endings import Endings
    from nslab.components.kubelet.order import Order
    from nslab.components.kubelet.status import Pods
    from nslab.components.runtime.volumes import Volume

    Answer = dict[str, Any]

LONGEST = 86400.0
"""The longest accepted wait for containers, in seconds."""


def run(context: NodeContext, memory: Memory, client: int) -> Never:
    """Run the nslab-node of `context`. `client`: the socket of its starter, its first peer."""
    try:
        with contextlib.suppress(SystemExit):
            _enter(context, memory)
            agent = Agent(context, memory)
            first = Peer(agent.loop, socket.socket(fileno=client), agent.answer, before_answers=agent.births.release)
            agent.adopt()
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
        os.makedirs(folder, exist_ok=True)
    # /var/log/pods and /var/log/containers, as on a node, but not on the machine's disk.
    if os.path.isdir("/var/log"):
        syscall.mount(f"{context.folder}/log", "/var/log", flags=syscall.MS_BIND)
    os.dup2(os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC), 0)
    log = os.open(f"{context.folder}/{rundir.NODE_LOG}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    os.chdir("/")


class Agent:
    """The state of a node's process: pods, containers, tunnels, and waiting clients."""

    def __init__(self, context: NodeContext, memory: Memory) -> None:
        self.context, self.memory, self.loop = context, memory, Loop()
        self.sandboxes: dict[str, sandbox.Sandbox] = {}
        self.containers: dict[tuple[str, str], ContainerManager] = {}
        self.lost: dict[str, sandbox.Sandbox] = {}  # pods whose pause process was killed
        self.attempts: dict[str, int] = {}  # earlier runs of removed containers, by POD_FOLDER/NAME (from their logs)
        self.tunnels: dict[str, int] = {}
        self.proxy = 0  # the pid of kube-proxy
        self.waiting: list[tuple[Peer, float, float]] = []
        self.births = Births(f"{context.folder}{rundir.PIDS}", lambda call: self.loop.at(0, call))
        self.held: dict[int, int] = {}  # pidfds of adopted processes: their pids may be reused
        self.execs = Execs(self.loop, context, self.clean, self.beside)
        self.journal = Journal(f"{context.folder}{rundir.JOURNAL}", lambda call: self.loop.at(0, call))
        self._order: Order | None = None
        self._endings: Endings | None = None
        self.teller = StatusReporter(self.loop, context, self.pods)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler, so that Python writes to the descriptor below
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.loop.watch(woken, lambda: self.reap(woken))
        self.socket = listen(self.loop, context, self.answer, self.births.release)

    def clean(self) -> None:
        """Restore default signal handling in a new child."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)

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
            case "add", "KubeProxy":
                return {"ok": True, "pid": self.add_proxy(request["settings"])}
            case "remove", "KubeProxy":
                self.end_proxy()
            case "exec", None:
                return self.execs.begin(peer, request)
            case "wait", None:
                seconds = float(request["deadline"])
                if not 0 <= seconds <= LONGEST:
                    raise ValueError(f"deadline out of range: {seconds} seconds")
                self.waiting.append((peer, time.monotonic() + seconds, seconds))
                self.answer_settled()
                if self.waiting:
                    self.loop.at(time.monotonic() + seconds, self.answer_settled)
                return None
            case "terminate", None:
                self.endings.begin(request["pods"])
            case "wait-terminated", None:
                self.endings.wait(peer, **request)
                return None
            case "stop", None:
                self.stop(peer)
            case op, what:
                return {"error": f"unknown request: {op} {what or ''}"}
        return {"ok": True}

    def add_sandbox(
        self, resolv_conf: str, volumes: Sequence[Volume] = (), domain: str = "", aliases: str = "", **fields: Any
    ) -> int:
        """Start a pod's pause process, with the pod's files and volumes."""
        pod = sandbox.Sandbox(**fields)
        if pod.ns in self.sandboxes:
            raise FileExistsError(f"the pod of {pod.ns} has a pause process")
        sandbox.write_files(self.context, pod, resolv_conf, domain, aliases)
        pod.pid = sandbox.start(self.context, self.memory, self.births, pod, volumes)
        sandbox.name_netns(pod)
        self.sandboxes[pod.ns] = pod
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

    def pod_of(self, ns: str) -> sandbox.Sandbox:
        """The pod in a namespace; a substitute for a process that runs on the node or a client itself."""
        host = host_of(ns)
        return self.sandboxes.get(ns) or sandbox.Sandbox(ns, "default", host, "host", host, "127.0.0.1", False)

    def add_container(self, request: Answer) -> int:
        """Start a container and manage it from then on. It may not be ready yet: see `wait`."""
        spec = container.Spec(**request)
        key = (spec.ns, spec.container)
        found = self.containers.get(key)
        if found and (found.alive or found.deferred or (spec.init and found.passed)):
            if found.spec.equals(spec):
                return found.pid  # adopted, and started again before we were asked to; or it need not start
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

    def command(
        self, spec: container.Spec, argv: list[str], seconds: float, done: Callable[[int | None, bytes], None]
    ) -> None:
        """Run a command in a container, for a probe or a hook."""
        from nslab.components.kubelet.commands import run  # memory of each node, needed by few

        run(self, spec, argv, seconds, done)

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

    def stuck(self, life: ContainerManager) -> bool:
        """Whether a container waits for an init container that has failed."""
        return self.order.stuck(life)

    def add_tunnel(self, ns: str, dev: str, local: str) -> int:
        """Start the process behind a TUN device."""
        self.tunnels[ns] = tunnel.start(self.context, self.memory, self.births, ns, dev, local, self.clean)
        return self.tunnels[ns]

    def add_proxy(self, settings: Answer) -> int:
        """Start the node's kube-proxy, after the end of an earlier one."""
        self.end_proxy()
        self.proxy = kubeproxy.start(self.context, self.memory, self.births, settings, self.clean)
        return self.proxy

    def end_proxy(self) -> None:
        """End the node's kube-proxy, if it runs; it completes its current write."""
        if self.proxy:
            with contextlib.suppress(ProcessLookupError):
                kubeproxy.end(self.proxy, self.open(self.proxy))
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.proxy, os.WNOHANG)
        self.proxy = 0

    def end(self, pid: int) -> None:
        """Kill a process and wait for its end; does nothing for pid 0."""
        if not pid:
            return
        with contextlib.suppress(ProcessLookupError):
            descriptor = self.open(pid)
            try:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                adopt.wait_exit(descriptor, 2.0)
            finally:
                os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)

    def open(self, pid: int) -> int:
        """A new pidfd of a process that this one started or adopted, never of another with the same pid."""
        # The kernel does not reuse a child's pid before its parent has reaped it.
        return os.dup(self.held[pid]) if pid in self.held else os.pidfd_open(pid)

    def reap(self, woken: int) -> None:
        """Handle SIGCHLD: reap children."""
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 1 << 12)
        self.collect()

    def collect(self) -> None:
        """Reap a limited number of children, so that a container that forks all the time cannot block the loop."""
        with contextlib.suppress(ChildProcessError):
            for _ in range(AT_ONCE):
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self.ended(pid, os.waitstatus_to_exitcode(status))
            self.loop.at(0, self.collect)

    def ended(self, pid: int, status: int) -> None:
        """Handle the end of a process; `status` as subprocess has it."""
        self.births.ended(pid)
        self.execs.ended(pid, status)
        for found in [life for life in self.containers.values() if life.pid == pid]:
            found.ended(status)
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
        self.proxy = 0 if self.proxy == pid else self.proxy

    def changed(self) -> None:
        """Handle a container's change: update the status file and control, and answer waiting clients."""
        self.teller.changed()
        if self._order:
            self._order.go_on()
        if self._endings:
            self._endings.go_on()
        self.answer_settled()

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

    def answer_settled(self) -> None:
        """Answer the clients that wait for containers, if all are ready, done or failed, or the time is up."""
        if not self.waiting:
            return
        settled = all(found.settled for found in self.containers.values())
        late = [entry for entry in self.waiting if settled or entry[1] <= time.monotonic()]
        self.waiting = [entry for entry in self.waiting if entry not in late]
        if late:
            self.teller.flush()  # a client may read the status file next
        for peer, _, seconds in late:
            failures = [found.failure(seconds) for found in self.containers.values()]
            peer.send({"ok": True, "not_ready": [failure for failure in failures if failure]})

    def adopt(self) -> None:
        """Take over the processes of an earlier nslab-node that was killed."""
        found, before, requests = (
            adopt.find(self.context, self.births.adopt()),
            read(self.context),
            self.journal.recall(),
        )
        self.attempts = attempts(f"{self.context.folder}/{rundir.POD_LOGS}")
        self.held = found.held
        for pid in found.held:
            self._watch_adopted(pid)
        for pod in found.sandboxes:
            self.sandboxes[pod.ns] = pod
            sandbox.name_netns(pod)
        kept = adopt.kept(found)
        for spec, attempt, pid in found.containers:
            request, last = requests.pop((spec.ns, spec.container), None), kept.pop((spec.ns, spec.container), None)
            life = self._life(container.Spec(**request) if request else spec, before)
            life.adopt(attempt, pid, last[1] if last else adopt.pipes(pid))
        for (ns, name), request in requests.items():
            if ns == self.context.ns or ns in self.sandboxes:
                self._life(container.Spec(**request), before).resume(kept.pop((ns, name), None))
            else:
                self.journal.remove(ns, name)
        adopt.let_go(self.sandboxes, kept)
        if before or found.sandboxes:
            self.teller.changed()
        for life in list(self.containers.values()):
            if life.ordered:
                self.order.admits(life)
        if self._order:
            self._order.go_on()
        if any("terminating" in status for status in before.values()):
            self.endings.resume(before)
        for ns, pid in found.tunnels:
            self.tunnels[ns] = pid
        self.proxy = found.proxy

    def _life(self, spec: container.Spec, before: Pods) -> ContainerManager:
        pod = self.pod_of(spec.ns)
        past = before.get(f"{pod.namespace}/{pod.pod}", {}).get("containers", {}).get(spec.container)
        life = self.containers[spec.ns, spec.container] = ContainerManager(self, spec, pod, past)
        return life

    def _watch_adopted(self, pid: int) -> None:
        def gone() -> None:
            descriptor = self.held.pop(pid)
            self.loop.forget(descriptor)
            self.ended(pid, UNKNOWN)
            os.close(descriptor)

        self.loop.watch(self.held[pid], gone)

    def stop(self, peer: Peer) -> None:
        """End everything on this node, then this process."""
        for ns in list(self.sandboxes):
            self.remove_sandbox(ns)
        for key in list(self.containers):
            self.remove_container(*key)
        self.execs.end(self.context.ns, "")
        self.end_proxy()
        for pid in self.tunnels.values():
            self.end(pid)
        with contextlib.suppress(OSError):
            os.unlink(f"{self.context.folder}{rundir.SOCKET}")
        for kept in ("journal", "status.json", "pids"):
            with contextlib.suppress(OSError):
                os.unlink(f"{self.context.folder}.{kept}")
        peer.send({"ok": True})
        raise SystemExit
