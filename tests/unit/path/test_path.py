from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab.admission.load import load
from nslab.cni.chain import Wiring
from nslab.cni.config import NetworkConfig
from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.lab.types import Encapsulation, Lab
from nslab.objects.attachment import Attachment
from nslab.objects.base import State
from nslab.objects.chain_policy import ChainPolicy
from nslab.objects.container import Sandbox, Workload
from nslab.objects.ipset import SetMember
from nslab.objects.kernel_routes import KernelRoute
from nslab.objects.names import cali
from nslab.objects.needs import HostFeatures
from nslab.objects.plan import diff
from nslab.objects.ports import LinkUp
from nslab.objects.process import Bird, Control, KubeProxy, NodeAgent, TunnelAgent
from nslab.objects.routes import Route
from nslab.objects.sysctl import Sysctl
from nslab.probes import Kind, Outcome, Probe, Result, survey
from nslab.probes.evidence import question as conversation
from nslab.trace.conversation import Conversations
from nslab.trace.explain import explain
from nslab.trace.words import trouble
from nslab.views.changes import mending

if TYPE_CHECKING:
    from nslab.objects.base import State
    from nslab.trace.needs import Need

LABS = Path(__file__).parents[3] / "labs"
HOST = HostFeatures(ipip=False, ipip_fallback=False)


def lab(name: str = "calico-two-node", encapsulation: Encapsulation | None = None) -> Lab:
    loaded = load(LABS / name / "lab.yaml")
    return assign_addresses(replace(loaded, name="x", encapsulation=encapsulation or loaded.encapsulation))


def question(of: Lab, source: str, target: str, kind: Kind = Kind.ICMP) -> Probe:
    return next(probe for probe in survey(of, HOST, [source], [target]).probes if probe.kind is kind)


def depends(of: Lab, probe: Probe) -> tuple[Need, ...]:
    """What the predicted conversation needs."""
    predicted = Conversations(of.name, compile_lab(of, HOST))
    return predicted.needs(predicted.journeys(conversation(probe)), probe.port)


def way(of: Lab, source: str, target: str, kind: Kind = Kind.ICMP) -> tuple[Need, ...]:
    return depends(of, question(of, source, target, kind))


def shown(needs: tuple[Need, ...], *, reply: bool = False) -> list[str]:
    return [need.sentence for need in needs if need.reply is reply]


def test_every_hop_of_a_pods_way_out() -> None:
    sentences = shown(way(lab(encapsulation=Encapsulation.VXLAN), "pod-c", "pod-b"))
    in_order = [
        "pod-c's eth0 is up",
        "pod-c sends packets for everywhere else via 169.254.1.1 through eth0",
        "node2 forwards packets that are not its own (net.ipv4.ip_forward = 1)",
        "node2 has tunnel vxlan.calico (MTU 1450)",
        "node2 sends packets for 20.111.156.0/26 via 20.111.156.0 through vxlan.calico",
        "node2 knows that 20.111.156.0 is at 66:f9:37:c3:7e:94",
        "node2 sends frames for 66:f9:37:c3:7e:94 inside UDP to 192.168.59.22",
        "switch's br0 is up",
        "node1 has tunnel vxlan.calico (MTU 1450)",
        "pod-b has 20.111.156.7 on eth0",
    ]
    assert [sentence for sentence in sentences if sentence in in_order] == in_order


def test_the_stand_in_for_ipip_needs_a_process_at_both_ends() -> None:
    processes = [s for s in shown(way(lab(), "pod-c", "pod-b")) if "process" in s]
    assert processes == ["node2 has its process behind tunl0", "node1 has its process behind tunl0"]


def test_what_leaves_the_cluster_is_translated_on_its_node_and_back() -> None:
    needs = way(lab(), "pod-a", "client")
    assert [need.key[2:] for need in needs if need.translates and need.key[0] == "SetMember"] == [
        ("cali40masq-ipam-pools", "20.96.0.0/12"),
        ("cali40all-ipam-pools", "20.96.0.0/12"),
    ]
    # The answer is for node1, which sends it on to the pod.
    assert list(dict.fromkeys(need.where for need in needs if need.reply)) == ["client", "switch", "node1", "pod-a"]


