from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from nslab.admission.load import load, parse
from nslab.api.pod_types import Container, Pod
from nslab.compiler.placement import assign_addresses
from nslab.errors import UsageError
from nslab.lab.types import Cni, Encapsulation, Lab, Plugin, ProxyMode
from nslab.objects.needs import HostFeatures
from nslab.objects.plan import Remove
from nslab.objects.routes import Route
from nslab.policy.allowed import Denial
from nslab.probes import Expected, Kind, Outcome, Probe, Result, Way, survey, survey_services, with_learned_routes
from nslab.probes.pairs import agnhost_port
from nslab.views.junit import junit, to_json
from nslab.views.matrix import cell, cells, denials, matrix, seen

LABS = Path(__file__).parents[2] / "labs"
STAND_IN, FALLBACK, NO_FALLBACK = (
    HostFeatures(ipip=False, ipip_fallback=False),
    HostFeatures(),
    HostFeatures(ipip_fallback=False),
)


def lab(name: str = "calico-two-node", encapsulation: Encapsulation | None = None) -> Lab:
    loaded = load(LABS / name / "lab.yaml")
    # Hosts alone: Services have tests of their own, and kube-dns' pod is one more host.
    loaded = replace(loaded, pods=tuple(pod for pod in loaded.pods if pod.namespace == "default"))
    return assign_addresses(replace(loaded, encapsulation=encapsulation or loaded.encapsulation))


def asked(of: Lab, source: str, target: str, host: HostFeatures = STAND_IN) -> list[str]:
    return [
        f"{probe} as {probe.expected_source}" if probe.expected is Expected.REACH else f"{probe} must fail"
        for probe in survey(of, host, [source], [target]).probes
    ]


def test_a_cell_asks_icmp_tcp_udp_and_what_fits_whole() -> None:
    assert asked(lab(), "pod-a", "pod-c") == [
        "pod-a -> pod-c icmp 20.109.131.2 as 20.111.156.6",
        "pod-a -> pod-c tcp 20.109.131.2:8080 as 20.111.156.6",
        "pod-a -> pod-c udp 20.109.131.2 as 20.111.156.6",
        "pod-a -> pod-c mtu of 1480 bytes 20.109.131.2 as 20.111.156.6",
        "pod-a -> pod-c mtu of 1481 bytes 20.109.131.2 must fail",
    ]


def test_a_client_must_not_reach_a_pod() -> None:
    assert asked(lab(), "client", "pod-a") == [
        "client -> pod-a icmp 20.111.156.6 must fail",
        "client -> pod-a tcp 20.111.156.6 must fail",
        "client -> pod-a udp 20.111.156.6 must fail",
    ]


def test_what_must_not_arrive_has_reached_although_no_answer_came_back() -> None:
    probe = Probe("client", "pod-a", IPv4Address("10.0.0.1"), Kind.UDP, expected=Expected.FAIL)
    assert Result(probe, Outcome.TIMED_OUT, arrived_at="pod-a").wrong == "reached"
    assert Result(probe, Outcome.TIMED_OUT).wrong == ""


def test_of_a_network_that_somebody_builds_by_hand_little_is_known() -> None:
    """Neither how much fits between pods, nor as whom they are seen outside."""
    of = lab("by-hand-cni")
    pod, other = [one for one in survey(of, STAND_IN).places if one.role == "pod"][:2]
    node, far = of.nodes
    assert not any("mtu" in line for line in asked(of, pod.name, other.name))
    assert sum("mtu" in line for line in asked(of, node.name, far.name)) == 2
    away = far if pod.node == node.name else node
    assert {line.rpartition(" as ")[2] for line in asked(of, pod.name, away.name)} == {"None"}
    assert {line.rpartition(" as ")[2] for line in asked(of, away.name, pod.name)} == {"None"}


