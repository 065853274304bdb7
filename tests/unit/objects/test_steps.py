"""Plans: in which order, what the kernel takes along, what changes in place, and back."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nslab.errors import Refused
from nslab.objects.base import KernelObject, State
from nslab.objects.container import Sandbox, Workload
from nslab.objects.fake.kernel import FakeKernel
from nslab.objects.inet import Address
from nslab.objects.ipset import IpSet, SetMember
from nslab.objects.iptables import Chain, Jump
from nslab.objects.ipvs import RealServer, VirtualServer
from nslab.objects.links import Bridge, Dummy, Veth
from nslab.objects.namespaces import Netns
from nslab.objects.neighbours import Fdb, Neighbour
from nslab.objects.nft import NftChain, NftSet, NftTable
from nslab.objects.plan import Add, Plan, Remove, Replace, diff, invert, transactions
from nslab.objects.ports import BridgePort, LinkUp
from nslab.objects.process import NodeAgent, TunnelAgent
from nslab.objects.routes import Blackhole, Route
from nslab.objects.script import command
from nslab.objects.sysctl import Sysctl
from nslab.objects.tunnels import Ipip, Tun, Vxlan
from tests.slow import often

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
CABLE = Veth("node", "cali0", A, "pod", "eth0", B)
POD: State = (
    Netns("node"),
    Netns("pod"),
    CABLE,
    LinkUp("node", "cali0"),
    LinkUp("pod", "eth0"),
    Address("pod", "eth0", IPv4Interface("20.111.156.7/32")),
    Route("pod", IPv4Network("169.254.1.1/32"), "eth0"),
    Route("pod", IPv4Network("0.0.0.0/0"), "eth0", IPv4Address("169.254.1.1")),
    Route("node", IPv4Network("20.111.156.7/32"), "cali0"),
    Neighbour("node", "cali0", IPv4Address("20.111.156.7"), B),
    Sysctl("node", "net/ipv4/conf/cali0/proxy_arp", "1", "0"),
)


def lines(plan: Plan) -> list[str]:
    """The plan as one would type it."""
    return [command(step).replace("ip netns exec node ", "") for step in plan]


def test_what_is_wanted_is_told_in_its_order() -> None:
    assert lines(diff((), POD)) == [
        "ip netns add node",
        "ip netns add pod",
        f"ip -n node link add cali0 address {A} mtu 1500 type veth peer name eth0 netns pod address {B} mtu 1500",
        "ip -n node link set cali0 up",
        "ip -n pod link set eth0 up",
        "ip -n pod addr add 20.111.156.7/32 dev eth0",
        "ip -n pod route add 169.254.1.1 dev eth0 scope link",
        "ip -n pod route add default via 169.254.1.1 dev eth0",
        "ip -n node route add 20.111.156.7 dev cali0 scope link",
        f"ip -n node neigh replace 20.111.156.7 dev cali0 lladdr {B} nud permanent",
        "sysctl -qw net.ipv4.conf.cali0.proxy_arp=1",
    ]


def test_what_is_there_needs_no_step() -> None:
    assert diff(POD, POD) == ()


def test_by_whom_it_is_done_makes_no_difference() -> None:
    assert diff([replace(obj, by="somebody") for obj in POD], POD) == ()


def test_the_cable_goes_first_and_takes_along_what_lies_on_it() -> None:
    # By itself, the kernel would take the cable a while after the namespace.
    assert lines(diff(POD, (Netns("node"),))) == ["ip -n node link del cali0", "ip netns del pod"]


def test_another_cable_means_all_of_it_anew_at_both_ends() -> None:
    other = replace(CABLE, name="veth0")
    want: State = (*POD[:2], other, LinkUp("node", "veth0"), *POD[4:8])
    assert lines(diff(POD, want)) == [
        "ip -n node link del cali0",
        f"ip -n node link add veth0 address {A} mtu 1500 type veth peer name eth0 netns pod address {B} mtu 1500",
        "ip -n node link set veth0 up",
        "ip -n pod link set eth0 up",
        "ip -n pod addr add 20.111.156.7/32 dev eth0",
        "ip -n pod route add 169.254.1.1 dev eth0 scope link",
        "ip -n pod route add default via 169.254.1.1 dev eth0",
    ]


def test_another_address_takes_the_routes_with_it() -> None:
    want = tuple(
        replace(obj, address=IPv4Interface("20.111.156.8/32")) if isinstance(obj, Address) else obj for obj in POD
    )
    assert lines(diff(POD, want)) == [
        "ip -n pod addr del 20.111.156.7/32 dev eth0",
        "ip -n pod addr add 20.111.156.8/32 dev eth0",
        "ip -n pod route add 169.254.1.1 dev eth0 scope link",
        "ip -n pod route add default via 169.254.1.1 dev eth0",
    ]


def test_one_address_of_two_takes_nothing() -> None:
    second = Address("pod", "eth0", IPv4Interface("10.0.0.1/8"))
    assert lines(diff((*POD, second), POD)) == ["ip -n pod addr del 10.0.0.1/8 dev eth0"]


def test_a_setting_goes_back_to_what_it_was_at_birth() -> None:
    assert lines(diff(POD, POD[:-1])) == ["sysctl -qw net.ipv4.conf.cali0.proxy_arp=0"]


def test_a_smaller_mtu_is_set_in_place_at_both_ends() -> None:
    want = tuple(replace(CABLE, mtu=1450) if obj == CABLE else obj for obj in POD)
    assert lines(diff(POD, want)) == ["ip -n node link set cali0 mtu 1450; ip -n pod link set eth0 mtu 1450"]


def test_another_link_layer_address_takes_the_neighbours() -> None:
    want = tuple(replace(CABLE, mac=B) if obj == CABLE else obj for obj in POD)
    assert lines(diff(POD, want)) == [
        f"ip -n node link set cali0 address {B} mtu 1500; ip -n pod link set eth0 mtu 1500",
        f"ip -n node neigh replace 20.111.156.7 dev cali0 lladdr {B} nud permanent",
    ]


def test_a_route_is_replaced_also_by_a_blackhole() -> None:
    way = Route("node", IPv4Network("20.96.2.0/24"), "cali0", protocol="bird")
    hole = Blackhole("node", IPv4Network("20.96.2.0/24"), "80")
    assert lines(diff((*POD, way), (*POD, hole))) == ["ip -n node route replace blackhole 20.96.2.0/24 proto 80"]


def test_the_drivers_own_tunnel_stays_where_it_is() -> None:
    tunnel = (
        Netns("node"),
        Ipip("node", "tunl0", 1480, fallback=True),
        LinkUp("node", "tunl0"),
        Address("node", "tunl0", IPv4Interface("20.111.156.0/32")),
    )
    assert lines(diff((), tunnel)) == [
        "ip netns add node",
        "ip -n node link set tunl0 mtu 1480",
        "ip -n node link set tunl0 up",
        "ip -n node addr add 20.111.156.0/32 dev tunl0",
    ]
    assert lines(diff(tunnel, tunnel[:1])) == [
        "ip -n node addr del 20.111.156.0/32 dev tunl0",
        "ip -n node link set tunl0 down",
    ]


def test_a_vxlan_device_goes_with_its_parent() -> None:
    veth, other = Veth("switch", "p", A, "node", "eth0", B), Veth("switch", "q", A, "node", "eth0", B)
    tunnel = Vxlan("node", "vxlan.calico", A, 4096, 4789, IPv4Address("192.168.59.22"), "eth0", 1450)
    machines = (Netns("switch"), Netns("node"))
    tunnelled = "id 4096 local 192.168.59.22 dev eth0 dstport 4789 nolearning"
    assert lines(diff((*machines, veth, tunnel), (*machines, other, tunnel))) == [
        "ip -n switch link del p",
        f"ip -n switch link add q address {A} mtu 1500 type veth peer name eth0 netns node address {B} mtu 1500",
        f"ip -n node link add vxlan.calico address {A} mtu 1450 type vxlan {tunnelled}",
    ]


def test_a_chain_goes_after_the_rule_that_names_it() -> None:
    old, new = Chain("node", "nat", "KUBE-SERVICES", ("-j KUBE-SVC-1",)), Chain("node", "nat", "KUBE-SERVICES", ())
    gone = Chain("node", "nat", "KUBE-SVC-1", ("-j ACCEPT",))
    plan = diff((Netns("node"), gone, old), (Netns("node"), new))
    assert lines(plan) == [
        "iptables -t nat -F KUBE-SERVICES",
        "iptables -t nat -F KUBE-SVC-1; iptables -t nat -X KUBE-SVC-1",
    ]
    assert len(transactions(plan)) == 1


def test_a_process_is_ended_before_its_namespace_goes() -> None:
    pod = (Netns("node"), NodeAgent("node", "node"), Netns("pod"), PAUSE, APP)
    kinds = [(type(step).__name__, type(step.obj).__name__) for step in diff(pod, pod[:2])]
    assert kinds == [("Remove", "Workload"), ("Remove", "Sandbox"), ("Remove", "Netns")]


def test_a_chain_of_nftables_goes_after_the_rule_that_names_it() -> None:
    table, gone = NftTable("node", "kube-proxy"), NftChain("node", "kube-proxy", "service-A", "", ("drop",))
    old, new = (NftChain("node", "kube-proxy", "services", "", rules) for rules in (("goto service-A",), ()))
    spec = "type ipv4_addr ;"
    stale = NftSet("node", "kube-proxy", "affinity-A", spec)
    plan = diff((Netns("node"), table, stale, gone, old), (Netns("node"), table, new))
    assert plan == (Replace(old, new), Remove(gone), Remove(stale))


def test_with_the_process_of_a_node_goes_what_runs_on_it_and_comes_anew() -> None:
    pod = (Netns("node"), NodeAgent("node", "node"), Netns("pod"), PAUSE, APP)
    others = (Netns("other"), NodeAgent("other", "other"), replace(PAUSE, ns="other", node="other"))
    steps = diff((*pod, *others), (*pod[:1], *pod[2:], *others))
    kinds = [(type(step).__name__, type(step.obj).__name__) for step in steps]
    assert kinds == [
        ("Remove", "Workload"), ("Remove", "Sandbox"), ("Remove", "NodeAgent"), ("Add", "Sandbox"), ("Add", "Workload"),
    ]  # fmt: skip


def test_a_container_whose_pause_was_killed_comes_anew() -> None:
    pod = (Netns("node"), NodeAgent("node", "node"), Netns("pod"), PAUSE, APP)
    kinds = [(type(step).__name__, type(step.obj).__name__) for step in diff((*pod[:3], APP), pod)]
    assert kinds == [("Remove", "Workload"), ("Add", "Sandbox"), ("Add", "Workload")]


def test_the_same_steps_in_the_kernels_units() -> None:
    assert [(unit.unit, unit.where, len(unit.steps)) for unit in transactions(diff((), POD))] == [
        ("netns", (), 2),
        ("netlink", ("node",), 2),
        ("netlink", ("pod",), 4),
        ("netlink", ("node",), 2),
        ("sysctl", ("node",), 1),
    ]


def test_backwards() -> None:
    assert lines(invert(diff((), POD))) == [
        "sysctl -qw net.ipv4.conf.cali0.proxy_arp=0",
        "ip -n node neigh del 20.111.156.7 dev cali0",
        "ip -n node route del 20.111.156.7 dev cali0 scope link",
        "ip -n pod route del default via 169.254.1.1 dev eth0",
        "ip -n pod route del 169.254.1.1 dev eth0 scope link",
        "ip -n pod addr del 20.111.156.7/32 dev eth0",
        "ip -n pod link set eth0 down",
        "ip -n node link set cali0 down",
        "ip -n node link del cali0",
        "ip netns del pod",
        "ip netns del node",
    ]


# --- Whatever is there, whatever is wanted -----------------------------------------------------------------------

SPACES, NAMES, MACS = st.sampled_from(["a", "b"]), st.sampled_from(["x", "y"]), st.sampled_from([A, B])
MTUS, BLOCKS = st.sampled_from([1450, 1500]), st.sampled_from(["10.0.1.0/24", "10.0.2.0/24", "10.0.9.9/32"])
HOSTS = st.sampled_from(["10.0.1.1", "10.0.2.2"]).map(IPv4Address)
DEVICES = st.sampled_from(["x", "y", "v", "tunl0"])
CHAINS = st.sampled_from(["P", "Q", "R"])
RULES = st.one_of(
    CHAINS.map(lambda name: f"-j {name}"),
    st.sampled_from(["-j ACCEPT", "-m set --match-set S src -j DROP", "-m set --match-set T dst -j RETURN"]),
)
PROTOCOLS, WEIGHTS = st.sampled_from(["tcp", "udp"]), st.sampled_from([0, 1])
SERVICES = st.sampled_from(["10.96.0.1:80", "10.96.0.2:80"])
PAUSE = Sandbox("pod", "node", "default", "pod-b", "1", "pod-b", IPv4Address("20.111.156.7"), False, "")
APP = Workload("pod", "node", "app", ("agnhost",), (), "/", 8080)


def pauses(ns: str, node: str, hostname: str) -> Sandbox:
    """A pause that differs by its host name."""
    return replace(PAUSE, ns=ns, node=node, hostname=hostname)


# Layer upon layer, so that much of what is drawn has something to lie on.
LAYERS: tuple[tuple[int, st.SearchStrategy[KernelObject]], ...] = (
    (4, st.builds(Veth, st.just("a"), NAMES, MACS, st.just("b"), NAMES, MACS, MTUS)),
    (3, st.builds(Bridge, SPACES, NAMES, MACS, MTUS)),
    (3, st.builds(Vxlan, SPACES, st.just("v"), MACS, st.just(1), st.just(4789), HOSTS, NAMES, MTUS)),
    (2, st.builds(Tun, SPACES, st.just("tunl0"), MTUS)),
    (4, st.builds(BridgePort, SPACES, NAMES, NAMES, st.booleans())),
    (8, st.builds(LinkUp, SPACES, st.sampled_from(["x", "y", "v", "tunl0", "lo"]))),
    (6, st.builds(Address, SPACES, DEVICES, st.sampled_from(["10.0.1.7/24", "10.0.9.9/32"]).map(IPv4Interface))),
    (9, st.builds(Route, SPACES, BLOCKS.map(IPv4Network), DEVICES, st.none() | HOSTS, st.just("bird"), st.booleans())),
    (2, st.builds(Blackhole, SPACES, BLOCKS.map(IPv4Network), st.just("80"))),
    (6, st.builds(Neighbour, SPACES, DEVICES, HOSTS, MACS)),
    (4, st.builds(Fdb, SPACES, st.just("v"), MACS, HOSTS)),
    (3, st.builds(Sysctl, SPACES, st.just("net/ipv4/conf/x/proxy_arp"), st.sampled_from(["1", "2"]), st.just("0"))),
    (3, st.builds(IpSet, SPACES, st.sampled_from(["S", "T"]), st.just("hash:net"))),
    (4, st.builds(SetMember, SPACES, st.sampled_from(["S", "T"]), BLOCKS)),
    (6, st.builds(Chain, SPACES, st.just("nat"), CHAINS, st.lists(RULES, max_size=2).map(tuple))),
    (5, st.builds(Jump, SPACES, st.just("nat"), st.just("OUTPUT"), RULES, st.sampled_from(["first", "last"]))),
    (2, st.builds(Dummy, SPACES, st.just("d"))),
    (4, st.builds(VirtualServer, SPACES, PROTOCOLS, SERVICES, st.sampled_from(["rr", "sh"]), st.sampled_from([0, 60]))),
    (6, st.builds(RealServer, SPACES, PROTOCOLS, SERVICES, st.sampled_from(["10.0.1.1:80", "10.0.2.2:80"]), WEIGHTS)),
    (2, SPACES.map(lambda ns: NodeAgent(ns, ns))),
    (2, st.builds(TunnelAgent, SPACES, SPACES, st.just("tunl0"), HOSTS)),
    (2, st.builds(pauses, SPACES, SPACES, st.sampled_from(["pod-b", "pod-d"]))),
    (2, st.builds(Workload, SPACES, SPACES, st.just("app"), st.just(("agnhost",)), st.just(()), st.just("/"), MTUS)),
)


def possible(objects: list[KernelObject]) -> State:
    """Of these, each that the kernel takes after those before it."""
    kernel, state = FakeKernel(), list[KernelObject]()
    for obj in (Netns("a"), Netns("b"), *objects):
        if obj.key not in {other.key for other in state}:
            try:
                for unit in transactions(diff((), (obj,))):
                    kernel.run(unit)
                state.append(obj)
            except Refused:
                pass
    return tuple(state)


DRAWN = st.tuples(*(st.lists(noun, min_size=most // 2, max_size=most) for most, noun in LAYERS))
STATES = DRAWN.map(lambda layers: possible([obj for layer in layers for obj in layer]))
often = settings(max_examples=often(50), deadline=None, suppress_health_check=[*HealthCheck])


def shown(state: State) -> set[KernelObject]:
    """A state without settings that are as they were at birth."""
    return {obj for obj in state if not (isinstance(obj, Sysctl) and obj.value == obj.default)}


@often
@given(STATES, STATES)
def test_a_difference_leads_from_what_is_there_to_what_is_wanted(have: State, want: State) -> None:
    kernel = FakeKernel(have)
    for unit in transactions(diff(have, want)):
        kernel.run(unit)
    assert shown(kernel.state()) == shown(want)


@often
@given(STATES)
def test_what_was_made_can_be_taken_back(want: State) -> None:
    kernel, plan = FakeKernel(), diff((), want)
    for unit in (*transactions(plan), *transactions(invert(plan))):
        kernel.run(unit)
    assert shown(kernel.state()) == set()


@often
@given(STATES, STATES)
def test_back_and_back_again_is_the_plan(have: State, want: State) -> None:
    plan = diff(have, want)
    assert invert(invert(plan)) == plan


@often
@given(STATES, STATES)
def test_units_hold_every_step_in_order(have: State, want: State) -> None:
    plan = diff(have, want)
    assert tuple(step for unit in transactions(plan) for step in unit.steps) == plan


@often
@given(STATES)
def test_every_step_is_one_line(want: State) -> None:
    plan = diff((), want)
    for step in (*plan, *invert(plan), *(Replace(obj, obj) for obj in want)):
        assert "\n" not in command(step)
    assert {type(step) for step in plan} <= {Add, Replace}
    assert {type(step) for step in invert(plan)} <= {Remove, Replace}