def test_the_way_back_goes_on_from_who_translated() -> None:
    """From there it is a way like any other: through the node, to the pod's own door."""
    back = shown(way(lab(), "pod-a", "client"), reply=True)
    in_order = [
        "node1 has 192.168.59.22 on eth0",
        "node1 forwards packets that are not its own (net.ipv4.ip_forward = 1)",
        "pod-a has 20.111.156.6 on eth0",
    ]
    assert [sentence for sentence in back if sentence in in_order] == in_order


def test_a_pod_needs_its_node_to_answer_arp_for_its_gateway() -> None:
    cable = cali("default", "pod-c")
    settings = [(need.key, need.reply) for need in way(lab(), "pod-c", "pod-b") if "proxy_arp" in need.sentence]
    assert settings == [
        (("Sysctl", "nslab.x.node2", f"net/ipv4/conf/{cable}/proxy_arp"), False),
        (("Sysctl", "nslab.x.node1", f"net/ipv4/conf/{cali('default', 'pod-b')}/proxy_arp"), True),
    ]
    of = lab()
    have = tuple(
        replace(obj, value="0") if isinstance(obj, Sysctl) and obj.path.endswith(f"{cable}/proxy_arp") else obj
        for obj in compile_lab(of, HOST)
    )
    assert why(of, have, Result(question(of, "pod-c", "pod-b"), Outcome.UNREACHABLE)).startswith(
        f"node2 has net.ipv4.conf.{cable}.proxy_arp = 0 instead of 1 (the Calico CNI plugin's): "
    )


def test_what_is_looked_up_is_known_of_every_route_and_address_on_the_way() -> None:
    looked_up = {need.key: str(need.to) for need in way(lab(), "pod-c", "node1") if need.to and not need.reply}
    assert looked_up["Route", "nslab.x.pod-c", "0.0.0.0/0"] == "192.168.59.22"
    assert looked_up["Route", "nslab.x.pod-c", "169.254.1.1/32"] == "169.254.1.1"
    # An address is met as the interface's own first, and then brings the route.
    assert looked_up["Address", "nslab.x.node2", "eth0", "192.168.59.23/24"] == "192.168.59.22"


def test_the_switch_has_to_be_there() -> None:
    assert "switch exists" in shown(way(lab(), "node1", "node2"))


def test_containers_of_one_pod_need_its_loopback_and_nothing_else() -> None:
    of = lab("pause-pod")
    probe = next(probe for probe in survey(of, HOST, ["pod-1"], ["pod-1"]).probes if probe.port == 8080)
    needs = depends(of, probe)
    assert [need.key[:1] + need.key[2:] for need in needs if not need.reply] == [
        ("Netns",), ("LinkUp", "lo"), ("Process", "node"), ("Process", "pause"), ("Process", "container/second"),
    ]  # fmt: skip


def test_of_a_port_that_no_container_declares_each_may_be_the_server() -> None:
    of = lab("pause-pod")
    probe = replace(question(of, "node1", "pod-1", Kind.TCP), port=9999)
    needs = depends(of, probe)
    assert [need.key[2] for need in needs if need.key[0] == "Process" and need.where == "pod-1"] == [
        "pause", "container/first", "container/second",
    ]  # fmt: skip


def test_pods_of_one_bridge_need_their_ports_and_no_route() -> None:
    needs = way(lab("kubenet-two-node"), "pod-a", "pod-b")
    assert {need.key[0] for need in needs} == {"Netns", "Device", "LinkUp", "Port", "Address"}


def test_a_way_that_must_not_be_ends_at_the_router() -> None:
    needs = way(lab(), "client", "pod-a")
    assert (needs[-1].where, needs[-1].reply) == ("switch", False)


def test_a_real_server_needs_its_processes() -> None:
    needs = way(lab(), "pod-a", "pod-b", Kind.TCP)
    assert [need.key[2] for need in needs if need.key[0] == "Process" and need.where == "pod-b"] == [
        "pause", "container/app",
    ]  # fmt: skip


def without(state: State, *kinds: type, ns: str, **attributes: object) -> State:
    return tuple(
        obj
        for obj in state
        if not (
            isinstance(obj, kinds) and obj.ns == ns and all(str(getattr(obj, n)) == v for n, v in attributes.items())
        )
    )


def why(of: Lab, have: State, result: Result, unmanaged: dict[str, list[str]] | None = None) -> str:
    want = compile_lab(of, HOST)
    return explain(result, depends(of, result.probe), diff(have, want), unmanaged).sentence


