"""What a runtime says to the plugins of a list, and what it makes of their answers; nothing is run."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING, Any

import pytest

from nslab.cni.chain import Invocation, Program, Wiring, adding, checking, deleting
from nslab.cni.config import read
from nslab.cni.result import PluginError, PluginOutput, made_of

if TYPE_CHECKING:
    from nslab.cni.chain import Invocations

POD = IPv4Address("20.96.1.2")
NETWORK = read(
    json.dumps(
        {
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [
                {"type": "bridge", "bridge": "cni0", "runtimeConfig": {"x": 1}, "ipam": {"type": "host-local"}},
                {"type": "portmap", "capabilities": {"portMappings": True, "mac": True, "ips": False}},
            ],
        }
    )
)
MAPPING = [{"hostPort": 8088, "containerPort": 8080, "protocol": "tcp"}]
WIRING = Wiring(
    network=NETWORK,
    programs=(Program("/usr/lib/cni/bridge"), Program("/opt/portmap"), Program("/usr/lib/cni/host-local")),
    container="c0ffee",
    netns="/run/netns/nslab.x.pod-a",
    ifname="eth0",
    args="IgnoreUnknown=1;K8S_POD_NAME=pod-a",
    path=("/opt", "/usr/lib/cni"),
    runtime=json.dumps({"portMappings": MAPPING}),
    asks=True,
)
MADE = {"cniVersion": "1.0.0", "ips": [{"address": "20.96.1.2/24", "gateway": "20.96.1.1", "interface": 0}]}
MADE["interfaces"] = [{"name": "eth0", "sandbox": "/run/netns/nslab.x.pod-a"}]  # type: ignore[list-item]
FINAL = {**MADE, "dns": {"nameservers": ["10.96.0.10"]}}


def output(result: dict[str, Any]) -> PluginOutput:
    return PluginOutput(0, json.dumps(result))


REFUSED = PluginOutput(1, '{"cniVersion": "1.0.0", "code": 7, "msg": "no bridge", "details": "for want of a nail"}')


def played(calls: Invocations, *answers: PluginOutput) -> tuple[list[Invocation], dict[str, Any] | str]:
    """The orders, each answered in its turn, and what came of it in the end: a result, or the error's words."""
    heard: list[Invocation] = []
    waiting = list(answers)
    try:
        call = next(calls)
        while True:
            heard.append(call)
            call = calls.send(waiting.pop(0))
    except StopIteration as end:
        return heard, end.value
    except PluginError as error:
        return heard, str(error)


def shown(call: Invocation) -> tuple[str, str]:
    return call.command, call.plugin


def test_add_goes_through_the_list_and_hands_the_result_on() -> None:
    (first, second), result = played(adding(WIRING, POD), output(MADE), output(FINAL))
    assert result == FINAL
    assert (first.program, second.program) == ("/usr/lib/cni/bridge", "/opt/portmap")
    assert first.env == {
        "CNI_COMMAND": "ADD",
        "CNI_CONTAINERID": "c0ffee",
        "CNI_NETNS": "/run/netns/nslab.x.pod-a",
        "CNI_IFNAME": "eth0",
        "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAME=pod-a;IP=20.96.1.2",
        "CNI_PATH": "/opt:/usr/lib/cni",
    }
    head = {"cniVersion": "1.0.0", "name": "pods"}
    assert json.loads(first.stdin) == {**head, "type": "bridge", "bridge": "cni0", "ipam": {"type": "host-local"}}
    runtime = {"portMappings": MAPPING}
    assert json.loads(second.stdin) == {**head, "type": "portmap", "runtimeConfig": runtime, "prevResult": MADE}


def test_an_address_is_asked_for_by_capability_too_or_not_at_all() -> None:
    network = read('{"cniVersion": "1.0.0", "name": "n", "type": "x", "capabilities": {"ips": true}}')
    (call,), _ = played(adding(replace(WIRING, network=network), POD), output(MADE))
    assert json.loads(call.stdin)["runtimeConfig"] == {"ips": ["20.96.1.2"]}
    (call,), _ = played(adding(replace(WIRING, network=network, asks=False), POD), output(MADE))
    assert "IP=" not in call.env["CNI_ARGS"]
    assert "runtimeConfig" not in json.loads(call.stdin)


def test_a_failure_in_the_middle_undoes_the_whole_list_and_says_why() -> None:
    calls, error = played(adding(WIRING, POD), output(MADE), REFUSED, PluginOutput(0), PluginOutput(0))
    assert [shown(call) for call in calls] == [
        ("ADD", "bridge"),
        ("ADD", "portmap"),
        ("DEL", "portmap"),
        ("DEL", "bridge"),
    ]
    assert error == "portmap: error 7: no bridge: for want of a nail"


