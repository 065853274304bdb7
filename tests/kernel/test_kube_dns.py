"""kube-dns in a lab, as its pods see it: a name in a URL, and what stands in the log afterwards."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import kill, nslab

if TYPE_CHECKING:
    from nslab.pytest_plugin.running import RunningLab

pytestmark = [pytest.mark.root, pytest.mark.lab("calico-two-node", scope="module")]
SVC, HEADLESS = "svc-b.default.svc.cluster.local", "all.default.svc.cluster.local"


def run(lab: RunningLab, pod: str, *argv: str) -> tuple[int, str]:
    """Status and output of a command in a pod."""
    done = lab.pod(pod).run(*argv, check=False)
    return done.returncode, done.stdout.strip()


def addresses(lab: RunningLab, pod: str, name: str) -> list[str]:
    """What the libc of a container finds for a name."""
    return sorted({line.split()[0] for line in run(lab, pod, "getent", "ahostsv4", name)[1].splitlines()})


@pytest.mark.parametrize("pod", ["pod-a", "pod-b", "pod-c", "pod-d"])
@pytest.mark.parametrize("name", ["svc-b", "svc-b.default", "svc-b.default.svc", SVC, f"{SVC}."])
def test_a_service_is_called_by_its_name(lab: RunningLab, pod: str, name: str) -> None:
    assert run(lab, pod, "curl", "-sS", "--max-time", "5", f"http://{name}:8080/hostname") == (0, "pod-b")


def test_what_does_not_exist_is_known_at_once(lab: RunningLab) -> None:
    for name in ("svc-c", "svc-b.other", "www.example.org"):
        status, _ = run(lab, "pod-d", "curl", "-sS", "--max-time", "2", f"http://{name}:8080/hostname")
        assert status == 6, "curl: could not resolve host"


def test_addresses_have_names(lab: RunningLab) -> None:
    assert run(lab, "pod-c", "getent", "hosts", "10.103.9.116") == (0, f"10.103.9.116    {SVC}")
    assert addresses(lab, "pod-c", "1-2-3-4.default.pod.cluster.local") == ["1.2.3.4"]


def test_names_follow_services(lab: RunningLab) -> None:
    head = "apiVersion: v1\nkind: Service\nmetadata: {name: all}\n"
    ports = "ports: [{name: http, port: 8080}]"
    assert addresses(lab, "pod-d", "all") == []
    lab.apply(f"{head}spec: {{type: ExternalName, externalName: {SVC}}}\n")
    assert addresses(lab, "pod-d", "all") == ["10.103.9.116"]
    assert lab.delete("service/all") == ['service "all" deleted']
    assert addresses(lab, "pod-d", "all") == []
    lab.apply(f"{head}spec: {{clusterIP: None, {ports}}}\n" + _SLICE)
    assert addresses(lab, "pod-d", "all") == ["20.109.131.2", "20.109.131.3"]
    assert addresses(lab, "pod-d", "second.all") == ["20.109.131.3"]
    assert lab.delete("service/all") == ['service "all" deleted']
    assert addresses(lab, "pod-d", HEADLESS) == []


_SLICE = """\
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: all-1, labels: {kubernetes.io/service-name: all}}
endpoints:
- {addresses: [20.109.131.2]}
- {addresses: [20.109.131.3], hostname: second}
ports: [{name: http, port: 8080, protocol: TCP}]
"""


def test_the_log_tells_what_ndots_costs(lab: RunningLab) -> None:
    run(lab, "pod-a", "getent", "ahostsv4", "ndots.example.org")
    run(lab, "pod-a", "getent", "ahostsv4", "absolute.example.org.")

    def asked() -> list[str]:
        output = nslab("logs", f"{lab.name}/kube-system_kube-dns", "-c", "dnsmasq").stdout
        lines = (line.partition("query[A] ")[2].split() for line in output.splitlines())
        return [words[0] for words in lines if words and "example.org" in words[0] and "www" not in words[0]]

    suffixes = ("default.svc.cluster.local", "svc.cluster.local", "cluster.local")
    lab.wait(lambda: "absolute.example.org" in asked())
    wanted = [*(f"ndots.example.org.{suffix}" for suffix in suffixes), "ndots.example.org", "absolute.example.org"]
    assert asked() == wanted


@pytest.mark.parametrize("role", ["control control", "node1 node", "node2 kube-proxy"])
def test_names_are_there_whoever_is_killed(lab: RunningLab, role: str) -> None:
    kill(lab.processes()[role])
    assert addresses(lab, "pod-d", "svc-b") == ["10.103.9.116"]
    lab.mend()
    assert role in lab.processes()
    assert addresses(lab, "pod-d", "svc-b") == ["10.103.9.116"]


@pytest.mark.parametrize("container", ["kubedns", "dnsmasq"])
def test_a_killed_name_server_is_started_again(lab: RunningLab, container: str) -> None:
    (role,) = [role for role in lab.processes() if role.endswith(f" container/{container}")]
    old = lab.processes()[role]
    os.kill(old, signal.SIGKILL)
    lab.wait(lambda: lab.processes().get(role, old) != old, 15)
    lab.wait(lambda: addresses(lab, "pod-d", "svc-b") == ["10.103.9.116"], 15)
