"""Whom each mode sends to, by the manifest that it is given: conditions, duplicates, labels, hints, ipMode."""

from __future__ import annotations

import re

import pytest

from nslab.admission.manifest import parse_manifest
from nslab.compiler.endpoints import resolve
from nslab.dataclass import replace
from nslab.proxy.model import Proxy, visible
from nslab.proxy.render import render
from nslab.proxy.rotation import Rotation

MODES = ("iptables", "ipvs", "nftables", "userspace")
NODE = Proxy("n1", ("192.168.59.22",), cluster_cidr="10.244.0.0/16", service_cidr="10.96.0.0/12")
OLD = "{ready: false, serving: false, terminating: true}"
SERVES = "{ready: false, terminating: true}"


def service(more: str = "", metadata: str = "", status: str = "") -> str:
    """A Service without selector, whose endpoints are written by hand."""
    head = f"apiVersion: v1\nkind: Service\nmetadata: {{name: web{metadata}}}\n"
    return f"{head}spec: {{clusterIP: 10.96.7.1, ports: [{{port: 80}}]{more}}}\nstatus: {{{status}}}\n"


def endpoints(*ends: str, labels: str = "", name: str = "web-1") -> str:
    """An EndpointSlice of it; each endpoint is its address and what else it says."""
    listed = ", ".join(f"{{addresses: [{end.partition(' ')[0]}], {end.partition(' ')[2]}}}" for end in ends)
    metadata = f"{{name: {name}, labels: {{kubernetes.io/service-name: web{labels}}}}}"
    return (
        f"---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {metadata}\naddressType: IPv4\n"
        f"ports: [{{port: 8080}}]\nendpoints: [{listed}]\n"
    )


def output(text: str, mode: str, node: Proxy = NODE) -> str:
    return render(resolve(parse_manifest(text, "x")), replace(node, mode=mode))


def sent_to(text: str, mode: str, node: Proxy = NODE) -> list[str]:
    """The endpoints that new connections get, by what the mode writes; in userspace mode by whose turn it is."""
    shown = output(text, mode, node)
    match mode:
        case "iptables":
            found = re.findall(r"--to-destination (\S+)", shown)
        case "nftables":
            found = re.findall(r"dnat to (\S+)", shown)
        case "ipvs":
            found = re.findall(r"-r (\S+)", shown)
        case _:
            found = []
            for one in filter(None, map(visible, resolve(parse_manifest(text, "x")))):
                rotation = Rotation()
                rotation.set(one.ports[0].endpoints, 0)
                turns = (rotation.next("10.244.1.2", 0.0) for _ in range(9))
                found += [f"{end.ip}:{end.port}" for end in turns if end]
    return sorted({*found})


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "slices",
    [
        endpoints("10.244.1.9 nodeName: n1", f"10.244.1.9 nodeName: n2, conditions: {OLD}"),
        endpoints(f"10.244.1.9 nodeName: n2, conditions: {OLD}", "10.244.1.9 nodeName: n1"),
        endpoints("10.244.1.9 nodeName: n1") + endpoints(f"10.244.1.9 nodeName: n2, conditions: {OLD}", name="web-2"),
        endpoints(f"10.244.1.9 nodeName: n2, conditions: {OLD}") + endpoints("10.244.1.9 nodeName: n1", name="web-2"),
    ],
)
def test_of_two_at_one_address_the_one_counts_that_does_not_terminate(mode: str, slices: str) -> None:
    """kubernetes#135266: the address of a pod that goes was given to a new one."""
    assert sent_to(service() + slices, mode) == ["10.244.1.9:8080"]
    local = service(", internalTrafficPolicy: Local") + slices
    assert sent_to(local, mode) == ["10.244.1.9:8080"], "and it is on this node"
    (port,) = resolve(parse_manifest(local, "x"))[0].ports
    assert [end.node for end in port.endpoints] == ["n1"]


@pytest.mark.parametrize("mode", ["iptables", "ipvs", "nftables"])
@pytest.mark.parametrize(
    ("conditions", "counts"),
    [
        ("{}", True),
        ("{ready: null, serving: null, terminating: null}", True),
        (SERVES, True),
        ("{ready: false, serving: null, terminating: true}", True),
        (OLD, False),
        ("{ready: false}", False),  # it serves, and does not go: it is not meant to be asked
        ("{ready: true, terminating: true}", True),
    ],
)
def test_a_condition_that_is_not_said_is_well(mode: str, conditions: str, counts: bool) -> None:
    text = service() + endpoints(f"10.244.1.9 conditions: {conditions}")
    assert sent_to(text, mode) == (["10.244.1.9:8080"] if counts else [])


@pytest.mark.parametrize("mode", MODES)
def test_what_is_published_is_the_endpoints_controllers_business(mode: str) -> None:
    text = service(", publishNotReadyAddresses: true") + endpoints("10.244.1.9 conditions: {ready: false}")
    assert sent_to(text, mode) == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("label", ["service.kubernetes.io/service-proxy-name: x", "service.kubernetes.io/headless: ''"])
