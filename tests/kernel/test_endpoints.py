"""Whom a lab's kube-proxies send to, in the kernel: labels, phases, zones, ipMode, long names, and what nft refuses."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from nslab.proxy.names import nft_name
from tests.kernel.labkit import OwnLab, nslab, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

NODES = ("node1", "node2")
LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: NAME}
spec:
  cni: {plugin: calico, encapsulation: None}
  proxy: {mode: MODE}
  dns: {address: 10.96.0.10}
  nodes:
  - {name: node1, labels: {topology.kubernetes.io/zone: a}}
  - {name: node2, labels: {topology.kubernetes.io/zone: b}}
  clients: [{name: client}]
---
apiVersion: v1
kind: Pod
metadata: {name: box}
spec: {nodeName: node2, containers: [{name: c, image: agnhost}]}
---
apiVersion: v1
kind: Pod
metadata: {name: job, labels: {app: job}}
spec:
  {nodeName: node1, restartPolicy: Never, containers: [{name: c, command: ["true"], ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, labels: {app: web}}
spec: {nodeName: node1, containers: [{name: c, image: agnhost, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-2, labels: {app: web}}
spec: {nodeName: node2, containers: [{name: c, image: agnhost, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: jobs}
spec:
  {clusterIP: 10.96.1.1, publishNotReadyAddresses: true, selector: {app: job}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: jobs-dns}
spec: {clusterIP: None, publishNotReadyAddresses: true, selector: {app: job}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: near}
spec:
  {clusterIP: 10.96.1.2, trafficDistribution: PreferClose, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: shared, annotations: {service.kubernetes.io/topology-mode: Auto}}
spec: {clusterIP: 10.96.1.5, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: other, labels: {service.kubernetes.io/service-proxy-name: cilium}}
spec: {clusterIP: 10.96.1.3, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: balanced}
spec: {type: LoadBalancer, clusterIP: 10.96.1.4, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
status: {loadBalancer: {ingress: [{ip: 192.168.59.240, ipMode: Proxy}, {ip: 192.168.59.241}]}}
"""
RULES = {"iptables": "iptables-save", "nftables": "nft list ruleset", "userspace": "iptables-save"}


@pytest.fixture(scope="module", params=RULES)
def own(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OwnLab, str]]:
    """The lab, up, in a mode; a test leaves its Services, which have names and addresses of their own."""
    lab, mode = OwnLab(tmp_path_factory.mktemp("endpoints")), request.param
    lab.write(LAB.replace("NAME", lab.name).replace("MODE", mode))
    try:
        nslab("up", lab.file)  # the job is not ready, and never will be
        yield lab, mode
    finally:
        lab.clear()


def addresses(lab: OwnLab, name: str) -> list[str]:
    """What a pod's libc finds for a name."""
    done = nslab("exec", f"{lab.name}/box", "--", "getent", "ahostsv4", name)
    return sorted({line.split()[0] for line in done.stdout.splitlines()})


def pods(lab: OwnLab) -> dict[str, str]:
    """The addresses of the pods of namespace default."""
    listed = json.loads(nslab("ps", lab.name, "-o", "json").stdout)
    return {pod["name"]: pod["ip"] for pod in listed if pod["namespace"] == "default"}


def apply(lab: OwnLab, text: str) -> tuple[int, str, str]:
    done = nslab("apply", lab.name, "-f", "-", input=text)
    return done.returncode, done.stdout, done.stderr


def test_whom_the_nodes_send_to(own: tuple[OwnLab, str]) -> None:
    lab, mode = own
    until(lambda: "Completed" in nslab("ps", lab.name).stdout)
    job = f"{pods(lab)['job']}:8080"
    until(lambda: not any(job in lab.sh(node, RULES[mode]) for node in NODES))
    for node in NODES:
        rules = lab.sh(node, RULES[mode])
        assert "10.96.1.1" in rules, "the Service is known, and has no endpoint"
        assert "10.96.1.3" not in rules
        assert "192.168.59.240" not in rules
        assert "192.168.59.241" in rules
    until(lambda: addresses(lab, "jobs-dns") == [])
    assert addresses(lab, "kubernetes.default") == ["10.96.0.1"]
    assert "kubernetes" in nslab("get", lab.name, "services").stdout
    assert addresses(lab, "other") == ["10.96.1.3"], "DNS names what another proxy serves"
    assert [line.split()[0] for line in lab.sh("client", "ip route").splitlines() if "192.168.59.24" in line] == [
        "192.168.59.241"
    ]
    if mode != "userspace":
        for node, pod in (("node1", "web-1"), ("node2", "web-2")):
            for address in ("10.96.1.2", "10.96.1.5"):
                asked = (lab.sh(node, f"curl -s -m 5 http://{address}/hostname") for _ in range(8))
                assert {*asked} == {pod}, "the one of the node's own zone"
    before = nslab("diff", lab.name)
    assert (before.stdout, before.returncode) == (f"{lab.name} is as it should be\n", 0)
    assert "mended" not in nslab("up", lab.file).stdout
    assert addresses(lab, "jobs-dns") == []


SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: %s}
spec: {clusterIP: %s, sessionAffinity: ClientIP, selector: {app: web}, ports: [{name: %s, port: 80, targetPort: 8080}]}
---
"""


def test_a_long_name_is_in_nobodys_way(own: tuple[OwnLab, str]) -> None:
    lab, mode = own
    text = SERVICE % ("s" * 63, "n" * 63, "10.96.2.6", "p" * 15) + SERVICE % ("after", "default", "10.96.2.7", "p")
    assert apply(lab, text)[0] == 0
    for node in NODES:
        assert lab.sh(node, "curl -s -m 5 http://10.96.2.7/hostname") in ("web-1", "web-2")
        assert "10.96.2.6" in lab.sh(node, RULES[mode])


MANUAL = """\
apiVersion: v1
kind: Service
metadata: {name: manual}
spec: {clusterIP: 10.96.2.5, ports: [{port: 80}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: manual}
subsets:
- {addresses: [{ip: READY}], notReadyAddresses: [{ip: OTHER}], ports: [{port: 8080}]}
"""


def test_endpoints_of_a_service_without_a_selector(own: tuple[OwnLab, str]) -> None:
    lab, _ = own
    there = pods(lab)
    for ready, other in (("web-1", "web-2"), ("web-2", "web-1")):
        status, _, error = apply(lab, MANUAL.replace("READY", there[ready]).replace("OTHER", there[other]))
        assert (status, error) == (0, "")
        for node in NODES:
            assert {lab.sh(node, "curl -s -m 5 http://10.96.2.5/hostname") for _ in range(8)} == {ready}
    assert addresses(lab, "manual") == ["10.96.2.5"]
    assert "endpointslicemirroring-controller" in nslab("get", lab.name, "endpointslices", "-o", "yaml").stdout
    assert nslab("delete", lab.name, "endpoints/manual").returncode == 0
    for node in NODES:
        assert not lab.sh(node, "curl -s -m 5 http://10.96.2.5/hostname || true")


def test_what_a_node_refuses_reaches_who_applied_it(own: tuple[OwnLab, str]) -> None:
    lab, mode = own
    if mode != "nftables":
        pytest.skip("it takes nft to refuse one Service and no other")
    name = f"default/bad/tcp/p__{pods(lab)['web-1']}/8080"
    taken = f"affinity-{nft_name(name)}"
    lab.sh("node1", f"nft add map ip kube-proxy {taken} '{{ type ipv4_addr : verdict ; }}'")
    text = SERVICE % ("bad", "default", "10.96.2.2", "p") + SERVICE % ("good", "default", "10.96.2.3", "p")
    status, output, error = apply(lab, text)
    assert (status, output) == (1, "service/bad created\nservice/good created\n")
    assert error.startswith("nslab: kube-proxy of node1 cannot serve Service default/bad: nft -f -: ")
    for node in NODES:
        assert lab.sh(node, "curl -s -m 5 http://10.96.2.3/hostname") in ("web-1", "web-2")
    assert lab.sh("node2", "curl -s -m 5 http://10.96.2.2/hostname") in ("web-1", "web-2")
    more = SERVICE % ("more", "default", "10.96.2.4", "p")
    assert apply(lab, more) == (0, "service/more created\n", ""), "who applies something else has no part in it"
    lab.sh("node1", f"nft delete map ip kube-proxy {taken}")
    until(lambda: "10.96.2.2 . " in lab.sh("node1", "nft list map ip kube-proxy service-ips"), 40)