def test_the_first_missing_thing_is_named_with_what_mends_it() -> None:
    of = lab()
    have = without(compile_lab(of, HOST), Route, ns="nslab.x.node2", to="20.111.156.0/26")
    assert why(of, have, Result(question(of, "pod-c", "pod-b"), Outcome.TIMED_OUT)) == (
        "node2 has no route to 20.111.156.0/26 (BIRD's): ip -n nslab.x.node2 route add 20.111.156.0/26 via "
        "192.168.59.22 dev tunl0 proto bird onlink"
    )


def test_a_bird_that_does_not_run_is_named_with_the_route_that_is_lost() -> None:
    of = lab("bgp-mesh")
    have = without(compile_lab(of, HOST), Route, ns="nslab.x.node1", to="20.109.131.0/26")
    lost = Result(question(of, "pod-b", "pod-d"), Outcome.TIMED_OUT)
    assert "; " not in why(of, have, lost)
    assert why(of, without(have, Bird, ns="nslab.x.node2"), lost) == (
        "node1 has no route to 20.109.131.0/26 (BIRD's); no BIRD runs on node2, `nslab up x` starts it"
    )


def test_what_went_with_it_is_counted_not_blamed() -> None:
    of = lab("kubenet-two-node")
    have = without(compile_lab(of, HOST), LinkUp, ns="nslab.x.pod-a", dev="eth0")
    have = without(have, Route, ns="nslab.x.pod-a")
    assert why(of, have, Result(question(of, "pod-a", "pod-c"), Outcome.UNREACHABLE)) == (
        "pod-a's eth0 is down: ip -n nslab.x.pod-a link set eth0 up "
        "(1 more thing went with it; `nslab up x` puts all back)"
    )


def test_an_answer_that_got_lost_is_looked_for_on_the_way_back() -> None:
    of = lab(encapsulation=Encapsulation.NONE)
    have = without(compile_lab(of, HOST), Route, ns="nslab.x.node1", to="20.109.131.0/26")
    lost = Result(question(of, "pod-c", "pod-b"), Outcome.TIMED_OUT, arrived_at="pod-b")
    assert why(of, have, lost).startswith("node1 has no route to 20.109.131.0/26")


def test_a_setting_is_told_as_it_is_and_as_it_should_be() -> None:
    of = lab()
    have = tuple(
        replace(obj, value="0") if isinstance(obj, Sysctl) and obj.path == "net/ipv4/ip_forward" else obj
        for obj in compile_lab(of, HOST)
    )
    assert why(of, have, Result(question(of, "pod-c", "pod-b"), Outcome.TIMED_OUT)) == (
        "node2 has net.ipv4.ip_forward = 0 instead of 1 (Felix's): "
        "ip netns exec nslab.x.node2 sysctl -qw net.ipv4.ip_forward=1"
    )


def test_a_route_of_another_writer_is_told_by_who_wrote_it() -> None:
    of = lab(encapsulation=Encapsulation.NONE)
    have = tuple(
        replace(obj, protocol="static", onlink=True) if isinstance(obj, Route) and obj.protocol == "bird" else obj
        for obj in compile_lab(of, HOST)
    )
    assert trouble(diff(have, compile_lab(of, HOST))[0]) == (
        "node1's route to 20.109.131.0/26 is proto static onlink instead of proto bird (BIRD's)"
    )


def test_a_dead_container_is_named() -> None:
    of = lab()
    have = without(compile_lab(of, HOST), Workload, ns="nslab.x.pod-b")
    refused = Result(question(of, "pod-a", "pod-b", Kind.TCP), Outcome.REFUSED)
    output = "pod-b has no running container app (the container runtime's); `nslab up x` mends it"
    assert why(of, have, refused) == output


@pytest.mark.parametrize(
    ("kind", "host", "output"),
    [
        (NodeAgent, "node1", "node1 has no nslab-node process (kubelet's)"),
        (Control, "control", "control has no nslab-control process (the API server's)"),
        (Sandbox, "pod-a", "pod-a has no pause process (kubelet's)"),
        (TunnelAgent, "node2", "node2 has no process behind tunl0 (Felix's)"),
        (KubeProxy, "node1", "node1 has no kube-proxy process"),
    ],
)
def test_a_dead_process_is_named_once_and_no_command_is_offered_that_nobody_can_type(
    kind: type, host: str, output: str
) -> None:
    want = compile_lab(lab(), HOST)
    healing = diff(without(want, kind, ns=f"nslab.x.{host}"), want)
    assert output in [trouble(step) for step in healing]
    assert mending(healing) == ["nslab up x"]


