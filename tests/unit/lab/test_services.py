"""What Services are given, what belongs to them, and manifests without a lab."""

from __future__ import annotations

import time
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab.admission.load import completed, parse, parse_stored
from nslab.admission.manifest import load_manifest, parse_manifest
from nslab.api.pod_types import Protocol, RestartPolicy
from nslab.api.service_types import Service, TrafficPolicy
from nslab.errors import LabFileError
from nslab.lab.defaults import host_name
from nslab.lab.dump import documents, dump
from nslab.lab.status import merge_status
from nslab.runtime.health_check import HealthCheck
from scripts.benchmarks.services_manifest import manifest

if TYPE_CHECKING:
    from nslab.lab.types import Lab

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: small}
spec:
  nodes: [{name: a, address: 192.168.59.240}, {name: b}]
"""
WITH_DNS = LAB + "  dns: {address: 10.96.0.10}\n"
REAL = Path(__file__).parents[2] / "data" / "kube-proxy"


def service(name: str, spec: str, more: str = "") -> str:
    """A Service document."""
    return f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n{more}"


def deployment(replicas: int, more: str = "") -> str:
    """A Deployment document."""
    return f"""\
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {{containers: [{{name: app, image: agnhost{more}}}]}}
"""


def only(lab: Lab) -> Service:
    """A lab's only Service."""
    (one,) = lab.services
    return one


def test_what_a_service_need_not_say() -> None:
    made = only(parse(LAB + service("s", "type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80}]"), "x"))
    assert made.cluster_ip
    assert int(made.cluster_ip) - int(IPv4Address("10.96.0.0")) >= 256
    assert 30086 <= made.ports[0].node_port <= 32767
    assert 30086 <= made.health_check_node_port <= 32767
    assert made.health_check_node_port != made.ports[0].node_port
    assert made.ports[0].target == 80
    # .240 is a node's.
    assert [str(ip) for ip in made.load_balancer_ips] == ["192.168.59.241"]
    assert made.allocated == {"clusterIP", "ports[0].nodePort", "healthCheckNodePort", "ingress"}


def test_one_more_service_renumbers_no_other() -> None:
    two = service("s", "type: NodePort, ports: [{port: 80}]") + service("t", "ports: [{port: 80}]")
    before = parse(LAB + two, "x").services
    after = parse(LAB + service("first", "type: NodePort, ports: [{port: 80}]") + two, "x").services
    assert after[1:] == before


def test_what_is_asked_for_goes_first() -> None:
    had = only(parse(LAB + service("s", "type: NodePort, ports: [{port: 80}]"), "x"))
    asks = f"type: NodePort, clusterIP: {had.cluster_ip}, ports: [{{port: 80, nodePort: {had.ports[0].node_port}}}]"
    first, second = parse(LAB + service("s", "type: NodePort, ports: [{port: 80}]") + service("t", asks), "x").services
    assert (second.cluster_ip, second.ports[0].node_port) == (had.cluster_ip, had.ports[0].node_port)
    assert int(first.cluster_ip or 0) == int(had.cluster_ip or 0) + 1
    assert first.ports[0].node_port == had.ports[0].node_port + 1


def test_tcp_and_udp_of_one_port_share_a_node_port() -> None:
    ports = "[{port: 53, name: a}, {port: 53, protocol: UDP, name: b}, {port: 80, name: c}]"
    made = only(parse(LAB + service("s", f"type: NodePort, ports: {ports}"), "x"))
    a, b, c = (port.node_port for port in made.ports)
    assert a == b != c


def test_a_load_balancer_may_go_without_node_ports() -> None:
    spec = "type: LoadBalancer, allocateLoadBalancerNodePorts: false, ports: [{port: 80}]"
    lab = parse(LAB + service("s", spec, "status: {loadBalancer: {ingress: [{ip: 203.0.113.7}]}}\n"), "x")
    assert only(lab).ports[0].node_port == 0
    assert [str(ip) for ip in only(lab).load_balancer_ips] == ["203.0.113.7"]
    assert parse_stored(dump(lab), "kept") == lab


def test_a_tiny_service_network_is_used_up() -> None:
    tiny = LAB + "  networks: {services: 10.96.0.0/29}\n"
    six = [service(f"s{i}", "ports: [{port: 80}]") for i in range(7)]
    made = parse(tiny + "".join(six[:6]), "x").services
    assert {str(one.cluster_ip) for one in made} == {f"10.96.0.{i}" for i in range(1, 7)}
    with pytest.raises(LabFileError, match="failed to allocate a serviceIP: range is full"):
        parse(tiny + "".join(six), "x")