@pytest.mark.parametrize(("output", "fits"), [('"mtu": 1400, ', 1400), ("", 1500)])
def test_what_fits_through_cni_plugins_links_their_configuration_says(output: str, fits: int) -> None:
    of = lab("kubenet-two-node")
    config = f'{{"cniVersion": "1.0.0", "name": "pods", {output}"type": "ptp"}}'
    of = replace(of, plugin=Plugin.EXEC, cni=Cni(config, ()))
    assert [line.split(" bytes")[0] for line in asked(of, "pod-a", "pod-c") if "mtu" in line] == [
        f"pod-a -> pod-c mtu of {fits}", f"pod-a -> pod-c mtu of {fits + 1}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("args", "port"),
    [
        ((), 8080),
        (("netexec",), 8080),
        (("netexec", "--http-port=80"), 80),
        (("netexec", "--http-port", "80"), 80),
        (("pause",), 0),
        (("netexec", "--http-port=-1"), 0),
    ],
)
def test_where_agnhost_answers(args: tuple[str, ...], port: int) -> None:
    assert agnhost_port(Container("app", image="agnhost", args=args)) == port


def test_containers_of_a_pod_are_told_apart_by_port() -> None:
    assert asked(lab("pause-pod"), "pod-1", "pod-1") == [
        "pod-1 -> pod-1 tcp 127.0.0.1:8000 as 127.0.0.1",
        "pod-1 -> pod-1 tcp 127.0.0.1:8080 as 127.0.0.1",
    ]


@pytest.mark.parametrize(
    ("name", "encapsulation", "source", "target", "host", "address"),
    [
        # natOutgoing: outside the pod network a pod is its node; its own node is not outside.
        ("calico-two-node", None, "pod-a", "client", STAND_IN, "192.168.59.22"),
        ("calico-two-node", None, "pod-a", "node2", STAND_IN, "192.168.59.22"),
        ("calico-two-node", None, "pod-a", "node1", STAND_IN, "20.111.156.6"),
        # A node speaks to the other node's pods from its tunnel, where there is one on the way.
        ("calico-two-node", Encapsulation.IPIP, "node1", "pod-c", STAND_IN, "20.111.156.0"),
        ("calico-two-node", Encapsulation.VXLAN, "node1", "pod-c", STAND_IN, "20.111.156.0"),
        ("calico-two-node", Encapsulation.VXLAN_CROSS_SUBNET, "node1", "pod-c", STAND_IN, "192.168.59.22"),
        ("calico-two-node", Encapsulation.NONE, "node1", "pod-c", STAND_IN, "192.168.59.22"),
        # To its own pods, from its oldest interface: a tunl0 that the driver made is older than eth0.
        ("calico-two-node", Encapsulation.IPIP, "node1", "pod-a", STAND_IN, "192.168.59.22"),
        ("calico-two-node", Encapsulation.IPIP, "node1", "pod-a", FALLBACK, "20.111.156.0"),
        ("calico-two-node", Encapsulation.IPIP, "node1", "pod-a", NO_FALLBACK, "192.168.59.22"),
        ("calico-two-node", Encapsulation.IPIP, "node1", "pod-c", NO_FALLBACK, "20.111.156.0"),
        ("kubenet-two-node", None, "node1", "pod-a", STAND_IN, "20.96.1.1"),
        ("kubenet-two-node", None, "node1", "pod-c", STAND_IN, "192.168.59.22"),
        ("kubenet-two-node", None, "pod-a", "client", STAND_IN, "192.168.59.22"),
        ("flannel-two-node", None, "node1", "pod-a", STAND_IN, "10.244.1.1"),
        ("flannel-two-node", None, "node1", "pod-c", STAND_IN, "10.244.1.0"),
        ("flannel-two-node", Encapsulation.NONE, "node1", "pod-c", STAND_IN, "192.168.59.22"),
        ("flannel-two-node", None, "pod-a", "client", STAND_IN, "192.168.59.22"),
    ],
)
def test_who_is_seen(
    name: str, encapsulation: Encapsulation | None, source: str, target: str, host: HostFeatures, address: str
) -> None:
    probes = survey(lab(name, encapsulation), host, [source], [target]).probes
    assert {str(probe.expected_source) for probe in probes if probe.expected is Expected.REACH} == {address}


def test_a_small_lab_is_asked_everything() -> None:
    everything = survey(lab(), STAND_IN)
    assert (everything.pairs, everything.possible, everything.note) == (42, 42, "")


def crowd() -> Lab:
    of = lab()
    pods = [Pod(f"p{i}", of.nodes[i % 2].name, (Container("c", command=("x",)),)) for i in range(60)]
    return assign_addresses(replace(of, pods=tuple(pods)))