def test_what_fails_while_cleaning_up_is_told_as_well() -> None:
    _, error = played(adding(WIRING, POD), output(MADE), REFUSED, PluginOutput(0), PluginOutput(-9))
    assert error == (
        "portmap: error 7: no bridge: for want of a nail\n"
        "  and at DEL, to clean up: bridge was killed by signal 9 at DEL and printed no error"
    )


def test_a_pod_needs_an_address() -> None:
    without = {"cniVersion": "1.0.0", "interfaces": []}
    calls, error = played(adding(WIRING, POD), output(MADE), output(without), PluginOutput(0), PluginOutput(0))
    assert len(calls) == 4
    assert error == "portmap succeeded, but returned no IPv4 address, and a pod needs one"


def test_check_goes_on_from_the_final_result() -> None:
    calls, _ = played(checking(WIRING, POD, FINAL), PluginOutput(0), PluginOutput(0))
    assert [shown(call) for call in calls] == [("CHECK", "bridge"), ("CHECK", "portmap")]
    assert [json.loads(call.stdin)["prevResult"] for call in calls] == [FINAL, FINAL]
    calls, error = played(checking(WIRING, POD, FINAL), REFUSED)
    assert (len(calls), error) == (1, "bridge: error 7: no bridge: for want of a nail")
    assert played(checking(replace(WIRING, network=replace(NETWORK, checks=False)), POD, FINAL))[0] == []


def test_del_goes_backwards_and_does_not_stop() -> None:
    calls, error = played(deleting(WIRING, POD, FINAL), REFUSED, PluginOutput(2, "", "panic: oh\n"))
    assert [shown(call) for call in calls] == [("DEL", "portmap"), ("DEL", "bridge")]
    assert json.loads(calls[1].stdin)["prevResult"] == FINAL
    assert error == (
        "portmap: error 7: no bridge: for want of a nail; "
        "bridge ended with status 2 at DEL and printed no error\n    panic: oh"
    )


def test_older_versions_are_not_told_what_they_do_not_know() -> None:
    old = replace(WIRING, network=replace(NETWORK, version="0.3.1"))
    calls, _ = played(adding(old, POD), output(MADE), output(FINAL))
    assert "prevResult" in json.loads(calls[1].stdin), "chains came with 0.3.0"
    calls, _ = played(deleting(old, POD, FINAL), PluginOutput(0), PluginOutput(0))
    assert not any("prevResult" in json.loads(call.stdin) for call in calls), "DEL is told since 0.4.0"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (PluginOutput(0), "bridge succeeded, but printed no result"),
        (PluginOutput(0, "hello\x1b[2J"), "bridge succeeded, but printed no JSON: hello?[2J"),
        (PluginOutput(0, "[1]"), "bridge succeeded, but printed no JSON: [1]"),
        (
            PluginOutput(0, '{"ips": [{}]}'),
            "bridge printed an invalid result: an entry of ips has no address",
        ),
        (
            PluginOutput(0, '{"ips": 3}'),
            "bridge printed an invalid result: ips is not a list of objects",
        ),
        (PluginOutput(1, '{"code": 11, "msg": "later"}'), "bridge: error 11: later"),
        (PluginOutput(1, "no"), "bridge ended with status 1 at ADD and printed no error"),
        (PluginOutput(-11, "", "SIGSEGV\n"), "bridge was killed by signal 11 at ADD and printed no error\n    SIGSEGV"),
        (
            PluginOutput(-9, failed="did not end within 20 s and was killed"),
            "bridge did not end within 20 s and was killed",
        ),
    ],
)
def test_each_way_to_fail_has_a_sentence(answer: PluginOutput, words: str) -> None:
    _, error = played(adding(WIRING, POD), answer, PluginOutput(0), PluginOutput(0))
    assert error == words


@pytest.mark.parametrize(
    ("result", "address", "gateway"),
    [
        ({"cniVersion": "0.2.0", "ip4": {"ip": "10.1.0.5/16", "gateway": "10.1.0.1"}}, "10.1.0.5/16", "10.1.0.1"),
        ({"cniVersion": "0.3.1", "ips": [{"version": "4", "address": "10.1.0.5/16"}]}, "10.1.0.5/16", None),
        ({"ips": [{"address": "fd00::5/64"}, {"address": "10.1.0.5/16"}]}, "10.1.0.5/16", None),
        (
            {
                "interfaces": [{"name": "cni0"}, {"name": "eth0", "sandbox": "/n"}],
                "ips": [{"address": "10.1.0.1/16", "interface": 0}, {"address": "10.1.0.5/16", "interface": 1}],
            },
            "10.1.0.5/16",
            None,
        ),
    ],
)
def test_results_of_all_versions(result: dict[str, Any], address: str, gateway: str | None) -> None:
    made = made_of(result)
    assert made.address == IPv4Interface(address)
    assert made.gateway == (IPv4Address(gateway) if gateway else None)


def test_a_result_without_addresses_has_none() -> None:
    assert made_of({}).address is None