def test_all_fields_survive_being_written() -> None:
    text = WITH_DNS
    text += service(
        "full",
        "type: LoadBalancer, clusterIP: 10.96.7.7, clusterIPs: [10.96.7.7], selector: {app: web}, "
        "sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}, "
        "externalTrafficPolicy: Local, internalTrafficPolicy: Local, externalIPs: [203.0.113.9], "
        "loadBalancerSourceRanges: [10.0.0.0/8], healthCheckNodePort: 32000, publishNotReadyAddresses: true, "
        "ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, "
        "ports: [{name: a, port: 80, targetPort: http, protocol: SCTP, nodePort: 31000, appProtocol: x}]",
    )
    text += service("affine", "sessionAffinity: ClientIP, ports: [{port: 80}]")
    text += service("headless", "clusterIP: None, ports: [{port: 80}]")
    text += service("alias", "type: ExternalName, externalName: example.com")
    text += """\
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: s-1, labels: {kubernetes.io/service-name: headless}}
endpoints:
- {addresses: [20.96.9.9, 20.96.9.10], conditions: {ready: false, serving: true, terminating: true}, nodeName: a}
- {addresses: [20.96.9.8], hostname: h, targetRef: {kind: Pod, name: p}, hints: {forZones: [{name: z}]}, zone: z}
ports: [{name: '', port: 80}]
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  nodeName: a
  restartPolicy: OnFailure
  containers:
  - name: c
    image: agnhost
    ports: [{containerPort: 80, name: http}]
    readinessProbe: {httpGet: {port: http, path: /ready}, initialDelaySeconds: 2, periodSeconds: 1, timeoutSeconds: 3}
    livenessProbe: {tcpSocket: {port: 80}, failureThreshold: 5, periodSeconds: 0}
status: {conditions: [{type: Initialized, status: 'True'}, {type: Ready, status: 'False', reason: x}]}
"""
    lab = parse_stored(text, "x")
    full, affine, headless, alias, _ = lab.services
    assert (full.affinity, affine.affinity, headless.affinity) == (60, 10800, 0)
    assert (full.external_policy, full.internal_policy) == (TrafficPolicy.LOCAL, TrafficPolicy.LOCAL)
    assert (headless.cluster_ip, alias.cluster_ip, alias.external_name) == (None, None, "example.com")
    assert (full.ports[0].target, full.ports[0].protocol) == ("http", Protocol.SCTP)
    first, second = lab.slices[0].endpoints
    assert (str(first.address), first.ready, first.serving, first.terminating) == ("20.96.9.9", False, True, True)
    assert (second.ready, second.serving, second.zones, second.pod) == (True, True, ("z",), "default/p")
    pod = lab.pods[0]
    assert (pod.ready, pod.restart_policy) == (False, RestartPolicy.ON_FAILURE)
    assert pod.containers[0].readiness == HealthCheck("httpGet", "http", "/ready", 2, 1, 3)
    assert pod.containers[0].liveness == HealthCheck("tcpSocket", 80, failures=5)
    assert parse_stored(dump(lab), "kept") == lab


def test_kube_dns_comes_with_its_address_and_once() -> None:
    lab = parse(WITH_DNS, "x")
    dns, (pod,) = only(lab), lab.pods
    assert (dns.namespace, dns.name, str(dns.cluster_ip)) == ("kube-system", "kube-dns", "10.96.0.10")
    assert [f"{port.name} {port.port}/{port.protocol}" for port in dns.ports] == ["dns 53/UDP", "dns-tcp 53/TCP"]
    assert (pod.namespace, pod.name, pod.node, dict(pod.labels)) == ("kube-system", "kube-dns", "a", dict(dns.selector))
    assert [container.builtin for container in pod.containers] == ["kubedns", ""]
    assert [container.readiness for container in pod.containers] == [None, HealthCheck("tcpSocket", 53)]
    assert parse_stored(dump(lab), "kept") == lab
    without = replace(lab, services=(), pods=())
    assert parse_stored(dump(without), "kept") == without


def test_kube_dns_of_the_file_is_the_only_one() -> None:
    own = parse(WITH_DNS + service("names", "clusterIP: 10.96.0.10, ports: [{port: 53, protocol: UDP}]"), "x")
    assert [one.name for one in own.services] == ["names"]
    assert own.pods == ()


def test_replicas_are_named_and_spread() -> None:
    lab = parse(LAB + deployment(3), "x")
    names = [pod.name for pod in lab.pods]
    template = dict(lab.pods[0].labels)["pod-template-hash"]
    assert len(set(names)) == 3
    assert all(name.startswith(f"web-{template}-") and len(name) == len(template) + 10 for name in names)
    assert [pod.node for pod in lab.pods] == ["a", "b", "a"]
    assert {pod.owner for pod in lab.pods} == {"Deployment/default/web"}
    assert lab.pods[0].containers[0].args == ("netexec",)
    assert lab.controllers[0].template.containers[0].args == ()
    assert [pod.name for pod in parse(LAB + deployment(2), "x").pods] == names[:2]
    assert not {pod.name for pod in parse(LAB + deployment(3, ", args: [netexec]"), "x").pods} & {*names}


