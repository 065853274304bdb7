"""nslab-control: the process of a lab that stands for the API server and the endpoints controller.

Verbs that change the lab put Services here, kubelets report the status of pods, and kube-proxies watch. A kill loses
nothing: the Services are in the lab's folder, and all clients connect again.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time

from nslab import rundir, syscall
from nslab.components.apiserver import records, updates
from nslab.components.apiserver.watchers import FELIX, KUBE_PROXY, Put, Watcher, failures, late
from nslab.components.controllers.endpoints import EndpointController
from nslab.components.controllers.policies import PolicyController
from nslab.components.runtime.lastwords import last_words
from nslab.components.runtime.loop import Loop
from nslab.components.runtime.peers import Peer, serve
from nslab.runtime.handlers import DEFAULT, handle
from nslab.runtime.marks import VARIABLE, Memory, mark
from nslab.runtime.mounts import own_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Never

    from nslab.components.apiserver.updates import Update
    from nslab.components.runtime.node_context import NodeContext
    from nslab.runtime.marks import Memory

    Document = dict[str, Any]

RANGE = 1 << 20
"""The number of generations of one control process."""
HOLD_SECONDS, PUT_SECONDS = 2.0, 5.0
"""Timeouts: kube-proxies finish their sync before a hold, and follow a put."""


def run(context: NodeContext, memory: Memory, client: int) -> Never:
    """Run the control process of a lab. `client`: the socket of its starter, its first peer."""
    try:
        with contextlib.suppress(SystemExit):
            _enter(context, memory)
            control = ControlServer(Loop(), context.run)
            control.accept(socket.socket(fileno=client)).send({"ok": True, "pid": os.getpid()})
            client = -1  # the peer owns it; its number may be reused
            while True:
                control.loop.turn()
    except BaseException as error:
        last_words("nslab-control", error, f"{context.run}/{rundir.CONTROL_LOG}", client)
    os._exit(0)


def _enter(context: NodeContext, memory: Memory) -> None:
    context.groups.join()
    os.setsid()
    memory.show(
        memory.process_title(f"nslab-control {context.ns.split('.')[1]}", {VARIABLE: mark(context.ns, "control")})
    )
    syscall.prctl(syscall.PR_SET_PDEATHSIG, 0)
    handle(signal.SIGINT, DEFAULT)
    syscall.unshare(syscall.CLONE_NEWNS)
    own_run(context.run, context.run_fd)
    log = os.open(f"{context.run}/{rundir.CONTROL_LOG}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for number in (1, 2):
        os.dup2(log, number)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.chdir("/")


class ControlServer:
    """Services and their watchers. `generation` counts the changes; 0: no Services were put yet."""

    def __init__(self, loop: Loop, run: str) -> None:
        self.loop, self._run, self.controller = loop, run, EndpointController()
        self.generation = 0
        self.watchers: dict[Peer, Watcher] = {}
        self.holders: set[Peer] = set()
        self._holding: list[tuple[Peer, float]] = []
        self._puts: list[Put] = []
        self._prewritten: dict[str, str] = {}
        self._prewritten_at: set[str] = set()
        self._unwritten = False
        self.policies = PolicyController()
        self._policy_generation = 0
        self._policy_written_at: set[str] = set()  # nodes whose Felixes take over what the client has written
        self._recall()
        self.socket = serve(loop, f"{run}/{rundir.CONTROL_SOCKET}", self.accept)

    def _recall(self) -> None:
        for node, pods in records.read_pods(self._run).items():
            self.controller.status(node, pods)
            self.policies.status(node, pods)
        kept = records.read_state(self._run)
        if kept:
            # A new range: an acknowledgement for the process before must not count for this one.
            self.generation = (kept["generation"] // RANGE + 1) * RANGE
            self.controller.put(kept["services"], (), whole=True)
            if kept.get("policy"):
                self.policies.put(kept["policy"])
            self._store()
            records.write_records(self._run, self.controller.published.values())

    def accept(self, connection: socket.socket) -> Peer:
        """Serve a new connection."""
        peer = Peer(self.loop, connection, self.answer, lambda: self.gone(peer))
        return peer

    def answer(self, peer: Peer, request: Document) -> Document | None:
        """Handle a request; None if the answer comes later."""
        match request.get("op"):
            case "hold":
                self.holders.add(peer)
                self._holding.append((peer, time.monotonic() + HOLD_SECONDS))
                self._answer_by(self._holding[-1][1])
                return None
            case "release":
                self.holders.discard(peer)
                self.push()
            case "put":
                self.put(peer, **{name: value for name, value in request.items() if name != "op"})
                return None
            case "status":
                if self.policies.status(request["node"], request["pods"]):
                    self._tell(set())
                self.changed(self.controller.status(request["node"], request["pods"]))
            case "watch":
                self.watchers[peer] = Watcher(request.get("component", KUBE_PROXY), request["node"], peer)
                if not self.policies.given and self.watchers[peer].component == FELIX:
                    self.watchers[peer].dirty = set()
                self.push()
                return None
            case "synced":
                watcher = self.watchers[peer]
                watcher.acked = max(watcher.acked, request["generation"])
                names = ("generation", "seconds", "error", "refused")
                watcher.report = {name: request[name] for name in names if name in request}
                self._written_at(watcher.component).discard(watcher.node)
                self.push()
                return {}
            case "get":
                proxies = {watcher.node: watcher.report for watcher in self._watching(KUBE_PROXY)}
                services = [json.loads(text) for text in self.controller.published.values()]
                known = {"generation": self.generation, "services": services, "pods": self.controller.pods()}
                return {"ok": True, **known, "proxies": proxies}
            case "progress":
                return {"ok": True, "generation": self.generation, "followed": self.followed}
            case "stop":
                os.unlink(f"{self._run}/{rundir.CONTROL_SOCKET}")
                peer.send({"ok": True})
                raise SystemExit
            case op:
                return {"error": f"unknown request: {op}"}
        return {"ok": True}

    @property
    def followed(self) -> bool:
        """Whether all components that watch have acknowledged everything that concerns them."""
        # Before the first Services there are none to follow.
        return all(one.followed for one in (self.watchers.values() if self.generation else self._watching(FELIX)))

    def _watching(self, component: str) -> list[Watcher]:
        return [watcher for watcher in self.watchers.values() if watcher.component == component]

    def put(
        self,
        peer: Peer,
        services: Iterable[Document] = (),
        removed: Iterable[str] = (),
        whole: bool = False,
        expect: Mapping[str, Iterable[str]] | None = None,
        written: Iterable[str] | None = None,
        policy: Document | None = None,
        policy_written: Iterable[str] = (),
    ) -> None:
        """Store Services, and what Felixes are told (`policy`); answer `peer` when the components have followed.

        `expect`: see Put. `written`: nodes whose rules the client has written already; their kube-proxies, which are
        starting, take them over. None: unknown, those of the put before. `policy_written`: the same for Felixes, which
        may be running.
        """
        changed = self.controller.put(services, removed, whole)
        if policy is not None and (self.policies.put(policy) or policy_written):
            # The client may not know yet which pods have ended.
            self._tell({*policy_written} if self.policies.whole else set())
        if written is not None:
            self._prewritten, self._prewritten_at = dict(self.controller.given), {*written}
        self.holders.discard(peer)
        if self.generation == 0:
            self.generation = 1
        self.changed(changed)
        # kube-proxies work meanwhile; the state must be on disk before the client gets its answer.
        self._store()
        self.write()
        self._puts.append(Put(peer, self.generation, expect or {}, time.monotonic() + PUT_SECONDS))
        self._answer_by(self._puts[-1].deadline)

    def _tell(self, written: set[str]) -> None:
        """Have Felixes told what is published; those of the nodes `written` take it over."""
        self._policy_written_at = written
        self._policy_generation += 1
        for watcher in self._watching(FELIX):
            watcher.dirty = None

    def _written_at(self, component: str) -> set[str]:
        return self._policy_written_at if component == FELIX else self._prewritten_at

    def _store(self) -> None:
        records.write_state(self._run, self.generation, self.controller.given.values(), self.policies.given)

    def changed(self, keys: set[str]) -> None:
        """Publish changes of the Services with these keys."""
        if keys:
            self.generation += 1
            self._unwritten = True
            for watcher in self._watching(KUBE_PROXY):
                if watcher.dirty is not None:
                    watcher.dirty |= keys
        self.push()
        if self._unwritten:
            self.loop.at(time.monotonic(), self.write)

    def write(self) -> None:
        """Write the records of kube-dns."""
        if self._unwritten:
            self._unwritten = False
            records.write_records(self._run, self.controller.published.values())

    def push(self) -> None:
        """Send each idle component what has changed for it. Changes while it works are sent together after that."""
        lines: dict[tuple[str, frozenset[str] | None, bool], Update] = {}
        for watcher in list(self.watchers.values()):
            if self.holders or watcher.works or watcher.dirty == set():
                continue
            if watcher.component == KUBE_PROXY and not self.generation:
                continue
            what = None if watcher.dirty is None else frozenset(watcher.dirty)
            key = watcher.component, what, what is None and watcher.node in self._written_at(watcher.component)
            if key not in lines:
                lines[key] = self._update(*key)
            line, watcher.sent, dirty = lines[key]
            watcher.dirty = {*dirty}
            watcher.peer.send_line(line, go_on=False)
        self.answer_settled()

    def _update(self, component: str, what: frozenset[str] | None, written: bool) -> Update:
        if component == FELIX:
            return updates.policy(self._policy_generation, self.policies.published, written=written)
        published = self.controller.published
        if written:
            return updates.taken_over(self.generation, self._prewritten, published)
        return updates.changes(self.generation, published, what)

    def answer_settled(self) -> None:
        """Answer the waiting clients whose condition holds or whose time is up."""
        now = time.monotonic()
        works = any(watcher.works for watcher in self.watchers.values())
        done = [entry for entry in self._holding if not works or entry[1] <= now]
        self._holding = [entry for entry in self._holding if entry not in done]
        waits = [(put, late(put, self.watchers.values(), self._taken_over())) for put in self._puts]
        self._puts = [put for put, behind in waits if behind and put.deadline > now]
        for peer, _ in done:
            peer.send({"ok": True, "pods": self.controller.pods()})
        for put, behind in waits:
            if put not in self._puts:
                failed = {"failed": reasons} if (reasons := failures(put, self.watchers.values())) else {}
                put.peer.send({"ok": True, "late": sorted(behind), "generation": put.generation, **failed})

    def _taken_over(self) -> set[str]:
        """The nodes whose kube-proxies have nothing to write, once they have started."""
        return self._prewritten_at if self._prewritten == self.controller.published else set()

    def _answer_by(self, deadline: float) -> None:
        self.answer_settled()
        if self._holding or self._puts:
            self.loop.at(deadline, self.answer_settled)

    def gone(self, peer: Peer) -> None:
        """Handle a closed connection: its hold ends, and nobody waits for its acknowledgement."""
        self.watchers.pop(peer, None)
        self._holding = [entry for entry in self._holding if entry[0] is not peer]
        self._puts = [put for put in self._puts if put.peer is not peer]
        self.holders.discard(peer)
        self.push()