def test_what_a_person_can_type_is_offered_before_what_nslab_must_do() -> None:
    want = compile_lab(lab(), HOST)
    have = without(want, Workload, ns="nslab.x.pod-b")
    have = without(have, Route, ns="nslab.x.node2", to="20.111.156.0/26")
    *lines, last = mending(diff(have, want))
    assert [line.split(" via ")[0] for line in lines] == ["ip -n nslab.x.node2 route add 20.111.156.0/26"]
    assert last == "nslab up x"


NODE2 = "nslab.x.node2"


def stray(to: str) -> Route:
    return Route(NODE2, IPv4Network(to), "eth0", IPv4Address("192.168.59.10"), "static")


def test_a_route_that_catches_more_than_the_lab_s_is_blamed_and_no_shorter_one() -> None:
    of = lab()
    lost = Result(question(of, "pod-c", "pod-b"), Outcome.TIMED_OUT)
    assert why(of, (*compile_lab(of, HOST), stray("20.111.156.7/32")), lost) == (
        "node2 has a route to 20.111.156.7/32 via 192.168.59.10 through eth0 that is not the lab's: "
        "ip -n nslab.x.node2 route del 20.111.156.7 via 192.168.59.10 dev eth0 proto static"
    )
    assert why(of, (*compile_lab(of, HOST), stray("20.111.0.0/16")), lost).startswith(
        "what differs on the way: node2 has a route to 20.111.0.0/16"
    )


def test_who_is_seen_as_another_points_at_what_translates() -> None:
    of = lab()
    have = without(compile_lab(of, HOST), Route, ns="nslab.x.pod-a", to="0.0.0.0/0")
    have = without(have, SetMember, ns="nslab.x.node1", set="cali40masq-ipam-pools")
    probe = question(of, "pod-a", "client")
    assert why(of, have, Result(probe, Outcome.TIMED_OUT)).startswith("pod-a has no default route")
    seen = Result(probe, Outcome.REACHED, arrived_at="client", seen_from=IPv4Address("20.111.156.6"))
    assert why(of, have, seen).startswith("node1 has no member 20.96.0.0/12 in ipset cali40masq-ipam-pools")


def test_of_a_host_that_is_not_there_that_is_said_first() -> None:
    of = lab()
    have = without(compile_lab(of, HOST), Route, ns=NODE2, to="20.111.156.0/26")
    have = tuple(obj for obj in have if obj.key != ("Netns", "nslab.x.pod-b"))
    probe = question(of, "pod-c", "pod-b")
    assert why(of, have, Result(probe, Outcome.TIMED_OUT)).startswith("node2 has no route to 20.111.156.0/26")
    assert why(of, have, Result(probe, Outcome.ABSENT)).startswith("there is no pod-b")


def test_what_the_plugins_say_of_one_of_the_two_is_why() -> None:
    of = lab()
    wiring = Wiring(NetworkConfig("pods", "1.0.0", ('{"type": "ptp"}',)), (), "c", "/run/netns/c", "eth0", "", ())
    good = Attachment("nslab.x.pod-b", "nslab.x.node1", wiring, IPv4Address("20.111.156.7"))
    plan = diff((replace(good, fault="no eth0"),), (good,))
    for source, target, blamed in (("pod-c", "pod-b", True), ("pod-b", "pod-c", True), ("pod-c", "pod-a", False)):
        probe = question(of, source, target)
        output = explain(Result(probe, Outcome.TIMED_OUT), depends(of, probe), plan).sentence
        assert ("no eth0" in output and "runs the plugins again" in output) is blamed


def test_a_refusal_of_a_healthy_lab_is_the_server_s() -> None:
    of = lab()
    refused = Result(question(of, "pod-a", "pod-b", Kind.TCP), Outcome.REFUSED)
    assert why(of, compile_lab(of, HOST), refused) == (
        "nothing of the lab differs: packets arrive at pod-b, where nothing listens on port 8080"
    )


