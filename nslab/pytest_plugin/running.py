"""The handle of a lab that is up: its hosts, its wish, and the ways to change it."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any, TypeVar

from nslab.app import change
from nslab.app.check import check
from nslab.app.drift import drift_of
from nslab.app.probe import probe
from nslab.app.up import up
from nslab.compiler.addresses import address_of
from nslab.dataclass import replace
from nslab.lab.settings import setting
from nslab.linux import owned
from nslab.linux.netns import folder
from nslab.linux.processes import status
from nslab.linux.processes.control import ControlClient
from nslab.linux.rules import restore
from nslab.linux.stored_lab import stored_lab
from nslab.objects.names import netns, pod_host
from nslab.pytest_plugin.capture import Capture
from nslab.pytest_plugin.hosts import Host
from nslab.pytest_plugin.interrupted import interrupted
from nslab.pytest_plugin.wanted import wanted
from nslab.views.changes import changes, standing_still, unwritten
from nslab.views.delta import delta
from nslab.views.junit import calls_to_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from ipaddress import IPv4Address
    from pathlib import Path

    from nslab.app.change import Changed
    from nslab.app.drift import Drift
    from nslab.lab.types import Lab, Service

_PAUSE = 0.02  # seconds between two looks at what is waited for
_T = TypeVar("_T")


class RunningLab:
    """A lab that is up. What tells of an error raises AssertionError with the reasons."""

    def __init__(self, name: str, beside: Path, warnings: Sequence[str] = ()) -> None:
        self.name, self.warnings = name, tuple(warnings)
        self.failed = False
        """A test that had it failed."""
        self.late: list[str] = []
        """The containers that did not become ready when it came up."""
        self.packets = Capture(name)
        """What its nodes hear."""
        self._beside = beside

    def __repr__(self) -> str:
        return f"<lab {self.name}>"

    @property
    def desired(self) -> Lab:
        """What should be there: the lab's file, complete, with what was applied since."""
        return stored_lab(self.name)

    # Hosts

    def pod(self, name: str) -> Host:
        """A pod, by its name; of another namespace than `default`: NAMESPACE/NAME."""
        namespace, slash, short = name.partition("/")
        wanted = pod_host(namespace, short) if slash else name
        found = self._pods(lambda host: host == wanted)
        return found[0] if found else self._no("pod", name, [host.name for host in self._pods(lambda _: True)])

    def pods(self, **labels: str) -> list[Host]:
        """The pods with these labels: `lab.pods(app="web")`; all of them, if none is given."""
        with_them = {pod_host(pod.namespace, pod.name) for pod in self.desired.pods if labels.items() <= {*pod.labels}}
        return self._pods(with_them.__contains__)

    def node(self, name: str) -> Host:
        """A node."""
        return self._machine("node", name, _nodes(self.desired))

    def client(self, name: str = "client") -> Host:
        """A machine outside the cluster."""
        return self._machine("client", name, _clients(self.desired))

    def router(self, name: str = "router") -> Host:
        """A router between subnets; its address is that of its first interface."""
        return self._machine("router", name, _routers(self.desired))

    def service(self, name: str, namespace: str = "default") -> Service:
        """A Service as it is wished, complete: `lab.service("svc-b").cluster_ip`."""
        known = {service.name: service for service in self.desired.services if service.namespace == namespace}
        return known[name] if name in known else self._no("service", name, known)

    def _pods(self, wanted: Callable[[str], bool]) -> list[Host]:
        pods = [(pod_host(pod.namespace, pod.name), pod) for pod in self.desired.pods]
        return [
            Host(self.name, host, address_of(pod), self._machines, tuple(one.name for one in pod.containers), pod.node)
            for host, pod in pods
            if wanted(host)
        ]

    def _machine(self, kind: str, name: str, known: Mapping[str, IPv4Address]) -> Host:
        return Host(self.name, name, known[name], self._machines) if name in known else self._no(kind, name, known)

    def _machines(self) -> Mapping[str, IPv4Address]:
        desired = self.desired
        return {**_nodes(desired), **_clients(desired), **_routers(desired)}

    def _no(self, kind: str, name: str, known: Iterable[str]) -> Any:
        raise LookupError(f"{self.name} has no {kind} {name!r}; it has {', '.join(known) or 'none'}")

    # What is and what should be

    def diff(self) -> list[str]:
        """What is not as it should be, a line each, as `nslab diff` has it; nothing if all is well."""
        found = drift_of(self.name)
        return [*changes(found.lab, found.plan), *standing_still(found.stopped)]

    def probe(self, source: str | None = None, target: str | None = None) -> list[dict[str, Any]]:
        """Prove who reaches whom (`nslab probe`), all of it or from a host or to one; the answers, if all are right.

        AssertionError with each wrong answer and its reason.
        """
        __tracebackhide__ = True
        done = probe(self.name, (source,) if source else (), (target,) if target else ())
        answers = [*to_json(done.results, done.explanations), *calls_to_json(done.calls, done.reasons)]
        if wrong := [answer for answer in answers if not answer["ok"]]:
            reasons = [f"\n{reason}\n  {_few(whom)}" for reason, whom in _by_reason(wrong).items()]
            raise AssertionError("\n".join([f"{len(wrong)} of {len(answers)} answers are wrong", *reasons]))
        return answers

    def processes(self) -> dict[str, int]:
        """What runs of the lab: `HOST ROLE` to process number, as in `node1 kube-proxy` or `pod-b container/app`.

        Roles: node (its kubelet), tunnel, kube-proxy, pause, container/NAME; and `control control`.
        """
        ours = netns(self.name, "")
        return {
            f"{record.ns.removeprefix(ours)} {record.role}": record.pid
            for record in owned.processes(self.name)
            if record.role not in ("", "spawner")
        }

    def sh(self, host: str, line: str, timeout: float = 30.0) -> str:
        """A command line of this machine in a host's network (`ip netns exec`), with all rights; what it prints.

        `host`: any of them, the switch, too. AssertionError if its status is not 0.
        """
        __tracebackhide__ = True
        argv = [restore.program("ip"), "netns", "exec", netns(self.name, host), "sh", "-c", line]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode:
            output = f"{done.stdout}{done.stderr}".rstrip()
            raise AssertionError(f"{host}: {line}: exit status {done.returncode}\n{output}")
        return done.stdout.strip()

    def check(self) -> dict[str, bool]:
        """Which goals of the lab's check.yaml are reached, by their ids (`nslab check`)."""
        return {one.goal.name: one.reached for one in check(self.name)}

    # Changes, as kubectl makes them

    def apply(self, what: str | Path) -> list[str]:
        """`nslab apply`: YAML, or a file beside the test. What kubectl would say; Services have followed by then."""
        is_text = isinstance(what, str) and "\n" in what
        source = what if is_text else self._beside / what
        return list(self._change(change.apply, source).lines)

    def delete(self, *objects: str, namespace: str = "default") -> list[str]:
        """`nslab delete`: objects, each KIND/NAME."""
        return list(self._change(change.delete, objects, namespace).lines)

    def scale(self, deployment: str, replicas: int, namespace: str = "default") -> list[str]:
        """`nslab scale`: another number of a Deployment's replicas."""
        what = deployment if "/" in deployment else f"deployment/{deployment}"
        return list(self._change(change.scale, what, replicas, namespace).lines)

    def up(self, source: str | Path, *, proxy_mode: str | None = None, encapsulation: str | None = None) -> list[str]:
        """`nslab up FILE` of a file that was edited: the lab becomes what it says. What changed, a line each.

        `source`: as in the marker, or a Path; its name does not matter.
        """
        lab, _ = wanted(source, self._beside, proxy_mode, encapsulation)
        return list(delta(self._up(replace(lab, name=self.name)).plan))

    def set(self, **settings: str) -> list[str]:
        """`nslab set`: `lab.set(proxy_mode="ipvs", scheduler="lc")`, or `encapsulation`. What changed, a line each."""
        known = dict(setting(f"{name.replace('_', '-')}={value}") for name, value in settings.items())
        return list(delta(self._change(change.configure, known).drift.plan))

    def mend(self) -> list[str]:
        """`nslab up` once more: what was broken is mended. What that was, a line each."""
        done = self._up(self.desired)
        return changes(done.lab, done.plan)

    def _change(self, make: Callable[..., Changed], *how: Any) -> Changed:
        """What was changed; AssertionError with what did not follow, or is not ready."""
        __tracebackhide__ = True
        with interrupted():
            done = make(self.name, *how)
        late = [f"the kube-proxy of {node} has not followed" for node in done.late]
        _complain([*done.not_ready, *late, *unwritten(done.failed)])
        return done

    def _up(self, lab: Lab) -> Drift:
        with interrupted():
            done = up(lab)
        _complain([*done.not_ready, *unwritten(done.failed)])
        return done.drift

    # Time

    def wait(self, condition: Callable[[], _T] | None = None, timeout: float = 10.0) -> _T | bool:
        """Wait until `condition()` is true, and return what it returned; without one, until the lab is settled.

        An AssertionError or OSError in it means: not yet. The last one is the cause of the AssertionError that ends it.
        """
        __tracebackhide__ = True
        deadline = time.monotonic() + timeout
        asked = condition or self.settled
        while True:
            last: Exception | None = None
            try:
                if value := asked():
                    return value
            except (AssertionError, OSError) as error:
                last = error
            if time.monotonic() > deadline:
                what = getattr(asked, "__name__", "condition")
                raise AssertionError(f"{self.name}: not within {timeout:g} s: {what}") from last
            time.sleep(_PAUSE)

    def settled(self) -> bool:
        """Every pod is ready, and every node's kube-proxy has what it was told last."""
        output, lab = status.read_status(self.name), self.desired
        if not all(output.get(f"{pod.namespace}/{pod.name}", {}).get("ready") for pod in lab.pods):
            return False
        if not (folder(self.name) / "control.sock").exists():
            return True
        with ControlClient(self.name) as line:
            known = line.get()
        return all(proxy.get("generation") == known["generation"] for proxy in known["proxies"].values())


def _nodes(lab: Lab) -> dict[str, IPv4Address]:
    return {node.name: node.address for node in lab.nodes}


def _clients(lab: Lab) -> dict[str, IPv4Address]:
    return {client.name: client.address for client in lab.clients}


def _routers(lab: Lab) -> dict[str, IPv4Address]:
    return {router.name: router.addresses[0] for router in lab.routers}


def _by_reason(wrong: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """Each reason once, with the questions that it spoilt."""
    reasons: dict[str, list[str]] = {}
    for answer in wrong:
        to = answer.get("to") or f"{answer['service']} by {answer['way']}"
        question = f"{answer['from']} -> {to} ({answer.get('kind') or answer['protocol']}: {answer['wrong']})"
        reason = answer.get("explanation") or answer.get("detail") or answer["wrong"]
        reasons.setdefault(reason, []).append(question)
    return reasons


def _few(words: list[str]) -> str:
    return "\n  ".join([*words[:6], *([f"… and {len(words) - 6} more"] if len(words) > 6 else [])])


def _complain(reasons: Iterable[object]) -> None:
    __tracebackhide__ = True
    if text := "\n".join(map(str, reasons)):
        raise AssertionError(text)