def test_a_large_lab_is_sampled_and_says_so() -> None:
    one, two = survey(crowd(), STAND_IN), survey(crowd(), STAND_IN)
    assert one == two
    assert one.note == (
        f"{one.pairs} of {63 * 62} pairs: each host to two of every kind; --from and --to choose others"
    )
    targets = [probe.target for probe in one.probes if probe.source == "p0" and probe.kind is Kind.ICMP]
    # Two pods here, two elsewhere, the own node, the other one, the client; and everybody is somebody's target.
    assert targets == ["p2", "p30", "p1", "p31", "node1", "node2", "client"]
    assert {probe.target for probe in one.probes} == {one.name for one in one.places}


def test_in_a_large_lab_what_is_chosen_is_asked_whole() -> None:
    assert survey(crowd(), STAND_IN, ["p0"]).note == ""


def test_more_hosts_than_a_table_has_columns_for_are_listed_where_they_are_wrong() -> None:
    asked_ = survey(crowd(), STAND_IN, ["p0"])
    fine = {probe: probe.expected is Expected.REACH and probe.target != "p31" for probe in asked_.probes}
    results = [Result(probe, Outcome.REACHED if good else Outcome.TIMED_OUT) for probe, good in fine.items()]
    lines = matrix(asked_, results, 10_000)
    assert lines[0] == "no table: more than 12 hosts; what is wrong follows (--from and --to choose hosts)"
    assert lines[1] == "p0 -> p31: FAIL timeout"
    assert not any(line.startswith("p0  ") for line in lines)
    twelve = survey(crowd(), STAND_IN, ["p0"], [f"p{number}" for number in range(1, 13)])
    assert matrix(twelve, [Result(probe, Outcome.TIMED_OUT) for probe in twelve.probes], 10_000)[2].startswith("p0  ")


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(UsageError, match="no host pod-x in this lab; there are client, node1"):
        survey(lab(), STAND_IN, ["pod-x"])


@pytest.mark.parametrize(
    ("image", "command", "args", "asks"),
    [
        ("agnhost", (), ("netexec", "--http-port=80"), True),
        ("registry.k8s.io/agnhost:2.53", (), ("netexec", "--http-port", "80"), True),
        ("agnhost", (), ("netexec",), False),  # it listens on 8080
        ("agnhost", (), ("pause",), False),
        ("agnhost", ("nginx",), (), False),
    ],
)
def test_agnhost_is_asked_whom_it_sees(image: str, command: tuple[str, ...], args: tuple[str, ...], asks: bool) -> None:
    of = lab()
    (container,) = of.pods[0].containers
    ports = (replace(container.ports[0], port=80),)
    pod = replace(of.pods[0], containers=(replace(container, image=image, command=command, args=args, ports=ports),))
    probes = survey(replace(of, pods=(pod, *of.pods[1:])), STAND_IN, ["client"], ["node1"]).probes
    assert probes
    to_pod = survey(replace(of, pods=(pod, *of.pods[1:])), STAND_IN, ["node1"], [pod.name]).probes
    assert [probe.asks for probe in to_pod if probe.kind is Kind.TCP] == [asks]


def answers(of: Lab, wrong: dict[tuple[str, str, Kind], Outcome]) -> list[Result]:
    """As they should be, but for some."""
    return [
        Result(probe, outcome, seen_from=probe.expected_source if outcome is Outcome.REACHED else None, ms=0.2)
        for probe in survey(of, STAND_IN).probes
        for good in [Outcome.REACHED if probe.expected is Expected.REACH else Outcome.UNREACHABLE]
        for outcome in [wrong.get((*probe.pair, probe.kind), good)]
    ]


