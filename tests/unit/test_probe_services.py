"""What is asked of Services, who must answer and whom he must see, in every mode and by every policy."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from nslab.admission.load import load
from nslab.api.pod_types import Protocol
from nslab.api.service_types import TrafficPolicy
from nslab.compiler.placement import assign_addresses
from nslab.lab.types import Encapsulation, Lab, ProxyMode
from nslab.objects.needs import HostFeatures
from nslab.probes import Answer, Call, CallResult, Outcome, Spread, Try, Way, likelihood, survey_services
from nslab.probes.cause import Cause
from nslab.probes.probe import ProbeHost
from nslab.probes.spread import tail, uneven
from nslab.probes.verdict import FAR, NEAR, SERVICE, squares

LABS = Path(__file__).parents[2] / "labs"
HOST = HostFeatures(ipip=False, ipip_fallback=False)


def lab(name: str, mode: ProxyMode | None = None) -> Lab:
    loaded = load(LABS / name / "lab.yaml")
    return assign_addresses(replace(loaded, proxy_mode=mode or loaded.proxy_mode))


def edited(of: Lab, name: str, **changes: object) -> Lab:
    """The lab with one Service otherwise."""
    services = [replace(s, **changes) if s.name == name else s for s in of.services]  # type: ignore[arg-type]
    return replace(of, services=tuple(services))


def calls(of: Lab, source: str, service: str, way: Way) -> list[Call]:
    return [
        call
        for call in survey_services(of, HOST, [source]).calls
        if (call.service, call.way) == (f"default/{service}", way)
    ]


def shown(found: list[Call]) -> list[str]:
    """Each call in a line: where to, and what must come of it."""
    return [
        f"{call.addresses[0]}:{call.port} "
        + (", ".join(f"{a.pod} sees {a.sees}" for a in call.answers) or call.outcome)
        for call in found
    ]


def test_a_pod_meets_everybody_as_itself_and_itself_as_its_node() -> None:
    of = lab("external-traffic")
    assert shown(calls(of, "box-3", "cluster", Way.CLUSTER_IP)) == [
        "10.103.9.116:80 web-2 sees 20.101.7.3, web-1 sees 20.101.7.3"
    ]
    assert shown(calls(of, "web-1", "cluster", Way.CLUSTER_IP)) == [
        "10.103.9.116:80 web-2 sees 20.111.156.7, web-1 sees 192.168.59.22"
    ]


def test_policy_cluster_hides_the_client_behind_the_node() -> None:
    assert shown(calls(lab("external-traffic"), "client", "cluster", Way.NODE_PORT)) == [
        f"{node}:31080 web-2 sees {node}, web-1 sees {node}"
        for node in ("192.168.59.22", "192.168.59.23", "192.168.59.24")
    ]


def test_policy_local_keeps_the_client_and_a_node_without_endpoints_is_silent() -> None:
    of = lab("external-traffic")
    assert shown(calls(of, "client", "local", Way.NODE_PORT)) == [
        "192.168.59.22:31081 web-1 sees 192.168.59.10",
        "192.168.59.23:31081 web-2 sees 192.168.59.10",
        "192.168.59.24:31081 timed out",
    ]
    assert shown(calls(of, "client", "local", Way.LOAD_BALANCER)) == ["192.168.59.240:80 web-1 sees 192.168.59.10"]


def test_ipvs_gives_local_up_and_the_client_hears_nothing_from_where_it_asked() -> None:
    of = lab("external-traffic", ProxyMode.IPVS)
    assert shown(calls(of, "client", "local", Way.NODE_PORT)) == [
        "192.168.59.22:31081 web-1 sees 192.168.59.10",
        "192.168.59.23:31081 web-2 sees 192.168.59.10",
        "192.168.59.24:31081 timed out",
    ]
    (at_node3,) = calls(of, "client", "local", Way.NODE_PORT)[2:]
    assert (at_node3.outcome, at_node3.answers) == (Outcome.TIMED_OUT, ())


def test_source_ranges_are_the_load_balancer_s_alone() -> None:
    of = lab("external-traffic")
    assert shown(calls(of, "stranger", "guarded", Way.LOAD_BALANCER)) == ["192.168.59.241:80 timed out"]
    for source, way in (("client", Way.LOAD_BALANCER), ("stranger", Way.NODE_PORT), ("stranger", Way.EXTERNAL_IP)):
        assert {call.outcome for call in calls(of, source, "guarded", way)} == {Outcome.REACHED}


def test_a_tunnel_has_an_address_of_its_own() -> None:
    of = replace(lab("external-traffic"), encapsulation=Encapsulation.VXLAN)
    (at_node1, *_) = calls(of, "client", "cluster", Way.NODE_PORT)
    assert shown([at_node1]) == ["192.168.59.22:31080 web-2 sees 20.111.156.0, web-1 sees 192.168.59.22"]


@pytest.mark.parametrize(
    ("mode", "outcome"),
    [
        (ProxyMode.IPTABLES, Outcome.REFUSED),
        (ProxyMode.NFTABLES, Outcome.REFUSED),
        (ProxyMode.IPVS, Outcome.REFUSED),
        (ProxyMode.USERSPACE, Outcome.ENDED),
    ],
)
def test_nobody_behind_it(mode: ProxyMode, outcome: Outcome) -> None:
    of = lab("services-iptables", mode)
    (call,) = calls(of, "box-1", "nobody", Way.CLUSTER_IP)
    assert (call.outcome, call.answers, call.times) == (outcome, (), 1)


def echo(mode: ProxyMode = ProxyMode.IPTABLES, **port: object) -> Lab:
    """services-iptables, its Service `web` with the UDP port alone."""
    of = lab("services-iptables", mode)
    (web,) = (service for service in of.services if service.name == "web")
    (udp,) = (one for one in web.ports if one.protocol is Protocol.UDP)
    return edited(of, "web", ports=(replace(udp, **port),))  # type: ignore[arg-type]


def test_over_udp_only_who_says_who_he_is_is_asked() -> None:
    assert len(calls(echo(), "box-1", "web", Way.CLUSTER_IP)) == 1
    assert calls(echo(target=9999), "box-1", "web", Way.CLUSTER_IP) == []


def test_nobody_behind_a_port_of_udp_in_userspace_mode_is_silence() -> None:
    of = edited(echo(ProxyMode.USERSPACE), "web", selector=())
    assert [(call.outcome, call.times) for call in calls(of, "box-1", "web", Way.CLUSTER_IP)] == [
        (Outcome.TIMED_OUT, 1)
    ]


@pytest.mark.parametrize(
    ("mode", "host", "asked"),
    [
        (ProxyMode.IPTABLES, HOST, True),
        (ProxyMode.IPTABLES, replace(HOST, sctp=False), False),
        (ProxyMode.USERSPACE, HOST, False),
    ],
)
def test_sctp_is_asked_where_kernel_and_mode_speak_it(mode: ProxyMode, host: HostFeatures, asked: bool) -> None:
    of = echo(mode, protocol=Protocol.SCTP, target=8080)
    found = [call.protocol for call in survey_services(of, host, ["box-1"]).calls if call.service == "default/web"]
    assert ("SCTP" in found) is asked


def test_internal_policy_local() -> None:
    of = edited(lab("external-traffic"), "cluster", internal_policy=TrafficPolicy.LOCAL)
    assert shown(calls(of, "web-1", "cluster", Way.CLUSTER_IP)) == ["10.103.9.116:80 web-1 sees 192.168.59.22"]
    assert shown(calls(of, "box-3", "cluster", Way.CLUSTER_IP)) == ["10.103.9.116:80 timed out"]
    # ipvs gives Local up where no endpoint is near.
    assert len(calls(replace(of, proxy_mode=ProxyMode.IPVS), "box-3", "cluster", Way.CLUSTER_IP)[0].answers) == 2


def test_userspace_knows_no_policy_and_shows_the_node_to_all() -> None:
    of = lab("external-traffic", ProxyMode.USERSPACE)
    assert shown(calls(of, "client", "local", Way.NODE_PORT))[2] == (
        "192.168.59.24:31081 web-2 sees 192.168.59.24, web-1 sees 192.168.59.24"
    )
    assert shown(calls(of, "web-1", "local", Way.CLUSTER_IP)) == [
        "10.103.9.117:80 web-2 sees 192.168.59.22, web-1 sees 192.168.59.22"
    ]


def test_names_are_asked_by_pods_and_a_headless_one_is_its_endpoints() -> None:
    of = lab("services-iptables")
    (call,) = calls(of, "box-1", "headless", Way.NAME)
    assert call.name == "headless.default.svc.cluster.local"
    assert len(call.addresses) == 4
    assert (call.port, {answer.sees for answer in call.answers}) == (8080, {IPv4Address("20.111.156.7")})
    assert calls(of, "node1", "web", Way.NAME) == calls(of, "client", "web", Way.NAME) == []


def test_without_a_proxy_nothing_is_asked() -> None:
    none = survey_services(lab("services-iptables", ProxyMode.NONE), HOST)
    assert (none.calls, none.spread) == ((), ())


@pytest.mark.parametrize(
    ("mode", "scheduler", "rule"),
    [
        (ProxyMode.IPTABLES, "rr", Spread.CHANCE),
        (ProxyMode.NFTABLES, "rr", Spread.CHANCE),
        (ProxyMode.USERSPACE, "rr", Spread.TURNS),
        (ProxyMode.IPVS, "rr", Spread.TURNS),
        (ProxyMode.IPVS, "sh", Spread.STICKY),
    ],
)
def test_the_spread_of_a_mode(mode: ProxyMode, scheduler: str, rule: Spread) -> None:
    of = replace(lab("services-iptables", mode), scheduler=scheduler)
    spread = survey_services(of, HOST).spread
    assert {(call.service, call.spread) for call in spread} == {
        ("default/web", rule), ("default/sticky", Spread.STICKY),
    }  # fmt: skip
    assert {(call.source, call.times, call.protocol) for call in spread} == {
        ("box-1", 200, "TCP"), ("box-2", 200, "TCP"),
    }  # fmt: skip


def test_a_scheduler_that_counts_connections_has_no_spread_to_test() -> None:
    of = replace(lab("services-iptables", ProxyMode.IPVS), scheduler="lc")
    assert {call.service for call in survey_services(of, HOST).spread} == {"default/sticky"}


def test_many_hosts_and_services_are_sampled() -> None:
    of = lab("services-iptables")
    web = next(service for service in of.services if service.name == "web")
    more = tuple(replace(web, name=f"s{number}", ports=web.ports[:1]) for number in range(100))
    found = survey_services(replace(of, services=(*of.services, *more)), HOST)
    assert found.note.startswith(f"{found.asked} of {found.possible} pairs of hosts and Services")
    assert found.asked < found.possible
    assert {call.source for call in found.calls} == {one.name for one in found.places}


@pytest.mark.parametrize(
    ("statistic", "freedom", "chance"),
    [(3.841, 1, 0.05), (5.991, 2, 0.05), (7.815, 3, 0.05), (18.467, 4, 0.001), (0.0, 3, 1.0), (0.0, 2, 1.0)],
)
def test_the_chi_squared_table(statistic: float, freedom: int, chance: float) -> None:
    assert tail(statistic, freedom) == pytest.approx(chance, rel=2e-3)


def test_what_is_uneven() -> None:
    assert likelihood([50, 50]) == 1.0
    assert uneven(Spread.CHANCE, ["a"] * 90 + ["b"] * 110, "ab") == ""
    assert uneven(Spread.CHANCE, ["a"] * 200, "ab") == "uneven (a 200, b 0)"
    assert uneven(Spread.TURNS, ["a", "b", "c", "a"], "abc") == ""
    assert uneven(Spread.TURNS, ["a", "b", "a"], "abc") == "not in turns (a 2, b 1, c 0)"
    assert uneven(Spread.STICKY, ["a", "a"], "ab") == ""
    assert uneven(Spread.STICKY, ["a", "b"], "ab") == "not always the same endpoint (a 1, b 1)"
    assert uneven(Spread.ANY, ["a", "a"], "ab") == ""


A, B = (Answer(name, name, IPv4Address("20.96.1.1"), near) for name, near in (("a", True), ("b", False)))
CALL = Call("pod", "default/web", "", "TCP", Way.CLUSTER_IP, "n1", (IPv4Address("10.96.0.1"),), 80, answers=(A, B))
GOOD_A, GOOD_B = (Try(Outcome.REACHED, name, IPv4Address("20.96.1.1")) for name in "ab")


@pytest.mark.parametrize(
    ("tries", "wrong", "silent"),
    [
        ((GOOD_A, GOOD_B), "", ()),
        ((GOOD_A, GOOD_A), "", ()),
        ((GOOD_A, Try(Outcome.TIMED_OUT)), "1 of 2 timed out", (B,)),
        ((GOOD_A, GOOD_B, Try(Outcome.REFUSED)), "1 of 3 refused", (A, B)),
        ((Try(Outcome.REFUSED),) * 2, "refused", (A, B)),
        ((Try(Outcome.REACHED, "c"),), "answered by c", ()),
        ((replace(GOOD_A, seen_from=IPv4Address("1.2.3.4")),), "seen as 1.2.3.4", ()),
    ],
)
def test_what_is_wrong_with_answers(tries: tuple[Try, ...], wrong: str, silent: tuple[Answer, ...]) -> None:
    result = CallResult(CALL, tries)
    assert (result.wrong, result.silent) == (wrong, silent)


def test_an_endpoint_that_may_see_anybody_sees_nobody_wrong() -> None:
    """Where several containers of one name answer, one of them may see whomever he likes."""
    anybody = replace(CALL, answers=(A, B, replace(A, pod="c", sees=None)))
    assert CallResult(anybody, (replace(GOOD_A, seen_from=IPv4Address("1.2.3.4")),)).wrong == ""
    assert CallResult(anybody, (replace(GOOD_B, seen_from=IPv4Address("1.2.3.4")),)).wrong == "seen as 1.2.3.4"


def test_an_endpoint_that_was_not_drawn_says_nothing_of_where_it_is() -> None:
    places = (ProbeHost("pod", "pod", IPv4Address("20.96.1.1"), "n1"),)
    heard, _ = squares(places, (), [CallResult(CALL, (GOOD_A, GOOD_A))])
    assert (heard.asked, heard.failed) == ({(NEAR, SERVICE): 1}, {(NEAR, SERVICE): 0})
    silent, cause = CallResult(CALL, (GOOD_A, Try(Outcome.TIMED_OUT))), Cause("b is silent")
    lost, _ = squares(places, (), [silent], {silent.call: cause})
    assert lost.failed == {(NEAR, SERVICE): 0, (FAR, SERVICE): 1}
    assert [*lost.causes] == [cause]


def test_a_node_whose_rules_differ_is_asked_more_often() -> None:
    """A stale rule may lead to an endpoint that is gone, beside the only one that there is."""
    of = lab("external-traffic")
    usual, more = (survey_services(of, HOST, (), differing).calls for differing in ((), ("node2",)))
    assert {(call.node, call.times < other.times) for call, other in zip(usual, more, strict=True) if call.answers} == {
        ("node1", False), ("node2", True), ("node3", False),
    }  # fmt: skip
    assert all(call.times == 1 for call in more if not call.answers)


def test_what_must_not_be_answered() -> None:
    silent = replace(CALL, outcome=Outcome.TIMED_OUT, answers=())
    assert CallResult(silent, (Try(Outcome.TIMED_OUT),)).wrong == ""
    assert CallResult(silent, (GOOD_A,)).wrong == "reached a, not timed out"
    refused = replace(silent, outcome=Outcome.REFUSED)
    assert CallResult(refused, (Try(Outcome.TIMED_OUT),)).wrong == "timed out, not refused"
    assert CallResult(CALL, (), "DNS: NXDOMAIN").wrong == "DNS: NXDOMAIN"


def apart(source: str, way: Way, mode: ProxyMode = ProxyMode.IPTABLES) -> list[Call]:
    """calico-cross-subnet without encapsulation: its Service and kube-dns are in one subnet, Pod E in the other."""
    return calls(replace(lab("calico-cross-subnet", mode), encapsulation=Encapsulation.NONE), source, "svc-b", way)


@pytest.mark.parametrize(
    ("source", "way", "lost"),
    [
        ("pod-d", Way.CLUSTER_IP, [False]),
        ("pod-e", Way.CLUSTER_IP, [True]),
        ("node3", Way.CLUSTER_IP, [True]),
        ("pod-d", Way.NAME, [False]),
        ("pod-e", Way.NAME, [True]),
        ("client", Way.NODE_PORT, [False, False, True]),
    ],
)
def test_what_goes_to_another_subnet_bare_is_lost(source: str, way: Way, lost: list[bool]) -> None:
    assert [call.lost for call in apart(source, way)] == lost
    assert not any(call.lost for call in calls(lab("calico-cross-subnet"), source, "svc-b", way))


def test_a_lost_call_need_not_be_answered_and_must_not_be_by_whom_it_cannot_reach() -> None:
    (call,) = apart("pod-e", Way.CLUSTER_IP)
    assert (call.answers, call.outcome) == ((), Outcome.REACHED)
    for outcome in (Outcome.TIMED_OUT, Outcome.UNREACHABLE, Outcome.ENDED):
        assert CallResult(call, (Try(outcome),)).wrong == ""
        assert CallResult(call, (Try(outcome),)).silent == ()
    assert CallResult(call, (Try(Outcome.REACHED, "pod-b"),)).wrong == "answered by pod-b"
    (named,) = apart("pod-e", Way.NAME)
    assert CallResult(named, (), "DNS: timed out").wrong == ""


def test_the_spread_is_not_asked_of_what_gets_lost() -> None:
    of = lab("calico-cross-subnet")
    alike = tuple(replace(pod, labels=(("app", "web"),)) if pod.namespace == "default" else pod for pod in of.pods)
    wrapped = replace(of, pods=alike)
    bare = replace(wrapped, encapsulation=Encapsulation.NONE)
    assert [len(survey_services(each, HOST).spread) for each in (wrapped, bare)] == [3, 0]
    (call,) = calls(bare, "pod-d", "svc-b", Way.CLUSTER_IP)
    assert ([answer.pod for answer in call.answers], call.lost) == (["pod-d", "pod-b"], True)
