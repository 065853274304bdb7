"""Services' tables, the four cells and what they say, and JUnit's cases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab.admission.load import load
from nslab.compiler.placement import assign_addresses
from nslab.objects.needs import HostFeatures
from nslab.probes import (
    Call,
    CallResult,
    Expected,
    Outcome,
    Probe,
    Result,
    ServiceSurvey,
    Survey,
    Try,
    Way,
    survey,
    survey_services,
)
from nslab.probes.cause import Cause, CauseKind
from nslab.views.junit import calls_to_json, junit
from nslab.views.service_matrix import four_cells, service_matrix, word

if TYPE_CHECKING:
    from collections.abc import Callable

LAB = assign_addresses(load(Path(__file__).parents[3] / "labs" / "external-traffic" / "lab.yaml"))
HOST = HostFeatures(ipip=False, ipip_fallback=False)
PAIRS: Survey = survey(LAB, HOST)
SERVICES: ServiceSurvey = survey_services(LAB, HOST)


SILENT = "no answer at all, as it should be (policy Local and no local endpoint, or a source outside the ranges)"


def never(_: object) -> bool:
    return False


def hosts(lost: Callable[[tuple[str, str]], bool] = never) -> list[Result]:
    """Hosts to hosts, as it should be, but for some pairs."""
    bad = {pair for pair in {probe.pair for probe in PAIRS.probes} if lost(pair)}
    return [
        Result(probe, Outcome.REACHED if reach and probe.pair not in bad else Outcome.TIMED_OUT, ms=0.2)
        for probe in PAIRS.probes
        for reach in [probe.expected is Expected.REACH]
    ]


def answers(lost: Callable[[Call, str], bool] = lambda _call, _pod: False) -> list[CallResult]:
    """Calls as they should be, each endpoint in its turn, but for endpoints that are lost."""
    return [CallResult(call, _tries(call, lost)) for call in (*SERVICES.calls, *SERVICES.spread)]


def _tries(call: Call, lost: Callable[[Call, str], bool]) -> tuple[Try, ...]:
    if call.outcome is not Outcome.REACHED:
        return (Try(call.outcome),)
    turns = [call.answers[turn % len(call.answers)] for turn in range(call.times)]
    return tuple(
        Try(Outcome.TIMED_OUT) if lost(call, who.pod) else Try(Outcome.REACHED, who.hostname, who.sees, ms=0.3)
        for who in turns
    )


def at_node2(call: Call, pod: str) -> bool:
    """node2 does not lead to web-1."""
    return call.node == "node2" and call.service == "default/cluster" and pod == "web-1"


def test_the_tables() -> None:
    lines = service_matrix(SERVICES, answers(at_node2), 120)
    assert lines[:28] == [
        "",
        "Services, from inside",
        "       cluster                guarded  local",
        "web-1  ok                     ok       ok",
        "web-2  FAIL 2 of 4 timed out  ok       ok",
        "box-3  ok                     ok       ok",
        "node1  ok                     ok       ok",
        "node2  FAIL 2 of 4 timed out  ok       ok",
        "node3  ok                     ok       ok",
        "",
        "Services, from outside",
        "                           client                 stranger",
        "cluster at node1:31080     ok                     ok",
        "cluster at node2:31080     FAIL 2 of 4 timed out  FAIL 2 of 4 timed out",
        "cluster at node3:31080     ok                     ok",
        "guarded at node1:31082     ok                     ok",
        "guarded at node2:31082     ok                     ok",
        "guarded at node3:31082     ok                     ok",
        "guarded at 192.168.59.241  ok                     silent",
        "guarded at 192.168.59.250  ok                     ok",
        "local at node1:31081       ok                     ok",
        "local at node2:31081       ok                     ok",
        "local at node3:31081       silent                 silent",
        "local at 192.168.59.240    ok                     ok",
        "ok: answered by its endpoints, which see the right client address",
        f"silent: {SILENT}",
        "cluster from web-1, by chance: web-2 100, web-1 100 (p = 1.00)",
        "guarded from web-1, by chance: web-2 100, web-1 100 (p = 1.00)",
    ]
    assert lines[-9:] == [
        "pods that ask by cluster IP are seen as themselves",
        "pods that meet themselves by cluster IP are seen as node1, node2",
        "nodes that ask by cluster IP are seen as themselves",
        "clients that ask by node port (policy Cluster) are seen as node1, node2, node3",
        "clients that ask by load balancer IP (policy Cluster) are seen as node1",
        "clients that ask by external IP (policy Cluster) are seen as node1",
        "clients that ask by node port (policy Local) are seen as themselves",
        "clients that ask by load balancer IP (policy Local) are seen as themselves",
        f"5 of {len(answers())} calls wrong ({sum(len(r.tries) for r in answers())} connections, slowest 0.3 ms)",
    ]


def test_where_there_is_no_room_only_what_is_wrong_is_listed() -> None:
    narrow = service_matrix(SERVICES, answers(at_node2), 20)
    assert narrow[2:5] == [
        "no table: the terminal has 20 columns",
        "web-2 -> default/cluster by cluster IP, tcp 10.103.9.116:80, 4 times: FAIL 2 of 4 timed out",
        "node2 -> default/cluster by cluster IP, tcp 10.103.9.116:80, 4 times: FAIL 2 of 4 timed out",
    ]
    assert "all 18 as they should be" in service_matrix(SERVICES, answers(), 20)


def test_a_lab_without_services_has_no_table() -> None:
    bare = survey_services(replace(LAB, services=()), HOST)
    assert service_matrix(bare, [], 120) == []


ROUTE = Cause("node2 has no route", CauseKind.DIFFERS, "node2", "BIRD")
RULE = Cause("node1 has no rule", CauseKind.DIFFERS, "node1", "kube-proxy")
FOREIGN = Cause("node3 has a rule that is not the lab's", CauseKind.UNMANAGED, "node3")
UNKNOWN = Cause("nothing of the lab differs", host="node2")


def output(
    results: list[Result], calls: list[CallResult], pairs: Cause | None = None, services: Cause | None = None
) -> list[str]:
    """What the four cells say, without the cells. `pairs`, `services`: the cause of what is wrong."""
    causes: dict[Probe | Call, Cause] = {}
    if pairs:
        causes |= {result.probe: pairs for result in results if result.wrong}
    if services:
        causes |= {result.call: services for result in calls if result.wrong}
    return [line for line in four_cells(PAIRS.places, results, calls, causes) if line.startswith(("for ", "Services"))]


def test_all_is_well() -> None:
    assert four_cells(PAIRS.places, hosts(), answers()) == [
        "",
        "pods to     pod address  service address",
        "same node   -            ok",
        "other node  ok           ok",
        "",
        "nodes to    pod address  service address",
        "same node   ok           ok",
        "other node  ok           ok",
    ]


@pytest.mark.parametrize(
    ("cause", "advice"),
    [
        (RULE, "look at kube-proxy of node1"),
        (FOREIGN, "look at what is not the lab's on node3"),
        (replace(ROUTE, by="Calico CNI plugin"), "look at the Calico CNI plugin of node2"),
        (replace(RULE, by=""), "look at node1"),
        (Cause("web-1's server hangs", CauseKind.SEEN, "web-1"), "look at web-1"),
        (UNKNOWN, "no cause was found; packets end at node2"),
        (None, "no cause was found"),
    ],
)
def test_pods_answer_and_services_do_not(cause: Cause | None, advice: str) -> None:
    assert output(hosts(), answers(at_node2), services=cause) == [
        f"for {who}, every pod's address answers and a Service's does not: {advice}" for who in ("pods", "nodes")
    ]


def far(pair: tuple[str, str]) -> bool:
    """A pod, and a host on another node."""
    nodes = {one.name: one.node for one in PAIRS.places}
    return nodes[pair[0]] != nodes[pair[1]] and pair[0].startswith(("web", "box"))


def test_pods_of_other_nodes_do_not_answer_and_so_services_do_not() -> None:
    lost, calls = hosts(far), answers(lambda call, pod: far((call.source, pod)))
    lines = four_cells(PAIRS.places, lost, calls)
    assert lines[3].split() == ["other", "node", "FAIL", "24", "of", "24", "FAIL", "24", "of", "24"]
    fails = "for pods, pods' own addresses fail (other node), and so do the Services behind them: "
    assert output(lost, calls, ROUTE, ROUTE) == [f"{fails}look at BIRD of node2, not at kube-proxy"]
    assert output(lost, calls, ROUTE, UNKNOWN) == [f"{fails}look at BIRD of node2"]
    assert output(lost, calls, FOREIGN, RULE) == [
        f"{fails}look at what is not the lab's on node3 and kube-proxy of node1"
    ]


def test_both_at_once() -> None:
    lost, calls = hosts(far), answers(lambda call, _: call.source == "web-1")
    assert output(lost, calls, ROUTE, RULE)[0] == (
        "for pods, pods' own addresses fail (other node), but Services fail where those answer, too "
        "(same node and other node): look at BIRD of node2 and kube-proxy of node1"
    )


def test_names_alone_fail() -> None:
    named = replace(next(c for c in SERVICES.calls if c.way is Way.CLUSTER_IP), way=Way.NAME, name="web.default")
    calls = [*answers(), CallResult(named, (), "DNS: timed out")]
    fails = "Services answer by address and not by name: "
    assert output(hosts(), calls) == [f"{fails}no cause was found"]
    hung = Cause("kube-system_kube-dns has a rule", CauseKind.UNMANAGED, "kube-system_kube-dns")
    assert output(hosts(), calls, services=hung) == [f"{fails}look at what is not the lab's on kube-system_kube-dns"]


def test_junit_and_json_have_the_calls() -> None:
    bad, good = (next(r for r in answers(at_node2) if bool(r.wrong) is wrong) for wrong in (True, False))
    text = junit("x", [], {}, [bad, good], {bad.call: "node2 has no <chain>"})
    what = "default/cluster by cluster IP, tcp 10.103.9.116:80, 4 times"
    assert text.splitlines()[2:7] == [
        '  <testsuite name="nslab probe x" tests="2" failures="1" errors="0" time="0.001">',
        f'    <testcase classname="x.web-2" name="web-2 -&gt; {what}" time="0.000300">',
        '      <failure message="2 of 4 timed out">node2 has no &lt;chain&gt;</failure>',
        "    </testcase>",
        f'    <testcase classname="x.web-1" name="web-1 -&gt; {what}" time="0.000300" />',
    ]
    (value,) = calls_to_json([bad], {})
    assert value == {
        "from": "web-2", "service": "default/cluster", "way": "cluster IP", "addresses": ["10.103.9.116"], "port": 80,
        "protocol": "TCP", "times": 4, "expected": "reached", "outcomes": {"reached": 2, "timed out": 2}, "ok": False,
        "wrong": "2 of 4 timed out", "answered": {"web-2": 2}, "seen_from": ["192.168.59.23"], "ms": 0.3,
    }  # fmt: skip


def test_what_gets_lost_on_the_way_is_told_apart() -> None:
    call = SERVICES.calls[0]
    nobody, some = replace(call, lost=True, answers=()), replace(call, lost=True)
    assert word(CallResult(nobody, (Try(Outcome.TIMED_OUT),))) == "no way"
    assert word(CallResult(some, (Try(Outcome.TIMED_OUT),))) == "in part"
    assert word(CallResult(some, (), "DNS: timed out")) == "no way"
    (output,) = calls_to_json([CallResult(some, (Try(Outcome.TIMED_OUT),))], {})
    assert output["lost"] is True
