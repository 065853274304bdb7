"""Why a Service was not reached: the pod itself, the node's rules for it, kube-proxy, or what is behind them."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.objects.iptables import Chain
from nslab.objects.namespaces import Netns
from nslab.objects.plan import Add, Plan
from nslab.objects.ports import LinkUp
from nslab.objects.process import KubeProxy
from nslab.probes import Answer, Call, CallResult, Kind, Outcome, Try, Way
from nslab.probes.cause import Cause, CauseKind
from nslab.probes.evidence import Conversation, Sighting, Trail, What
from nslab.trace.explain_services import Evidence, explain_call

if TYPE_CHECKING:
    from nslab.objects.base import KernelObject

NODE = "nslab.x.n1"
A, B = (Answer(name, name, None, near) for name, near in (("a", True), ("b", False)))
CALL = Call("box", "default/web", "", "TCP", Way.CLUSTER_IP, "n1", (IPv4Address("10.96.0.1"),), 80, answers=(A, B))
GOOD, LOST = Try(Outcome.REACHED, "a"), Try(Outcome.TIMED_OUT)
OTHER = Chain(NODE, "nat", "KUBE-SVC-OTHER", ('-m comment --comment "default/other"',), by="kube-proxy")
OURS = Chain(NODE, "nat", "KUBE-SVC-WEB", ('-m comment --comment "default/web" -j DROP',), by="kube-proxy")
PROXY = KubeProxy(NODE, NODE, "{}", by="kube-proxy")


def why(*missing: KernelObject, pairs: dict[tuple[str, str], Cause] | None = None) -> str:
    plan: Plan = tuple(map(Add, missing))
    return explain_call(CallResult(CALL, (GOOD, LOST)), "x", plan, Evidence(pairs or {})).sentence


def test_a_pod_that_is_not_reached_by_its_own_address_either() -> None:
    """Not by who asks, nor by the node that translates for him."""
    for source in ("box", "n1"):
        assert why(OURS, pairs={(source, "b"): Cause("b is down")}) == (
            "b is not reached by its own address either: b is down"
        )
    assert "either" not in why(OURS, pairs={("box", "a"): Cause("a is down")}), "a has answered"


def test_rules_about_this_service_are_blamed_before_all_others() -> None:
    assert why(OTHER, PROXY, OURS).startswith("n1 has no chain KUBE-SVC-WEB")
    assert why(OTHER, PROXY) == "n1 has no kube-proxy process; `nslab up x` mends it"
    assert why(OTHER).startswith("n1 has no chain KUBE-SVC-OTHER")
    assert "KUBE-SVC" not in why(replace(OURS, ns="nslab.x.n2"))


def test_then_what_is_wrong_with_the_pods_behind_them() -> None:
    assert why(LinkUp("nslab.x.b", "eth0")).startswith("b's eth0 is down")
    assert "is down" not in why(LinkUp("nslab.x.a", "eth0")), "a has answered"


def test_a_name_that_is_not_known_is_the_dns_s_own() -> None:
    named = replace(CALL, way=Way.NAME, name="web.default.svc.cluster.local")
    unknown = CallResult(named, (), "DNS: timed out")
    dns = Netns("nslab.x.kube-system_kube-dns")
    assert explain_call(unknown, "x", (Add(OTHER), Add(dns)), Evidence()).sentence.startswith(
        "there is no kube-system_kube-dns"
    )
    assert explain_call(unknown, "x", (), Evidence()).sentence == (
        "box asks the cluster's DNS for web.default.svc.cluster.local, and timed out"
    )


REQUEST = Conversation("box", IPv4Address("10.96.0.1"), Kind.TCP, 80)
POD_A, POD_B = IPv4Address("20.96.0.8"), IPv4Address("20.96.0.9")


def drawn(target: IPv4Address) -> Evidence:
    """The evidence that a request went to an address in the end, and no answer came."""
    leaves = Sighting(0, "n1", "eth0", True, What.REQUEST, IPv4Address("20.96.0.7"), target, port=8080)
    return Evidence(trails=[Trail(REQUEST, (leaves,))], owners={POD_B: ["b"]})


def test_rules_that_chose_an_endpoint_are_not_blamed_for_what_became_of_the_packet() -> None:
    chain = replace(OTHER, name="KUBE-SVC-ABCDEFGHIJKLMNOP")
    masquerade = Chain(NODE, "nat", "KUBE-POSTROUTING", ("-j MASQUERADE",), by="kube-proxy")
    lost, plan = CallResult(CALL, (LOST,)), (Add(PROXY), Add(chain))
    translated = explain_call(lost, "x", plan, drawn(POD_B)).sentence
    assert ("KUBE-SVC" in translated, "kube-proxy" in translated) == (False, False)
    assert explain_call(lost, "x", (*plan, Add(masquerade)), drawn(POD_B)).sentence.startswith(
        "n1 has no chain KUBE-POSTROUTING"
    )
    assert explain_call(lost, "x", plan, drawn(REQUEST.address)).by == "kube-proxy"


def test_stale_rules_are_those_of_a_kube_proxy_that_does_not_run() -> None:
    cause = explain_call(CallResult(CALL, (LOST,)), "x", (Add(PROXY), Add(OURS)), drawn(IPv4Address("20.96.0.8")))
    assert cause.sentence.startswith("n1 has no chain KUBE-SVC-WEB")
    assert cause.sentence.endswith("; n1 has no kube-proxy process")
    assert (cause.kind, cause.host, cause.by) == (CauseKind.DIFFERS, "n1", "kube-proxy")


def test_conntrack_is_named_where_a_new_connection_passes() -> None:
    asked = Conversation("box", IPv4Address("10.96.0.1"), Kind.TCP, 80)
    reply = Sighting(0, "box", "eth0", False, What.REPLY, asked.address, IPv4Address("20.96.0.9"))
    evidence = Evidence(trails=[Trail(asked, (reply,))] * 2, flows=["3 to 10.96.0.1 as no rule translated them: cure"])
    assert explain_call(CallResult(CALL, (GOOD, LOST)), "x", (), evidence).sentence == (
        "nothing of n1's rules differs; repeated 2 times, it is answered each time; conntrack still has earlier "
        "connections, 3 to 10.96.0.1 as no rule translated them: cure"
    )


def test_several_silent_pods_make_a_sentence() -> None:
    said = explain_call(CallResult(CALL, (LOST, LOST)), "x", (), Evidence()).sentence
    assert said == "nothing of n1's rules differs; a and b say nothing"


def test_who_answered_the_call_is_not_blamed_for_being_slow_when_it_is_repeated() -> None:
    reply = Sighting(1, "box", "eth0", False, What.REPLY, POD_A, IPv4Address("20.96.0.7"))
    request = replace(drawn(POD_A).trails[0].sightings[0], target=POD_A)
    slow = Trail(replace(REQUEST, asks=True), (request, reply))
    assert (slow.answered, slow.reached) == (False, True)
    evidence = Evidence({("box", "b"): Cause("no route to b")}, [slow], {POD_A: ["a"], POD_B: ["b"]})
    sentence = explain_call(CallResult(CALL, (GOOD, LOST)), "x", (), evidence).sentence
    assert sentence == "b is not reached by its own address either: no route to b"