def test_the_matrix() -> None:
    of = lab()
    broken = {("pod-a", "pod-c", kind): Outcome.TIMED_OUT for kind in Kind}
    broken |= {("node1", "pod-b", Kind.TCP): Outcome.REFUSED, ("client", "pod-d", Kind.UDP): Outcome.REACHED}
    results = answers(of, broken)
    assert (
        "\n".join(matrix(survey(of, STAND_IN), results, 120))
        == """\
        pods                                                         nodes           clients
        pod-a    pod-b             pod-c         pod-d               node1  node2    client
pod-a   ok       ok                FAIL timeout  ok                  ok     ok       ok
pod-b   ok       ok                ok            ok                  ok     ok       ok
pod-c   ok       ok                ok            ok                  ok     ok       ok
pod-d   ok       ok                ok            ok                  ok     ok       ok

node1   ok       FAIL tcp refused  ok            ok                  -      ok       ok
node2   ok       ok                ok            ok                  ok     -        ok

client  blocked  blocked           blocked       FAIL udp reached    ok     ok       -
ok: ICMP, TCP, UDP, whole packets of 1480 or 1500 bytes, and none larger, arrive from the right address
blocked: no way there, as it should be
3 of 46 pairs wrong (206 probes, slowest answer 0.2 ms)"""
    )


def test_where_there_is_no_room_only_what_is_wrong_is_listed() -> None:
    of = lab()
    results = answers(of, {("pod-a", "pod-c", Kind.MTU): Outcome.TOO_BIG})
    said = "no table: it takes 78 columns, and the terminal has 40; what is wrong follows"
    assert matrix(survey(of, STAND_IN), results, 40)[:2] == [said, "pod-a -> pod-c: FAIL mtu too big"]
    assert matrix(survey(of, STAND_IN), results, 0)[0].split() == ["pods", "nodes", "clients"]


def test_where_the_table_is_too_wide_it_is_turned() -> None:
    of = lab()
    some = survey(of, STAND_IN, ["pod-a", "client"])
    results = [result for result in answers(of, {}) if result.probe in some.probes]
    lines = matrix(some, results, 40)
    assert [line.split() for line in lines[:3]] == [
        ["pods", "clients"],
        ["to", "\\", "from", "pod-a", "client"],
        ["pod-a", "ok", "blocked"],
    ]
    assert max(map(len, lines[:10])) <= 40


def test_a_cell_names_only_what_is_wrong() -> None:
    probe = Probe("a", "b", IPv4Address("10.0.0.1"), Kind.ICMP, expected_source=IPv4Address("10.0.0.2"))
    good = Result(probe, Outcome.REACHED, seen_from=IPv4Address("10.0.0.2"))
    assert cell([good]) == "ok"
    assert cell([replace(good, seen_from=IPv4Address("10.0.0.9"))]) == "FAIL seen as 10.0.0.9"
    assert cell([replace(good, arrived_at="c")]) == "FAIL answered by c"
    assert (
        cell([good, replace(good, probe=replace(probe, kind=Kind.TCP), outcome=Outcome.REFUSED)]) == "FAIL tcp refused"
    )


def test_as_whom_everybody_is_seen() -> None:
    of = lab()
    assert seen(survey(of, STAND_IN).places, answers(of, {})) == [
        "pods are seen as themselves by all pods and their own node; as their node by other nodes and clients",
        (
            "nodes are seen as themselves by their own pods, other nodes and clients; "
            "as 20.111.156.0 or 20.109.131.0 by pods of other nodes"
        ),
    ]


def test_junit_tells_the_failure_with_its_explanation() -> None:
    probe = Probe("a", "b", IPv4Address("10.0.0.1"), Kind.TCP, port=80)
    results = [Result(probe, Outcome.REFUSED, "Connection refused, says 10.0.0.1", ms=1.0)]
    assert junit("x", results, {probe: "b has no <server>"}).splitlines()[1:] == [
        '<testsuites tests="1" failures="1" errors="0" time="0.001">',
        '  <testsuite name="nslab probe x" tests="1" failures="1" errors="0" time="0.001">',
        '    <testcase classname="x.a" name="a -&gt; b tcp 10.0.0.1:80" time="0.001000">',
        '      <failure message="refused: Connection refused, says 10.0.0.1">b has no &lt;server&gt;</failure>',
        "    </testcase>",
        "  </testsuite>",
        "</testsuites>",
    ]


def test_what_must_not_be_says_so_in_its_name() -> None:
    probe = Probe("a", "b", IPv4Address("10.0.0.1"), Kind.ICMP, expected=Expected.FAIL)
    (case,) = (line for line in junit("x", [Result(probe, Outcome.TIMED_OUT)], {}).splitlines() if "<testcase" in line)
    assert 'name="a -&gt; b icmp 10.0.0.1 must fail"' in case