def test_replicas_keep_their_status_and_go_from_the_end() -> None:
    lab = parse(LAB + deployment(3), "x")
    had = (IPv4Address(f"20.96.0.{5 + i}" if i != 1 else "20.96.0.70") for i in range(3))
    lab = replace(lab, pods=tuple(replace(p, assigned=a, ready=False) for p, a in zip(lab.pods, had, strict=True)))
    kept = dump(lab)
    assert parse_stored(kept, "kept") == lab
    two = parse_stored(kept.replace("replicas: 3", "replicas: 2"), "kept")
    assert two.pods == lab.pods, "who reads what is kept is no controller"
    assert completed(documents(two), "x").pods == lab.pods[:2]
    four = completed(documents(parse_stored(kept.replace("replicas: 3", "replicas: 4"), "kept")), "x").pods
    assert four[:3] == lab.pods
    assert (four[3].assigned, four[3].ready) == (None, True)
    # On a fresh look at the file, pods before them would have put the replicas elsewhere.
    pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
    pod += "spec: {nodeName: a, containers: [{name: c, image: agnhost}]}\n"
    merged = merge_status(parse(LAB + pod + deployment(3), "x"), lab)
    assert merged.pods[1:] == lab.pods


def test_a_replica_stays_what_it_was_made_from() -> None:
    output = deployment(2).replace("containers:", "nodeName: a, containers:")
    kept = dump(replace(parse(LAB + output, "x"), name="x"))
    moved = kept.replace("nodeName: a\n", "nodeName: b\n", 1)
    assert moved.count("nodeName: a") == 2
    assert [pod.node for pod in parse_stored(moved, "kept").pods] == ["a", "a"]
    assert [pod.node for pod in completed(documents(parse_stored(moved, "kept")), "x").pods] == ["b", "b"]


def test_a_client_stays_with_its_pod_for_a_day_at_the_most() -> None:
    def kept(seconds: int) -> int:
        affinity = f"sessionAffinity: ClientIP, sessionAffinityConfig: {{clientIP: {{timeoutSeconds: {seconds}}}}}"
        return only(parse(LAB + service("s", f"{affinity}, ports: [{{port: 80}}]"), "x")).affinity

    assert (kept(1), kept(86400)) == (1, 86400)
    for seconds in (0, 86401):
        with pytest.raises(LabFileError, match="must be greater than 0 and less than 86400"):
            kept(seconds)


def test_a_host_name_ends_where_the_kubelet_cuts_it_and_in_a_letter() -> None:
    assert host_name("a" * 63) == host_name("a" * 64) == "a" * 63
    assert (host_name(f"{'a' * 61}--b"), host_name(f"{'a' * 62}.b")) == ("a" * 61, "a" * 62)


def test_pod_cidrs_inside_a_later_one_overlap_too() -> None:
    cidrs = ("20.96.0.0/24", "20.96.1.0/24", "20.96.1.0/26", "20.96.1.128/26")
    nodes = ", ".join(f"{{name: n{number}, podCIDR: {cidr}}}" for number, cidr in enumerate(cidrs))
    text = LAB.replace("[{name: a, address: 192.168.59.240}, {name: b}]", f"[{nodes}]")
    with pytest.raises(LabFileError) as caught:
        parse(text, "x")
    assert [line.partition("the podCIDRs of ")[2] for line in str(caught.value).splitlines()] == [
        "n1 (20.96.1.0/24) and n2 (20.96.1.0/26) overlap (see line 5)",
        "n1 (20.96.1.0/24) and n3 (20.96.1.128/26) overlap (see line 5)",
    ]


def test_what_services_were_given_stays() -> None:
    file = LAB + service("s", "type: LoadBalancer, ports: [{port: 80}]")
    other = IPv4Address("10.96.200.1")
    ran = only(parse(file, "x"))
    ran = replace(
        ran,
        cluster_ip=other,
        load_balancer_ips=(IPv4Address("192.168.59.250"),),
        ports=(replace(ran.ports[0], node_port=32123),),
        allocated=frozenset(),
    )
    kept = replace(parse(file, "x"), services=(ran,))
    new = merge_status(parse(file + service("t", "ports: [{port: 80}]"), "x"), kept)
    assert new.services[0] == ran
    taken = merge_status(parse(file + service("t", f"clusterIP: {other}, ports: [{{port: 80}}]"), "x"), kept)
    assert taken.services[0].cluster_ip != other
    assert taken.services[1].cluster_ip == other
    asked = LAB + service("s", "type: LoadBalancer, ports: [{port: 80, nodePort: 30001}]")
    assert merge_status(parse(asked, "x"), kept).services[0].ports[0].node_port == 30001