def test_a_full_neighbour_table_is_named() -> None:
    of = lab()
    full = Result(question(of, "pod-a", "pod-c"), Outcome.UNREACHABLE, detail="No buffer space available")
    assert why(of, compile_lab(of, HOST), full).startswith("this machine's neighbour table is full")


def test_a_policy_on_the_way_is_named() -> None:
    of = lab()
    result = Result(question(of, "pod-c", "pod-b"), Outcome.TIMED_OUT)
    want = compile_lab(of, HOST)
    assert why(of, (*want, ChainPolicy("nslab.x.node1", "filter", "FORWARD", "DROP")), result) == (
        "node1's chain FORWARD (table filter) has policy DROP instead of ACCEPT: "
        "ip netns exec nslab.x.node1 iptables -t filter -P FORWARD ACCEPT"
    )
    elsewhere = ChainPolicy("nslab.x.client", "filter", "FORWARD", "DROP")
    assert why(of, (*want, elsewhere), result).startswith("nothing of the lab differs on the way")


def test_a_route_that_the_kernel_had_added_is_named() -> None:
    of = lab()
    own, result = IPv4Interface("192.168.59.22/24"), Result(question(of, "pod-c", "pod-b"), Outcome.TIMED_OUT)
    gone = KernelRoute("nslab.x.node1", 2, IPv4Network(own.ip), "eth0", own, there=False)
    assert why(of, (*compile_lab(of, HOST), gone), result).startswith(
        "node1 has no local route to 192.168.59.22/32 through eth0: ip -n nslab.x.node1 route append local "
    )


def test_strangers_are_named_when_nothing_of_ours_differs() -> None:
    of = lab()
    result = Result(question(of, "pod-c", "pod-b"), Outcome.TIMED_OUT)
    rules = {"nslab.x.node1": ["-A FORWARD -j DROP", "-A INPUT -j DROP"], "nslab.x.client": ["-A INPUT -j DROP"]}
    assert why(of, compile_lab(of, HOST), result, rules) == (
        "nothing of the lab differs on the way, but node1 has something that is not the lab's: "
        "-A FORWARD -j DROP (and 1 more)"
    )


def test_what_is_not_known_is_not_claimed() -> None:
    of = lab()
    probe, everything = question(of, "pod-c", "pod-b"), compile_lab(of, HOST)
    between = "nothing of the lab differs on the way"
    assert why(of, everything, Result(probe, Outcome.TIMED_OUT)) == f"{between}; the packet did not arrive"
    for where, said in (("pod-b", ""), ("pod-a", " at pod-a")):
        assert why(of, everything, Result(probe, Outcome.TIMED_OUT, arrived_at=where)) == (
            f"{between}; the packet arrived{said}, so the answer gets lost on its way back"
        )
    odd = Result(probe, Outcome.REACHED, arrived_at="pod-b", seen_from=IPv4Address("1.2.3.4"))
    assert why(of, everything, odd) == f"{between}, but something makes pod-c look like 1.2.3.4"


def test_a_tunnel_leads_through_the_router_and_its_answer_back() -> None:
    needs = way(lab("calico-cross-subnet"), "pod-e", "pod-b")
    passed = list(dict.fromkeys(need.where for need in needs if not need.reply))
    assert passed == ["pod-e", "node3", "switch", "router", "node1", "pod-b"]
    assert "router forwards packets that are not its own (net.ipv4.ip_forward = 1)" in shown(needs)
    assert "node3 sends packets for everywhere else via 192.168.60.1 through eth0" in shown(needs)
    assert "router" in {need.where for need in needs if need.reply}


def test_neighbours_need_no_router() -> None:
    assert "router" not in {need.where for need in way(lab("calico-cross-subnet"), "pod-d", "pod-b")}


def test_bare_packets_end_at_the_router_and_what_somebody_told_it_is_blamed() -> None:
    of = lab("calico-cross-subnet", Encapsulation.NONE)
    assert way(of, "pod-b", "pod-e")[-1].where == "router"
    told_it = Route("nslab.x.router", IPv4Network("20.108.66.64/26"), "eth1", IPv4Address("192.168.60.24"))
    got_there = Result(question(of, "pod-b", "pod-e"), Outcome.REACHED, arrived_at="pod-e")
    assert why(of, (*compile_lab(of, HOST), told_it), got_there).startswith(
        "router has a route to 20.108.66.64/26 via 192.168.60.24 through eth1 that is not the lab's"
    )