def test_what_is_another_proxys_leaves_no_trace(mode: str, label: str) -> None:
    own = service(metadata=f", labels: {{{label}}}") + endpoints("10.244.1.9")
    nothing = render((), replace(NODE, mode=mode))
    assert output(own, mode) == nothing
    sliced = service() + endpoints("10.244.1.9", labels=f", {label}") + endpoints("10.244.1.8", name="web-2")
    assert sent_to(sliced, mode) == ["10.244.1.8:8080"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("ingress", "caught"),
    [
        ("{ip: 203.0.113.7, ipMode: Proxy}", []),
        ("{ip: 203.0.113.7, ipMode: VIP}", ["203.0.113.7"]),
        ("{ip: 203.0.113.7}", ["203.0.113.7"]),
        ("{ip: 203.0.113.7, ipMode: Proxy}, {ip: 203.0.113.8}", ["203.0.113.8"]),
        ("{hostname: lb.example.org}", []),
        ("{ip: '2001:db8::7'}, {ip: 203.0.113.8}", ["203.0.113.8"]),
    ],
)
def test_a_load_balancer_that_is_a_proxy_is_not_short_circuited(mode: str, ingress: str, caught: list[str]) -> None:
    """KEP-1860: the packets are to go by the load balancer, which may terminate TLS or count."""
    spec = ", type: LoadBalancer"
    text = service(spec, status=f"loadBalancer: {{ingress: [{ingress}]}}").replace(
        "{port: 80}", "{port: 80, nodePort: 31080}"
    )
    shown = output(text + endpoints("10.244.1.9"), mode)
    assert sorted({*re.findall(r"203\.0\.113\.\d+", shown)}) == caught
    assert "31080" in shown, "the node port stays"
    assert "2001:" not in shown


ZONED = endpoints(
    "10.244.1.5 nodeName: n1, hints: {forZones: [{name: a}]}",
    "10.244.1.6 nodeName: n2, hints: {forZones: [{name: b}], forNodes: [{name: n2}]}",
    "10.244.1.7 nodeName: n3, hints: {forZones: [{name: b}]}",
)
A, B, C = "10.244.1.5:8080", "10.244.1.6:8080", "10.244.1.7:8080"


@pytest.mark.parametrize("mode", ["iptables", "ipvs", "nftables"])
@pytest.mark.parametrize(
    ("node", "zone", "slices", "ends"),
    [
        ("n1", "a", ZONED, [A]),
        ("n2", "b", ZONED, [B, C]),  # not all have a hint for a node
        ("n4", "c", ZONED, [A, B, C]),
        ("n4", "", ZONED, [A, B, C]),
        ("n1", "a", ZONED + endpoints("10.244.1.8", name="web-2"), [A, B, C, "10.244.1.8:8080"]),
        ("n2", "b", ZONED.replace("{name: a}]", "{name: a}], forNodes: [{name: n1}]")
                         .replace("hints: {forZones: [{name: b}]}", "conditions: {ready: false}"), [B]),
    ],
)  # fmt: skip
def test_hints(mode: str, node: str, zone: str, slices: str, ends: list[str]) -> None:
    assert sent_to(service() + slices, mode, replace(NODE, node=node, zone=zone)) == ends


@pytest.mark.parametrize("mode", MODES)
def test_a_kube_proxy_reads_what_is_of_its_family(mode: str) -> None:
    """A dual-stack file: of its addresses and ranges, IPv6 is the other kube-proxy's."""
    more = ", type: LoadBalancer, externalIPs: ['2001:db8::1', 203.0.113.9]"
    more += ", loadBalancerSourceRanges: ['2001:db8::/32', 198.51.100.0/24]"
    text = service(more, status="loadBalancer: {ingress: [{ip: 203.0.113.7}]}") + endpoints("10.244.1.9")
    text += endpoints("'fd00:10:244::9'", name="web-6").replace("IPv4", "IPv6")
    text += endpoints("db.example.org", name="web-name").replace("IPv4", "FQDN")
    shown = output(text, mode)
    assert "2001:" not in shown
    assert "fd00:" not in shown
    assert "203.0.113.9" in shown
    assert sent_to(text, mode) == ["10.244.1.9:8080"]


def test_a_name_of_any_length_fits_into_nftables() -> None:
    """kubernetes#139515: nft takes comments of 128 bytes."""
    long = service().replace("name: web", f"name: {'s' * 63}, namespace: {'n' * 63}")
    long = long.replace("{port: 80}", f"{{name: {'p' * 63}, port: 80}}")
    comments = re.findall(r'comment "([^"]*)" : goto', output(long, "nftables"))
    assert comments == [f"{'n' * 63}/{'s' * 63}:{'p' * 63}"[:128]]
    for mode in ("iptables", "userspace"):
        assert max(len(one) for one in re.findall(r'--comment "([^"]*)"', output(long, mode))) < 256


def test_a_port_without_a_number_is_passed_over() -> None:
    text = service() + endpoints("10.244.1.9").replace("ports: [{port: 8080}]", "ports: [{name: a}, {port: 8080}]")
    assert sent_to(text, "iptables") == ["10.244.1.9:8080"]