def test_json_leaves_out_what_is_not_known() -> None:
    probe = Probe("a", "b", IPv4Address("10.0.0.1"), Kind.UDP)
    assert to_json([Result(probe, Outcome.REACHED, ms=1.5)], {}) == [
        {
            "from": "a", "to": "b", "address": "10.0.0.1", "kind": "udp",
            "expected": "reach", "outcome": "reached", "ok": True, "wrong": None, "ms": 1.5,
        },
    ]  # fmt: skip


BETWEEN_SUBNETS = [("pod-b", "pod-d"), ("pod-b", "pod-e"), ("node1", "pod-e"), ("pod-b", "node3"), ("client", "pod-e")]


@pytest.mark.parametrize(
    ("encapsulation", "bgp", "blocked"),
    [
        ("IPIPCrossSubnet", False, [("client", "pod-e")]),
        ("None", False, [("pod-b", "pod-e"), ("node1", "pod-e"), ("client", "pod-e")]),
        ("None", True, []),
    ],
)
def test_who_meets_whom_across_a_router(encapsulation: str, bgp: bool, blocked: list[tuple[str, str]]) -> None:
    of = subnets(encapsulation, bgp=bgp)
    found = [pair for pair in BETWEEN_SUBNETS if asked(of, *pair)[0].endswith("must fail")]
    assert found == blocked
    why = survey(of, STAND_IN).why
    assert bool(why) is (encapsulation == "None" and not bgp)


def subnets(encapsulation: str, *, bgp: bool = False) -> Lab:
    of = lab("calico-cross-subnet", Encapsulation(encapsulation))
    return replace(of, routers=tuple(replace(router, bgp=bgp) for router in of.routers))


@pytest.mark.parametrize(
    ("encapsulation", "seen_by_neighbour", "seen_by_stranger"),
    [
        ("IPIP", "20.111.156.0", "20.111.156.0"),
        ("IPIPCrossSubnet", "192.168.59.22", "20.111.156.0"),
        ("VXLANCrossSubnet", "192.168.59.22", "20.111.156.0"),
    ],
)
def test_a_node_speaks_from_its_tunnel_only_to_whom_it_wraps(
    encapsulation: str, seen_by_neighbour: str, seen_by_stranger: str
) -> None:
    of = subnets(encapsulation)
    assert asked(of, "node1", "pod-d")[0] == f"node1 -> pod-d icmp 20.109.131.3 as {seen_by_neighbour}"
    assert asked(of, "node1", "pod-e")[0] == f"node1 -> pod-e icmp 20.108.66.68 as {seen_by_stranger}"


ROUTER = "nslab.calico-cross-subnet.router"
BY_HAND = [
    Route(ROUTER, IPv4Network("20.111.156.0/26"), "eth0", IPv4Address("192.168.59.22")),
    Route(ROUTER, IPv4Network("20.96.0.0/12"), "eth0", IPv4Address("192.168.59.23")),
    Route(ROUTER, IPv4Network("20.108.66.64/26"), "eth1", IPv4Address("192.168.60.24")),
]


@pytest.mark.parametrize("number", range(4))
def test_a_router_told_by_hand_where_all_pods_are_counts_as_told(number: int) -> None:
    of = subnets("None")
    assert with_learned_routes(of, tuple(map(Remove, BY_HAND[:number]))).routers[0].bgp is (number == 3)


def test_a_router_that_speaks_bgp_knows_without_being_told() -> None:
    assert with_learned_routes(subnets("None", bgp=True), ()).routers[0].bgp


def test_a_wrong_route_is_not_knowledge() -> None:
    wrong = replace(BY_HAND[2], via=IPv4Address("192.168.60.10"))
    assert not with_learned_routes(subnets("None"), tuple(map(Remove, (*BY_HAND[:2], wrong)))).routers[0].bgp
    elsewhere = replace(BY_HAND[2], ns="nslab.calico-cross-subnet.client")
    assert not with_learned_routes(subnets("None"), tuple(map(Remove, (*BY_HAND[:2], elsewhere)))).routers[0].bgp