def test_a_manifest_needs_no_lab() -> None:
    text = service("s", "type: NodePort, clusterIP: 172.30.0.41, ports: [{port: 80, nodePort: 3001}]").lstrip("-\n")
    made = parse_manifest(text + service("h", "clusterIP: None") + deployment(2), "x")
    assert [(one.name, [port.node_port for port in one.ports]) for one in made.services] == [("s", [3001]), ("h", [])]
    assert [pod.node for pod in made.pods] == ["", ""]
    assert parse_manifest(LAB + "---\n" + text, "x").services == made.services[:1]
    small = IPv4Network("172.30.0.0/30")
    (given,) = parse_manifest(service("s", "ports: [{port: 80}]").lstrip("-\n"), "x", small).services
    assert str(given.cluster_ip) == "172.30.0.2"
    with pytest.raises(LabFileError, match=r"x:9:7: .*failed to allocate a serviceIP: range is full"):
        parse_manifest("".join(service(name, "ports: [{port: 80}]") for name in "st").lstrip("-\n"), "x", small)
    with pytest.raises(LabFileError, match="x:1:1: there is no object in it"):
        parse_manifest("", "x")


def test_a_bare_manifest_gets_the_first_free_addresses() -> None:
    text = service("a", "type: NodePort, ports: [{port: 80}]")
    text += service("b", "type: NodePort, clusterIP: 10.96.0.2, ports: [{port: 80, nodePort: 30000}]")
    text += service("c", "type: LoadBalancer, externalTrafficPolicy: Local, ports: [{port: 80}]")
    made = parse_manifest(text, "x").services
    assert [(one.name, str(one.cluster_ip), one.ports[0].node_port, one.health_check_node_port) for one in made] == [
        ("a", "10.96.0.3", 30001, 0),  # the first address is the Service kubernetes', in every cluster
        ("b", "10.96.0.2", 30000, 0),
        ("c", "10.96.0.4", 30002, 30003),
    ]
    assert made[2].load_balancer_ips == ()
    dns = service("d", "type: NodePort, ports: [{name: u, port: 53, protocol: UDP}, {name: t, port: 53}]")
    assert [port.node_port for port in parse_manifest(dns, "x").services[0].ports] == [30000, 30000]


def test_what_real_kube_proxies_were_given_loads() -> None:
    cases = sorted((REAL / "cases").glob("*.yaml"))
    assert len(cases) == 18
    for case in cases:
        made = load_manifest(case)
        assert made.services
        assert all(port.target for one in made.services for port in one.ports)
    overall = load_manifest(REAL / "current" / "overall.yaml")
    assert [one.health_check_node_port for one in overall.services] == [0, 30000, 0, 0, 0, 0]
    assert (len(overall.services), len(overall.slices)) == (6, 5)


def test_ten_thousand_services_are_read_in_seconds() -> None:
    text = manifest(1000)
    started = time.process_time()
    made = parse_manifest(text, "many")
    spent = time.process_time() - started
    assert (len(made.services), len(made.slices)) == (1000, 1000)
    assert len({end.address for one in made.slices for end in one.endpoints}) == 2000
    # A tenth of what a file of 10,000 may take, and as much again for a machine that is busy or slow.
    assert spent < 0.8


def test_what_a_load_balancer_and_a_node_say_of_themselves_survives() -> None:
    ingress = "{ip: 203.0.113.7, ipMode: Proxy}, {ip: 203.0.113.8, ports: [{port: 80, protocol: TCP}]}, "
    ingress += "{hostname: lb.example}"
    text = LAB.replace("{name: b}", "{name: b, labels: {topology.kubernetes.io/zone: z, a: b}}")
    text += service(
        "s", "type: LoadBalancer, ports: [{port: 80}]", f"status: {{loadBalancer: {{ingress: [{ingress}]}}}}\n"
    )
    made = parse(text, "x")
    assert [str(ip) for ip in only(made).load_balancer_ips] == ["203.0.113.8"]
    again = parse(dump(made), "x")
    assert again == made
    assert (again.nodes[0].zone, again.nodes[1].zone, dict(again.nodes[1].labels)["a"]) == ("", "z", "b")
    kept = only(again).document["status"]["loadBalancer"]["ingress"]
    assert [(one.get("ipMode"), one.get("hostname")) for one in kept] == [
        ("Proxy", None),
        (None, None),
        (None, "lb.example"),
    ]
