"""The prober of Services on the real kernel: whole labs are right in every mode; what is broken is named."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from nslab.app.drift import drift_of
from nslab.app.probe import probe
from nslab.compiler.endpoints import resolve
from nslab.linux.netns import Namespaces
from nslab.linux.prober.services import ask_services
from nslab.linux.processes.control import ControlClient
from nslab.probes import survey_services, verdict
from nslab.probes.verdict import squares
from nslab.trace.explain_services import Evidence, explain_call
from nslab.wire import dns_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.probes import CallResult
    from nslab.pytest_plugin.running import RunningLab

pytestmark = pytest.mark.root


def asked(lab: RunningLab) -> list[CallResult]:
    """Every Service, asked by everybody."""
    now = drift_of(lab.name)
    with Namespaces() as spaces:
        return ask_services(spaces, lab.name, survey_services(now.lab, now.host), now.lab.dns_address)


def wrong(lab: RunningLab, results: list[CallResult]) -> dict[str, str]:
    """What is wrong, with the reason, by who asked what."""
    now = drift_of(lab.name)
    return {
        f"{result.call.source} to {result.call.column}": f"{result.wrong} | "
        f"{explain_call(result, lab.name, now.plan, Evidence()).sentence}"
        for result in results
        if result.wrong
    }


def verdicts(lab: RunningLab) -> list[str]:
    """What the four cells come to, for pods and for nodes."""
    found = probe(lab.name)
    cells = squares(found.survey.places, found.results, found.calls, found.causes)
    return [verdict(square) for square in cells]


@pytest.fixture
def probed(make_lab: Callable[..., RunningLab]) -> Callable[..., RunningLab]:
    """Brings up a shipped lab, in the mode that the test wants."""

    def bring_up(shipped: str, mode: str | None = None) -> RunningLab:
        lab = make_lab(shipped, proxy_mode=mode)
        with ControlClient(lab.name) as line:
            # What a test breaks must not be mended by a kube-proxy that has only just begun.
            assert (
                line.put(resolve(lab.desired), expect={"kube-proxy": [node.name for node in lab.desired.nodes]}) == ()
            )
        return lab

    return bring_up


@pytest.mark.parametrize("mode", ["iptables", "nftables", "userspace"])
def test_the_services_lab_is_right(probed: Callable[..., RunningLab], mode: str) -> None:
    lab = probed(f"services-{mode}")
    results = asked(lab)
    assert [f"{result.call}: {result.wrong}" for result in results if result.wrong] == []
    assert {str(result.call.way) for result in results} == {"cluster IP", "name", "node port"}
    assert sum(result.call.times == 200 for result in results) == 4


@pytest.mark.parametrize("mode", ["iptables", "nftables", "userspace"])
def test_policies_and_source_ranges_are_as_the_mode_has_them(probed: Callable[..., RunningLab], mode: str) -> None:
    lab = probed("external-traffic", mode)
    assert wrong(lab, asked(lab)) == {}


@pytest.mark.parametrize("shipped", ["kubenet-two-node", "calico-two-node"])
def test_the_course_s_labs_are_right(probed: Callable[..., RunningLab], shipped: str) -> None:
    lab = probed(shipped)
    calls = asked(lab)
    assert wrong(lab, calls) == {}
    assert verdicts(lab) == ["", ""]


def test_kubenet_s_userspace_proxy_is_reached_by_redirection(probed: Callable[..., RunningLab]) -> None:
    lab = probed("kubenet-two-node", "userspace")
    assert wrong(lab, asked(lab)) == {}


def test_an_emptied_chain_is_named_and_kube_proxy_s(probed: Callable[..., RunningLab]) -> None:
    lab = probed("external-traffic")
    rules = lab.sh("node1", "iptables -t nat -S KUBE-SERVICES").splitlines()
    (chain,) = {rule.rpartition(" ")[2] for rule in rules if '"default/cluster cluster IP"' in rule}
    lab.sh("node1", f"iptables -t nat -F {chain}")
    calls = asked(lab)
    found = wrong(lab, calls)
    assert {*found} == {
        "web-1 to cluster",
        "node1 to cluster",
        "client to cluster at node1:31080",
        "stranger to cluster at node1:31080",
    }
    assert all(f"node1's chain {chain}" in why for why in found.values())
    assert verdicts(lab) == [
        f"for {who}, every pod's address answers and a Service's does not: look at kube-proxy of node1"
        for who in ("pods", "nodes")
    ]


def test_a_missing_route_is_the_pod_network_s(probed: Callable[..., RunningLab]) -> None:
    lab = probed("external-traffic")
    subprocess.run(["ip", "-n", lab.node("node3").netns, "route", "del", "20.109.131.0/26"], check=True)
    assert verdicts(lab)[0] == (
        "for pods, pods' own addresses fail (other node), and so do the Services behind them: "
        "look at BIRD of node3, not at kube-proxy"
    )


def test_a_client_seen_as_somebody_else_is_told(probed: Callable[..., RunningLab]) -> None:
    lab = probed("external-traffic")
    lab.sh("node1", "iptables -t nat -I POSTROUTING -s 192.168.59.10 -j MASQUERADE")
    found = wrong(lab, asked(lab))
    assert {*found} == {"client to local at node1:31081", "client to local at 192.168.59.240"}
    assert all(why.startswith("seen as 192.168.59.22 | ") for why in found.values())


def test_a_rule_that_is_not_fair_is_seen(probed: Callable[..., RunningLab]) -> None:
    lab = probed("external-traffic")
    rules = lab.sh("node1", "iptables -t nat -S KUBE-SERVICES").splitlines()
    (chain,) = {rule.rpartition(" ")[2] for rule in rules if '"default/cluster cluster IP"' in rule}
    second = lab.sh("node1", f"iptables -t nat -S {chain}").splitlines()[-1].removeprefix("-A")
    lab.sh("node1", f"iptables -t nat -I {second}")
    found = wrong(lab, asked(lab))
    assert {*found} == {"web-1 to cluster"}
    assert found["web-1 to cluster"].startswith("uneven (")


def test_dns_that_does_not_answer_is_told(probed: Callable[..., RunningLab]) -> None:
    lab = probed("services-iptables")
    lab.sh("kube-system_kube-dns", "iptables -A INPUT -p udp --dport 53 -j DROP")
    found = wrong(lab, asked(lab))
    assert found
    assert all("by name" in whom and why.startswith("DNS: timed out") for whom, why in found.items())


def test_the_wire_format_of_dns() -> None:
    asked = dns_client.query(7, "web.default")
    assert asked == b"\0\7\1\0\0\1\0\0\0\0\0\0\3web\7default\0\0\1\0\1"
    question = asked[12:]
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\x0a\x60\0\1"
    output = b"\0\7\x85\x80\0\1\0\1\0\0\0\0" + question + record
    heard = dns_client.answer(output, 7)
    assert heard
    assert ([str(address) for address in heard[0]], heard[1]) == (["10.96.0.1"], "")
    assert dns_client.answer(output, 8) is None
    assert dns_client.answer(output[:-3], 7) is None
    assert dns_client.answer(b"\0\7\x85\x83\0\1\0\0\0\0\0\0" + question, 7) == ((), "NXDOMAIN")