def test_the_matrix_says_why_subnets_are_apart() -> None:
    of = subnets("None")
    lines = matrix(
        survey(of, STAND_IN, ["pod-b"], ["pod-e"]),
        [Result(probe, Outcome.TIMED_OUT) for probe in survey(of, STAND_IN, ["pod-b"], ["pod-e"]).probes],
    )
    assert lines[3] == (
        "blocked: no way there, as it should be (between subnets, pods' packets are not encapsulated "
        "(encapsulation None), and router has no routes to pods)"
    )


POLICIES = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: lab}
spec:
  cni: {plugin: PLUGIN}
  nodes: [{name: n1}, {name: n2}]
  clients: [{name: client}]
---
{apiVersion: v1, kind: Pod, metadata: {name: a, labels: {app: a}},
 spec: {nodeName: n1, containers: [{name: c, image: agnhost, args: [netexec], ports: [{containerPort: 8080}]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: b, labels: {app: b}},
 spec: {nodeName: n2, containers: [{name: c, image: agnhost}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {selector: {app: a}, ports: [{port: 80, targetPort: 8080}]}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: a-web}
spec: {podSelector: {matchLabels: {app: a}}, ingress: [{from: [{podSelector: {}}], ports: [{port: 8080}]}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: b-silent}
spec: {podSelector: {matchLabels: {app: b}}, policyTypes: [Egress]}
"""


def policed(plugin: str = "calico") -> Lab:
    return assign_addresses(parse(POLICIES.replace("PLUGIN", plugin), "f"))


@pytest.mark.parametrize(
    ("source", "target", "denied"),
    [
        (
            "b",
            "a",
            {"icmp": "egress default/b-silent", "tcp": "egress default/b-silent", "udp": "egress default/b-silent"},
        ),
        ("a", "b", {}),
        ("n1", "a", {}),
        ("n2", "a", {"icmp": "ingress default/a-web", "tcp": "ingress default/a-web", "udp": "ingress default/a-web"}),
        (
            "b",
            "n2",
            {"icmp": "egress default/b-silent", "tcp": "egress default/b-silent", "udp": "egress default/b-silent"},
        ),
        ("a", "client", {}),
    ],
)
def test_what_policies_forbid_must_not_arrive(source: str, target: str, denied: dict[str, str]) -> None:
    probes = survey(policed(), STAND_IN, [source], [target]).probes
    found = {one.kind: f"{one.denied.direction} {', '.join(one.denied.policies)}" for one in probes if one.denied}
    assert found == denied
    assert all(one.expected is Expected.FAIL for one in probes if one.denied)
    assert not any(one.denied for one in survey(policed("kubenet"), STAND_IN, [source], [target]).probes)


def test_the_names_of_policies_that_deny_are_bounded() -> None:
    probes = survey(policed(), STAND_IN, ["b"], ["a"]).probes
    long = tuple(f"default/{letter * 164}" for letter in "abcde")
    found = (replace(one, denied=Denial("egress", long)) for one in probes)
    (line,) = denials(Result(one, Outcome.TIMED_OUT) for one in found)
    assert (len(line) < 250, line.count("…")) == (True, 4)


def test_a_policy_of_one_port_leaves_that_port() -> None:
    of = policed()
    of = replace(of, others=tuple(one for one in of.others if one.name != "b-silent"))
    probes = survey(of, STAND_IN, ["b"], ["a"]).probes
    assert [one.kind for one in probes if not one.denied] == [Kind.TCP]
    assert cells(Result(one, Outcome.TIMED_OUT if one.denied else Outcome.REACHED) for one in probes) == {
        ("b", "a"): "tcp only"
    }


def test_a_call_may_fail_where_policies_forbid_it() -> None:
    calls = {one.source: one for one in survey_services(policed(), STAND_IN).calls if one.way is Way.CLUSTER_IP}
    assert {name: (one.lost, len(one.answers)) for name, one in calls.items()} == {
        "a": (False, 1), "b": (True, 0), "n1": (False, 1), "n2": (True, 0),
    }  # fmt: skip
    ipvs = survey_services(replace(policed(), proxy_mode=ProxyMode.IPVS), STAND_IN).calls
    assert all(one.lost and one.answers for one in ipvs if one.way is Way.CLUSTER_IP)
