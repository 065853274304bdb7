"""The handle of a running lab: its hosts, its desired state, and its changes."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any, TypeVar

from nslab.admission.settings import setting
from nslab.app import change
from nslab.app.check import check
from nslab.app.drift import drift_of
from nslab.app.probe import probe
from nslab.app.trace import trace
from nslab.app.up import up
from nslab.compiler.addresses import address_of, network_host
from nslab.dataclass import replace
from nslab.linux import owned
from nslab.linux.netns import folder
from nslab.linux.processes import status
from nslab.linux.processes.control import ControlClient
from nslab.linux.rules import restore
from nslab.linux.stored_lab import stored_lab
from nslab.objects.names import netns, pod_host
from nslab.pytest_plugin.address import LabAddress
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

    from nslab.api.pod_types import Pod
    from nslab.api.service_types import Service
    from nslab.app.change import Changed
    from nslab.app.drift import Drift
    from nslab.lab.types import Lab
    from nslab.probes.probe import Kind
    from nslab.trace.hops import Journey

_PAUSE = 0.02  # seconds between two checks of a condition
_T = TypeVar("_T")


class RunningLab:
    """A running lab. Its methods report errors as AssertionError with the reasons."""

    def __init__(self, name: str, beside: Path, warnings: Sequence[str] = ()) -> None:
        self.name, self.warnings = name, tuple(warnings)
        self.failed = False
        """Whether a test that used it failed."""
        self.late: list[str] = []
        """The containers that did not become ready when it came up."""
        self.packets = Capture(name)
        """The packets on its nodes."""
        self._beside = beside

    def __repr__(self) -> str:
        return f"<lab {self.name}>"

    @property
    def desired(self) -> Lab:
        """The desired state: the lab's file, completed, with all changes since."""
        return stored_lab(self.name)

    # Hosts

    def pod(self, name: str) -> Host:
        """A pod by its name; in another namespace than `default`: NAMESPACE/NAME."""
        namespace, slash, short = name.partition("/")
        wanted = pod_host(namespace, short) if slash else name
        found = self._pods(lambda host: host == wanted)
        return found[0] if found else self._no("pod", name, [host.name for host in self._pods(lambda _: True)])

    def pods(self, **labels: str) -> list[Host]:
        """The pods with these labels: `lab.pods(app="web")`; without labels all of them."""
        matching = {pod_host(pod.namespace, pod.name) for pod in self.desired.pods if labels.items() <= {*pod.labels}}
        return self._pods(matching.__contains__)

    def node(self, name: str) -> Host:
        """A node."""
        return self._machine("node", name, _nodes(self.desired))

    def client(self, name: str = "client") -> Host:
        """A machine outside the cluster."""
        return self._machine("client", name, _clients(self.desired))

    def router(self, name: str = "router") -> Host:
        """A router between subnets; its handle has the address of its first interface."""
        return self._machine("router", name, _routers(self.desired))

    def service(self, name: str, namespace: str = "default") -> Service:
        """A Service of the desired state, with all defaults. Its `cluster_ip` equals its text."""
        known = {service.name: service for service in self.desired.services if service.namespace == namespace}
        found: Service = known[name] if name in known else self._no("service", name, known)
        return replace(found, cluster_ip=found.cluster_ip and LabAddress(found.cluster_ip))

    def _pods(self, wanted: Callable[[str], bool]) -> list[Host]:
        pods = [(pod_host(pod.namespace, pod.name), pod) for pod in self.desired.pods]
        return [self._pod(host, pod) for host, pod in pods if wanted(host)]

    def _pod(self, host: str, pod: Pod) -> Host:
        containers = tuple(one.name for one in pod.containers)
        return Host(self.name, host, address_of(pod), self._machines, containers, pod.node, network_host(pod))

    def _machine(self, kind: str, name: str, known: Mapping[str, IPv4Address]) -> Host:
        return Host(self.name, name, known[name], self._machines) if name in known else self._no(kind, name, known)

    def _machines(self) -> Mapping[str, IPv4Address]:
        desired = self.desired
        return {**_nodes(desired), **_clients(desired), **_routers(desired)}

    def _no(self, kind: str, name: str, known: Iterable[str]) -> Any:
        raise LookupError(f"{self.name} has no {kind} {name!r}; it has {', '.join(known) or 'none'}")

    # Observed and desired state

    def diff(self) -> list[str]:
        """Return the drift, a line each, as in `nslab diff`; empty if the lab is as it should be."""
        found = drift_of(self.name)
        return [*changes(found.lab, found.plan), *standing_still(found.stopped, found.ended, idle=found.idle)]

    def probe(self, source: str | None = None, target: str | None = None) -> list[dict[str, Any]]:
        """Find out with real packets who can reach whom (`nslab probe`); from `source` or to `target` only, if given.

        Returns the answers if all are right; AssertionError with each wrong answer and its reason.
        """
        __tracebackhide__ = True
        done = probe(self.name, (source,) if source else (), (target,) if target else ())
        answers = [*to_json(done.results, done.explanations), *calls_to_json(done.calls, done.reasons)]
        if wrong := [answer for answer in answers if not answer["ok"]]:
            reasons = [f"\n{reason}\n  {_few(whom)}" for reason, whom in _by_reason(wrong).items()]
            raise AssertionError("\n".join([f"{len(wrong)} of {len(answers)} answers are wrong", *reasons]))
        return answers

    def trace(self, source: str, to: str, kind: Kind | None = None) -> Journey:
        """Follow one packet and its reply, hop by hop (`nslab trace`). `kind`: None for what `to` speaks.

        `trace("pod-d", "svc-b").hops` says what each host did and why; `end`, whether it was delivered.
        """
        return trace(self.name, source, to, kind)

    def processes(self) -> dict[str, int]:
        """The lab's processes: `HOST ROLE` to pid, as in `node1 kube-proxy` or `pod-b container/app`.

        Roles: node (its kubelet), tunnel, kube-proxy, pause, container/NAME; and `control control`.
        """
        ours = netns(self.name, "")
        return {
            f"{record.ns.removeprefix(ours)} {record.role}": record.pid
            for record in owned.processes(self.name)
            if record.role not in ("", "spawner")
        }

    def sh(self, host: str, line: str, timeout: float = 30.0) -> str:
        """Run a command line of this machine in a host's network (`ip netns exec`), with all rights; return its output.

        `host`: any host, also the switch. AssertionError if its exit status is not 0.
        """
        __tracebackhide__ = True
        argv = [restore.program("ip"), "netns", "exec", netns(self.name, host), "sh", "-c", line]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode:
            output = f"{done.stdout}{done.stderr}".rstrip()
            raise AssertionError(f"{host}: {line}: exit status {done.returncode}\n{output}")
        return done.stdout.strip()

    def check(self) -> dict[str, bool]:
        """Whether each goal of the lab's check.yaml is reached, by its id (`nslab check`)."""
        return {graded.goal.name: graded.reached for graded in check(self.name)}

    # Changes, as with kubectl

    def apply(self, what: str | Path, *, wait: bool = True) -> list[str]:
        """`nslab apply`: YAML, or a file beside the test. What kubectl would say; Services have followed by then.

        `wait`, here and below: new pods are ready when it returns, and pods that go are gone.
        """
        is_text = isinstance(what, str) and "\n" in what
        source = what if is_text else self._beside / what
        return list(self._change(change.apply, source, wait=wait).lines)

    def delete(
        self, *objects: str, namespace: str = "default", wait: bool = True, grace: int | None = None
    ) -> list[str]:
        """`nslab delete`: objects, each KIND/NAME. `grace`: the seconds that pods have, instead of what they say."""
        return list(self._change(change.delete, objects, namespace, wait=wait, grace=grace).lines)

    def scale(self, deployment: str, replicas: int, namespace: str = "default", *, wait: bool = True) -> list[str]:
        """`nslab scale`: another number of a controller's replicas."""
        what = deployment if "/" in deployment else f"deployment/{deployment}"
        return list(self._change(change.scale, [what], replicas, namespace, wait=wait).lines)

    def up(self, source: str | Path, *, proxy_mode: str | None = None, encapsulation: str | None = None) -> list[str]:
        """`nslab up FILE`: change the lab to match an edited file. Returns the changes, a line each.

        `source`: as in the marker, or a Path; the lab's name in it does not matter.
        """
        lab, _ = wanted(source, self._beside, proxy_mode, encapsulation)
        return list(delta(self._up(replace(lab, name=self.name)).plan))

    def set(self, **settings: str) -> list[str]:
        """`nslab set`: `lab.set(proxy_mode="ipvs", scheduler="lc")`; `encapsulation` and so on. Returns changes."""
        known = dict(setting(f"{name.replace('_', '-')}={value}") for name, value in settings.items())
        return list(delta(self._change(change.configure, known).drift.plan))

    def mend(self) -> list[str]:
        """`nslab up` again: repair what is broken. Returns the repairs, a line each."""
        done = self._up(self.desired)
        return changes(done.lab, done.plan)

    def _change(self, make: Callable[..., Changed], *how: Any, **options: Any) -> Changed:
        """What was changed; AssertionError with what did not follow, or is not ready."""
        __tracebackhide__ = True
        with interrupted():
            done = make(self.name, *how, **options)
        late = [f"the {component} of {node} has not followed" for component, node in done.late]
        _complain([*done.not_ready, *done.stuck, *late, *unwritten(done.failed)])
        return done

    def _up(self, lab: Lab) -> Drift:
        with interrupted():
            done = up(lab)
        _complain([*done.not_ready, *done.stuck, *unwritten(done.failed)])
        return done.drift

    # Time

    def wait(self, condition: Callable[[], _T] | None = None, timeout: float = 10.0) -> _T | bool:
        """Wait until `condition()` is true and return its value; without one, until the lab is `settled`.

        An AssertionError or OSError in it means: not yet. After `timeout` seconds, AssertionError with the last one as
        its cause.
        """
        __tracebackhide__ = True
        deadline = time.monotonic() + timeout
        ready = condition or self.settled
        while True:
            last: Exception | None = None
            try:
                if value := ready():
                    return value
            except (AssertionError, OSError) as error:
                last = error
            if time.monotonic() > deadline:
                what = getattr(ready, "__name__", "condition")
                raise AssertionError(f"{self.name}: not within {timeout:g} s: {what}") from last
            time.sleep(_PAUSE)

    def settled(self) -> bool:
        """Whether all pods are ready, and all kube-proxies have written the latest Services."""
        reported, lab = status.read_status(self.name), self.desired
        if not all(
            reported.get(f"{pod.namespace}/{pod.name}", {}).get("ready") for pod in lab.pods if not pod.deletion
        ):
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
    """Group the wrong answers by their reason."""
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
