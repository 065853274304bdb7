"""The endpoints controller, and the objects of the service network."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from nslab.api.pod_types import Container, ContainerPort, Pod, Protocol
from nslab.api.service_types import EndpointSlice, Service, ServicePort, ServiceType, SliceEndpoint, TrafficPolicy
from nslab.compiler.endpoints import resolve
from nslab.compiler.items import objects
from nslab.compiler.services import announced, api_server, proxy_of, services
from nslab.compiler.written_by import WrittenBy
from nslab.lab.addons import with_api_service
from nslab.lab.types import Client, Encapsulation, Lab, Networks, Node, Plugin, ProxyMode
from nslab.objects.iptables import Chain
from nslab.objects.needs import FULL
from nslab.objects.process import Control, Felix, KubeProxy
from nslab.objects.routes import Route
from nslab.proxy import model

WEB = (("app", "web"),)


def pod(name: str, address: str, node: str = "node1", *, ready: bool = True, port: int = 8080) -> Pod:
    ports = (ContainerPort(port, name="http"), ContainerPort(port + 1, Protocol.UDP, "echo"))
    container = Container("app", "agnhost", ports=ports)
    return Pod(name, node, (container,), labels=WEB, assigned=IPv4Address(address), ready=ready)


LAB = Lab(
    name="lab",
    networks=Networks((IPv4Network("192.168.59.0/24"),), *map(IPv4Network, ("20.96.0.0/12", "10.96.0.0/12"))),
    plugin=Plugin.CALICO,
    encapsulation=Encapsulation.IPIP,
    proxy_mode=ProxyMode.IPTABLES,
    dns_address=None,
    nodes=(
        Node("node1", IPv4Address("192.168.59.22"), IPv4Network("20.111.156.0/26")),
        Node("node2", IPv4Address("192.168.59.23"), IPv4Network("20.109.131.0/26")),
    ),
    clients=(Client("client", IPv4Address("192.168.59.10")),),
    pods=(pod("b", "20.111.156.7"), pod("a", "20.109.131.3", "node2")),
)
SERVICE = Service("web", (ServicePort(80, 8080),), cluster_ip=IPv4Address("10.103.9.116"), selector=WEB)


def ends(lab: Lab) -> list[str]:
    (service,) = resolve(lab)
    return [f"{end.ip}:{end.port}" for port in service.ports for end in port.endpoints if end.ready]


def with_service(**changes: object) -> Lab:
    return replace(LAB, services=(replace(SERVICE, **changes),))  # type: ignore[arg-type]


def test_endpoints_are_the_pods_that_a_selector_matches_in_the_order_of_their_names() -> None:
    (service,) = resolve(with_service())
    assert [(end.ip, end.node, end.pod) for end in service.ports[0].endpoints] == [
        ("20.109.131.3", "node2", "default/a"),
        ("20.111.156.7", "node1", "default/b"),
    ]


def test_without_a_selector_no_pod_is_behind_it() -> None:
    assert ends(with_service(selector=())) == []
    assert ends(with_service(selector=(("app", "db"),))) == []
    assert ends(with_service(namespace="other")) == []


def test_a_named_port_is_each_pods_own() -> None:
    lab = with_service(ports=(ServicePort(80, "http"),))
    lab = replace(lab, pods=(pod("a", "20.111.156.7"), pod("b", "20.111.156.8", port=9000)))
    assert ends(lab) == ["20.111.156.7:8080", "20.111.156.8:9000"]
    assert ends(with_service(ports=(ServicePort(80, "echo"),))) == []  # that name is a UDP port's
    assert ends(with_service(ports=(ServicePort(80, "echo", protocol=Protocol.UDP),)))[0].endswith(":8081")


def test_a_pod_that_is_not_ready_is_known_but_not_ready() -> None:
    lab = replace(with_service(), pods=(pod("a", "20.111.156.7", ready=False), pod("b", "20.111.156.8")))
    assert ends(lab) == ["20.111.156.8:8080"]
    assert len(resolve(lab)[0].ports[0].endpoints) == 2
    unready = replace(lab, services=(replace(SERVICE, publish_not_ready=True),))
    assert ends(unready) == ["20.111.156.7:8080", "20.111.156.8:8080"]


def test_endpoints_by_hand_belong_to_the_port_of_their_name() -> None:
    end = SliceEndpoint(IPv4Address("192.0.2.7"), terminating=True, ready=False, node="node2")
    by_hand = EndpointSlice("web-1", "web", endpoints=(end,), ports=(("", 5432, Protocol.TCP),))
    lab = replace(with_service(selector=()), slices=(by_hand,))
    (found,) = resolve(lab)[0].ports[0].endpoints
    assert found == model.Endpoint("192.0.2.7", 5432, "node2", ready=False, serving=True, terminating=True)
    assert ends(replace(lab, slices=(replace(by_hand, ports=(("other", 5432, Protocol.TCP),)),))) == []


def test_a_policy_for_traffic_from_outside_counts_only_where_there_is_any() -> None:
    local = TrafficPolicy.LOCAL
    assert not resolve(with_service(external_policy=local))[0].external_local
    assert resolve(with_service(external_policy=local, type=ServiceType.NODE_PORT))[0].external_local


def test_an_api_server_is_there_when_there_is_something_to_tell() -> None:
    assert [type(obj) for obj in api_server(LAB)][-1] is Control
    alone = replace(LAB, proxy_mode=ProxyMode.NONE)
    assert [*api_server(alone)]  # for Felix
    assert not [*api_server(replace(alone, plugin=Plugin.KUBENET))]
    assert [*api_server(replace(with_service(), proxy_mode=ProxyMode.NONE, plugin=Plugin.KUBENET))]


def test_each_node_has_a_kube_proxy_and_in_mode_none_nobody_has() -> None:
    shown = [*services(with_service(), FULL, WrittenBy.COMPONENTS)]
    assert [obj.ns for obj in shown if isinstance(obj, KubeProxy)] == ["nslab.lab.node1", "nslab.lab.node2"]
    assert [obj.ns for obj in shown if isinstance(obj, Felix)] == ["nslab.lab.node1", "nslab.lab.node2"]
    assert not [obj for obj in shown if isinstance(obj, Chain)]  # both write their own
    assert {obj.by for obj in services(with_service(), FULL, WrittenBy.NSLAB)} == {"Felix", "kube-proxy"}
    none = replace(with_service(), proxy_mode=ProxyMode.NONE)
    assert {obj.by for obj in services(none, FULL, WrittenBy.NSLAB)} == {"Felix"}
    assert not [*services(replace(none, plugin=Plugin.KUBENET), FULL, WrittenBy.NSLAB)]


def test_a_kube_proxy_knows_its_nodes_addresses_and_when_to_be_brief() -> None:
    proxy = proxy_of(LAB, LAB.nodes[0], FULL, ())
    assert proxy.addresses == ("192.168.59.22", "20.111.156.0")  # tunl0's, too
    assert (proxy.cluster_cidr, proxy.large) == ("20.96.0.0/12", False)
    many = model.ServiceInfo(
        "a", "b", "10.96.0.9", ports=(model.Port("", 80, endpoints=(model.Endpoint("192.0.2.1", 1),) * 1001),)
    )
    assert proxy_of(LAB, LAB.nodes[0], FULL, [many]).large


def test_clients_send_what_is_for_a_load_balancer_to_a_node_that_answers() -> None:
    lab = with_service(
        type=ServiceType.LOAD_BALANCER,
        load_balancer_ips=(IPv4Address("192.168.59.240"),),
        external_ips=(IPv4Address("192.168.59.23"),),  # a node's own address needs no way
    )
    lab = replace(lab, pods=(pod("a", "20.109.131.3", "node2"),))
    (way,) = announced(lab, resolve(lab))
    assert isinstance(way, Route)
    assert (way.ns, str(way.to), str(way.via)) == ("nslab.lab.client", "192.168.59.240/32", "192.168.59.23")
    (way,) = announced(replace(lab, pods=()), resolve(replace(lab, pods=())))
    assert isinstance(way, Route)
    assert str(way.via) == "192.168.59.22"


def test_clients_turn_to_another_node_only_where_a_health_check_tells_them_to() -> None:
    pods = (pod("a", "20.111.156.7", ready=False), pod("b", "20.109.131.3", "node2"))
    ways = {}
    for policy in TrafficPolicy:
        kind, ips = ServiceType.LOAD_BALANCER, (IPv4Address("192.168.59.240"),)
        lab = replace(with_service(type=kind, load_balancer_ips=ips, external_policy=policy), pods=pods)
        (way,) = announced(lab, resolve(lab))
        assert isinstance(way, Route)
        ways[policy] = str(way.via)
    assert ways == {TrafficPolicy.CLUSTER: "192.168.59.22", TrafficPolicy.LOCAL: "192.168.59.23"}


def test_objects_come_after_those_that_they_lie_on() -> None:
    items = {
        ("real", "tcp", "10.96.0.1:80", "20.0.0.1:80"): ("1",),
        ("virtual", "tcp", "10.96.0.1:80"): ("rr", "", ""),
        ("nft-element", "kube-proxy", "service-ips", "10.96.0.1 . tcp . 80"): ("", "goto x"),
        ("nft-map", "kube-proxy", "service-ips"): ("type ipv4_addr : verdict ;",),
        ("nft-table", "kube-proxy"): ("rules for kube-proxy",),
        ("address", "kube-ipvs0", "10.96.0.1/32"): (),
        ("dummy", "kube-ipvs0"): (),
    }
    made = [*objects("ns", {"kube-proxy": items})]
    seen = {("Netns", "ns")}
    for obj in made:
        assert set(obj.requires) <= seen
        seen |= {*obj.provides}
    assert len(made) == len(items)


@pytest.mark.parametrize("mode", [ProxyMode.IPTABLES, ProxyMode.NONE])
def test_the_service_kubernetes_is_there_wherever_services_are(mode: ProxyMode) -> None:
    (own,) = resolve(with_api_service(replace(LAB, proxy_mode=ProxyMode.IPTABLES)))
    assert (own.key, own.cluster_ip) == ("default/kubernetes", "10.96.0.1")
    assert own.ports == (model.Port("https", 443),)
    assert [one.name for one in with_api_service(replace(with_service(), proxy_mode=mode)).services][1:] == [
        "kubernetes"
    ]
    assert with_api_service(replace(LAB, proxy_mode=ProxyMode.NONE)).services == ()


def test_a_files_own_service_kubernetes_and_who_has_its_address_stay() -> None:
    for lab in (with_service(name="kubernetes"), with_service(cluster_ip=IPv4Address("10.96.0.1"))):
        assert with_api_service(lab) is lab
    assert len(with_api_service(with_service(name="kubernetes", namespace="other")).services) == 2


@pytest.mark.parametrize("proxy_mode", [mode for mode in ProxyMode if mode is not ProxyMode.NONE])
@pytest.mark.parametrize("plugin", [Plugin.CALICO, Plugin.KUBENET])
def test_no_encapsulation_and_no_number_of_endpoints_starts_another_kube_proxy(
    plugin: Plugin, proxy_mode: ProxyMode
) -> None:
    def started(encapsulation: Encapsulation, pods: int) -> list[KubeProxy]:
        many = tuple(pod(f"p{number}", f"20.100.{number // 256}.{number % 256}") for number in range(pods))
        lab = replace(with_service(), plugin=plugin, proxy_mode=proxy_mode, encapsulation=encapsulation, pods=many)
        return [obj for obj in services(lab, FULL, WrittenBy.COMPONENTS) if isinstance(obj, KubeProxy)]

    first = started(Encapsulation.IPIP, 1)
    assert len(first) == 2
    assert all(started(other, 1) == first for other in Encapsulation)
    assert started(Encapsulation.IPIP, 1200) == first
