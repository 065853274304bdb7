"""What control knows, and whom it tells what: over real sockets, with a loop that is turned by hand."""

from __future__ import annotations

import contextlib
import gc
import json
import socket
import weakref
from typing import TYPE_CHECKING, Any

import pytest

from nslab.components.apiserver.control import ControlServer
from nslab.components.controllers.endpoints import EndpointController, masked
from nslab.components.runtime.loop import Loop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nslab.components.runtime.peers import Peer

Said = dict[str, Any]


def service(name: str, *pods: str, **more: object) -> Said:
    """A Service with one port, and these pods behind it."""
    ends = [{"ip": f"20.96.0.{number}", "port": 80, "pod": pod} for number, pod in enumerate(pods, 2)]
    return {"namespace": "default", "name": name, "ports": [{"name": "", "port": 80, "endpoints": ends}], **more}


def are_ready(output: Said) -> list[bool]:
    return [end.get("ready", True) for end in output["ports"][0]["endpoints"]]


READY, UNREADY = {"ready": True}, {"ready": False}


def test_endpoints_are_as_ready_as_their_pods() -> None:
    web = service("web", "default/a", "default/b", "default/unknown")
    shown = masked(web, {"default/a": UNREADY, "default/b": READY})
    assert are_ready(shown) == [False, True, True]
    assert [end.get("serving", True) for end in shown["ports"][0]["endpoints"]] == [False, True, True]
    assert are_ready(web) == [True, True, True]


def test_a_pod_that_has_become_ready_is_ready_whatever_was_put() -> None:
    web = service("web", "default/a")
    web["ports"][0]["endpoints"][0] |= {"ready": False, "serving": False}
    assert masked(web, {"default/a": READY}) == service("web", "default/a")


def test_what_publishes_those_that_are_not_ready_has_them_ready_though_they_do_not_serve() -> None:
    web = service("web", "default/a", publish_not_ready=True)
    (end,) = masked(web, {"default/a": UNREADY})["ports"][0]["endpoints"]
    assert (end.get("ready", True), end["serving"]) == (True, False)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
@pytest.mark.parametrize("published", [False, True])
def test_a_pod_that_has_come_to_its_end_is_no_endpoint_even_if_all_are_published(phase: str, published: bool) -> None:
    web = service("web", "default/a", "default/b", publish_not_ready=published)
    shown = masked(web, {"default/a": {"ready": False, "phase": phase}, "default/b": UNREADY})
    assert [end["pod"] for end in shown["ports"][0]["endpoints"]] == ["default/b"]


def test_endpoints_follow_a_pod_to_its_end_and_back() -> None:
    book = EndpointController()
    book.put([service("jobs", "default/a", publish_not_ready=True)], (), whole=True)
    pods = ({"ready": False, "phase": phase} for phase in ("Running", "Succeeded", "Succeeded", "Running"))
    assert [book.status("node1", {"default/a": pod}) for pod in pods] == [
        {"default/jobs"}, {"default/jobs"}, set(), {"default/jobs"},
    ]  # fmt: skip
    assert len(json.loads(book.published["default/jobs"])["ports"][0]["endpoints"]) == 1


def test_one_that_terminates_serves_but_is_not_ready() -> None:
    web = service("web", "default/a")
    web["ports"][0]["endpoints"][0]["terminating"] = True
    (end,) = masked(web, {"default/a": READY})["ports"][0]["endpoints"]
    assert (end["ready"], end.get("serving", True)) == (False, True)


def test_only_services_of_pods_that_changed_are_told() -> None:
    book = EndpointController()
    assert book.put([service("a", "default/a"), service("b", "default/b"), service("c")], (), whole=True) == {
        "default/a",
        "default/b",
        "default/c",
    }
    assert book.status("node1", {"default/a": READY, "default/b": READY}) == set()
    assert book.status("node1", {"default/a": {"ready": True, "restarts": 1}, "default/b": UNREADY}) == {"default/b"}
    assert book.put([service("b", "default/b"), service("c", "default/a")], (), whole=False) == {"default/c"}
    assert book.put([service("c", "default/a")], (), whole=True) == {"default/a", "default/b"}
    assert book.status("node1", {"default/a": UNREADY}) == {"default/c"}
    assert book.put((), ["default/c", "default/nobody"], whole=False) == {"default/c"}
    assert book.published == {}


class Caller:
    """Somebody at control's socket."""

    def __init__(self, control: ControlServer) -> None:
        self.control = control
        self.socket, self._theirs = socket.socketpair()
        self.socket.setblocking(False)
        control.accept(self._theirs)
        self._received = b""

    def say(self, **output: object) -> None:
        self.socket.sendall(json.dumps(output).encode() + b"\n")
        self.control.loop.turn()

    def heard(self) -> list[Said]:
        """What was said to us since we last asked."""
        with contextlib.suppress(BlockingIOError):
            while block := self.socket.recv(1 << 16):
                self._received += block
        *lines, self._received = self._received.split(b"\n")
        return [json.loads(line) for line in lines]

    def asks(self, **output: object) -> Said:
        self.say(**output)
        (answer,) = self.heard()
        return answer

    def synced(self, generation: int) -> None:
        self.say(op="synced", generation=generation, seconds=0.1, error="")

    def leave(self) -> None:
        self.socket.close()
        while self._theirs.fileno() >= 0:
            self.control.loop.turn()


class Desk:
    """A control process, as far as one can have it in this one, and who calls it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "nodes").mkdir()
        self._callers: list[Caller] = []
        self.control = ControlServer(Loop(), str(folder))

    def caller(self) -> Caller:
        self._callers.append(Caller(self.control))
        return self._callers[-1]

    def again(self) -> None:
        """The process was killed, and another one takes its place."""
        self.close()
        self.control = ControlServer(Loop(), str(self._folder))

    def close(self) -> None:
        while self._callers:
            self._callers.pop().leave()
        self.control.socket.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def keys(listed: Said) -> list[str]:
    return [one["name"] for one in listed["services"]]


def test_a_watcher_is_told_everything_once_there_is_something(desk: Desk) -> None:
    proxy, user = desk.caller(), desk.caller()
    proxy.say(op="watch", node="node1")
    assert proxy.heard() == []  # or it would take away what `up` has written
    user.say(op="put", services=[service("a")], whole=True)
    (listed,) = proxy.heard()
    assert (listed["whole"], keys(listed)) == (True, ["a"])
    assert user.heard() == []  # it is answered when the rules are in
    proxy.synced(listed["generation"])
    assert user.heard() == [{"ok": True, "late": [], "generation": listed["generation"]}]


def test_rules_that_are_there_already_are_taken_over_and_nobody_waits_for_that(desk: Desk) -> None:
    proxy, user = desk.caller(), desk.caller()
    put = {"op": "put", "services": [service("a", "default/x")], "whole": True, "expect": {"kube-proxy": ["node1"]}}
    assert user.asks(**put, written=["node1"])["late"] == []
    proxy.say(op="watch", node="node1")
    (listed,) = proxy.heard()
    assert (listed["whole"], listed["written"], keys(listed)) == (True, True, ["a"])
    assert user.asks(**put)["late"] == []
    proxy.synced(listed["generation"])
    desk.caller().say(op="status", node="node1", pods={"default/x": UNREADY})
    (then,) = proxy.heard()
    assert (are_ready(then["services"][0]), "whole" in then, "written" in then) == ([False], False, False)
    proxy.synced(then["generation"])
    # Who comes next in its place has not written them.
    proxy.leave()
    later = desk.caller()
    later.say(op="watch", node="node1")
    assert "written" not in later.heard()[0]


def test_what_differs_from_what_is_there_already_is_told_next_and_waited_for(desk: Desk) -> None:
    proxy, kubelet, user = desk.caller(), desk.caller(), desk.caller()
    kubelet.asks(op="status", node="node1", pods={"default/x": UNREADY})
    services = [service("a", "default/x"), service("b")]
    user.say(op="put", services=services, whole=True, expect={"kube-proxy": ["node1"]}, written=["node1"])
    proxy.say(op="watch", node="node1")
    (there,) = proxy.heard()
    assert (keys(there), are_ready(there["services"][0])) == (["a", "b"], [True])
    proxy.synced(there["generation"])
    assert user.heard() == []
    (listed,) = proxy.heard()
    assert (keys(listed), are_ready(listed["services"][0])) == (["a"], [False])
    proxy.synced(listed["generation"])
    assert user.heard() == [{"ok": True, "late": [], "generation": listed["generation"]}]


def test_what_was_there_already_may_be_so_no_more(desk: Desk) -> None:
    """Somebody else wrote rules anew, before the first kube-proxy came."""
    user = desk.caller()
    user.asks(op="put", services=[service("a")], whole=True, expect={"kube-proxy": []}, written=["node1", "node2"])
    user.asks(op="put", services=[service("b")], expect={"kube-proxy": []})
    first = desk.caller()
    first.say(op="watch", node="node1")
    (there,) = first.heard()
    assert (there.get("written"), keys(there)) == (True, ["a"])
    first.synced(there["generation"])
    assert keys(first.heard()[0]) == ["b"]
    user.asks(op="put", services=[service("a"), service("b")], whole=True, expect={"kube-proxy": []}, written=[])
    second = desk.caller()
    second.say(op="watch", node="node2")
    (listed,) = second.heard()
    assert ("written" in listed, keys(listed)) == (False, ["a", "b"])


def test_then_only_what_changed_and_all_that_came_meanwhile_in_one(desk: Desk) -> None:
    proxy, user = desk.caller(), desk.caller()
    user.asks(op="put", services=[service("a"), service("b"), service("c")], whole=True)
    proxy.say(op="watch", node="node1")
    (first,) = proxy.heard()
    user.say(op="put", services=[service("b", "default/x")], expect={"kube-proxy": []})
    user.say(op="put", removed=["default/c"], expect={"kube-proxy": []})
    assert proxy.heard() == []  # it is at work
    proxy.synced(first["generation"])
    (listed,) = proxy.heard()
    assert (keys(listed), listed["removed"], "whole" in listed) == (["b"], ["default/c"], False)


def test_who_asks_how_far_kube_proxies_are_is_told_whether_all_have_followed(desk: Desk) -> None:
    proxy, user = desk.caller(), desk.caller()
    proxy.say(op="watch", node="node1")
    assert user.asks(op="progress") == {"ok": True, "generation": 0, "followed": True}
    desk.caller().say(op="put", services=[service("a", "default/x")], whole=True)
    (listed,) = proxy.heard()
    assert not user.asks(op="progress")["followed"]
    proxy.synced(listed["generation"])
    assert user.asks(op="progress") == {"ok": True, "generation": listed["generation"], "followed": True}
    desk.caller().say(op="status", node="node1", pods={"default/x": UNREADY})
    assert user.asks(op="progress") == {"ok": True, "generation": listed["generation"] + 1, "followed": False}


def test_a_put_that_changes_nothing_tells_nobody(desk: Desk) -> None:
    proxy, user = desk.caller(), desk.caller()
    user.asks(op="put", services=[service("a")], whole=True)
    proxy.say(op="watch", node="node1")
    (first,) = proxy.heard()
    proxy.synced(first["generation"])
    assert user.asks(op="put", services=[service("a")], whole=True)["late"] == []
    assert proxy.heard() == []


def test_while_somebody_holds_nothing_is_told(desk: Desk) -> None:
    proxy, user, kubelet = desk.caller(), desk.caller(), desk.caller()
    user.asks(op="put", services=[service("a", "default/x")], whole=True)
    proxy.say(op="watch", node="node1")
    proxy.synced(proxy.heard()[0]["generation"])
    assert user.asks(op="hold") == {"ok": True, "pods": {}}
    assert kubelet.asks(op="status", node="node1", pods={"default/x": UNREADY}) == {"ok": True}
    assert proxy.heard() == []
    user.leave()
    (listed,) = proxy.heard()
    assert are_ready(listed["services"][0]) == [False]


def test_a_hold_waits_for_those_at_work(desk: Desk) -> None:
    proxy, user = desk.caller(), desk.caller()
    user.asks(op="put", services=[service("a")], whole=True)
    proxy.say(op="watch", node="node1")
    user.say(op="hold")
    assert user.heard() == []
    proxy.synced(proxy.heard()[0]["generation"])
    assert user.heard() == [{"ok": True, "pods": {}}]
    assert user.asks(op="release") == {"ok": True}


def test_who_put_is_told_of_nodes_that_are_late(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nslab.components.apiserver.control.PUT_SECONDS", 0.5)
    quick, slow, user = desk.caller(), desk.caller(), desk.caller()
    quick.say(op="watch", node="node1")
    slow.say(op="watch", node="node2")
    user.say(op="put", services=[service("a")], whole=True, expect={"kube-proxy": ["node1", "node2", "node3"]})
    quick.synced(quick.heard()[0]["generation"])
    while not (answers := user.heard()):
        desk.control.loop.turn()
    assert answers[0]["late"] == [["kube-proxy", "node2"], ["kube-proxy", "node3"]]


def test_a_watcher_that_is_killed_is_not_waited_for(desk: Desk) -> None:
    proxy, user = desk.caller(), desk.caller()
    proxy.say(op="watch", node="node1")
    user.say(op="put", services=[service("a")], whole=True)
    proxy.leave()
    assert user.heard()[0]["late"] == []


def test_the_next_process_goes_on_with_what_was_put_and_with_what_nodes_wrote(desk: Desk, tmp_path: Path) -> None:
    user, kubelet = desk.caller(), desk.caller()
    user.asks(op="put", services=[service("a", "default/x"), service("b")], whole=True)
    kubelet.asks(op="status", node="node1", pods={"default/x": UNREADY})
    (tmp_path / "nodes/node1.status.json").write_text(json.dumps({"pods": {"default/x": UNREADY}}))
    before = desk.caller().asks(op="get")
    desk.again()
    after = desk.caller().asks(op="get")
    assert after["services"] == before["services"]
    assert are_ready(after["services"][0]) == [False]
    assert after["pods"] == {"default/x": UNREADY}
    assert after["generation"] > before["generation"]


def test_kube_dns_reads_what_is_told(desk: Desk, tmp_path: Path) -> None:
    user, kubelet = desk.caller(), desk.caller()
    user.asks(op="put", services=[service("a", "default/x")], whole=True)
    kubelet.asks(op="status", node="node1", pods={"default/x": UNREADY})
    listed = desk.caller().asks(op="get")["services"]
    assert json.loads((tmp_path / "dns/records.json").read_text()) == {"domain": "cluster.local", "services": listed}


def test_ten_thousand_services_pass_through_a_socket_that_holds_less(desk: Desk) -> None:
    proxy, kubelet = desk.caller(), desk.caller()
    desk.control.controller.put([service(f"s{number}", "default/x") for number in range(10000)], (), whole=True)
    desk.control.generation = 1
    proxy.say(op="watch", node="node1")
    # Before it has read all of it, somebody else is served.
    assert kubelet.asks(op="status", node="node1", pods={}) == {"ok": True}
    while not (listed := proxy.heard()):
        desk.control.loop.turn()
    assert len(listed[0]["services"]) == 10000
    proxy.synced(1)
    assert [watcher.works for watcher in desk.control.watchers.values()] == [False]


def test_nothing_is_left_of_who_hung_up_although_nobody_collects_cycles(desk: Desk) -> None:
    left: list[weakref.ref[Peer]] = []
    gc.disable()
    try:
        for output in (
            {"op": "get"},
            {"op": "release"},
            {"op": "status", "node": "node1", "pods": {"default/a": READY}},
            {"op": "put", "services": [service("web", "default/a")]},
            {"op": "hold"},
            {"op": "watch", "node": "node1"},
            {"op": "nothing"},
        ):
            ours, theirs = socket.socketpair()
            left.append(weakref.ref(desk.control.accept(theirs)))
            ours.sendall(json.dumps(output).encode() + b"\n")
            desk.control.loop.turn()
            ours.close()
            while theirs.fileno() >= 0:
                desk.control.loop.turn()
            del theirs
        assert [reference() for reference in left] == [None] * len(left)
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"1",
        b'"text"',
        b"null",
        b"{}",
        b'{"op": null}',
        b'{"op": "status"}',
        b'{"op": "status", "node": [], "pods": 1}',
        b'{"op": "put", "services": 1}',
        b'{"op": "put", "services": [1]}',
        b'{"op": "put", "services": [{}]}',
        b'{"op": "put", "expect": 1}',
        b'{"op": "put", "unknown": 1}',
        b'{"op": "synced", "generation": 1}',
        b'{"op": "watch"}',
        b"[" * 100_000,
        b'{"op": ' + b"9" * 5000 + b"}",
        b"\xff\xfe",
        b"",
    ],
    ids=lambda line: line[:40].decode("latin-1"),
)
def test_whatever_is_said_is_answered_by_one_line_and_control_goes_on(desk: Desk, line: bytes) -> None:
    caller = desk.caller()
    caller.socket.sendall(line + b"\n")
    desk.control.loop.turn()
    (answer,) = caller.heard()
    assert "error" in answer
    assert "\n" not in answer["error"]
    assert caller.asks(op="get")["ok"]


def test_who_put_is_told_what_kube_proxies_could_not_write(desk: Desk) -> None:
    proxy, other, user = desk.caller(), desk.caller(), desk.caller()
    proxy.say(op="watch", node="node1")
    other.say(op="watch", node="node2")
    user.say(op="put", services=[service("a"), service("b")], whole=True)
    for one, more in ((proxy, {"refused": {"default/a": "nft: no"}}), (other, {"error": "nft: not installed"})):
        (listed,) = one.heard()
        one.say(**{"op": "synced", "generation": listed["generation"], "seconds": 0.1, "error": "", **more})
    (answer,) = user.heard()
    assert answer["failed"] == {"node1": {"default/a": "nft: no"}, "node2": {"": "nft: not installed"}}
    assert (answer["ok"], answer["late"]) == (True, [])


POLICY = {"cluster": {"policies": []}, "nodes": {"node1": {"name": "node1"}}}
OTHER = {"cluster": {"pools": ["20.96.0.0/12"]}, "nodes": {"node1": {"name": "node1"}}}


def felix(desk: Desk, node: str = "node1") -> Caller:
    caller = desk.caller()
    caller.say(op="watch", node=node, component="felix")
    return caller


def test_a_felix_is_told_policies_and_a_kube_proxy_services(desk: Desk) -> None:
    proxy, agent, user = desk.caller(), felix(desk), desk.caller()
    proxy.say(op="watch", node="node1")
    user.say(op="put", services=[service("a")], whole=True, policy=POLICY)
    (told,), (listed,) = agent.heard(), proxy.heard()
    assert (told["policy"], told["written"], "services" in told) == (POLICY, False, False)
    proxy.synced(listed["generation"])
    assert user.heard() == []
    agent.say(op="synced", generation=told["generation"], seconds=0.1, error="")
    assert user.heard()[0]["late"] == []
    user.say(op="put", services=[service("b")], policy=POLICY)
    assert (agent.heard(), keys(proxy.heard()[0])) == ([], ["b"])
    desk.caller().say(op="put", policy=OTHER)
    assert (agent.heard()[0]["policy"], proxy.heard()) == (OTHER, [])


def test_a_put_without_policies_leaves_them(desk: Desk) -> None:
    user = desk.caller()
    user.asks(op="put", policy=POLICY)
    user.asks(op="put", services=[service("a")], whole=True)
    assert felix(desk).heard()[0]["policy"] == POLICY


def test_a_felix_takes_over_what_is_written(desk: Desk) -> None:
    agent, user = felix(desk), desk.caller()
    user.say(op="put", policy=POLICY, policy_written=["node1"], expect={"felix": []})
    assert agent.heard()[0]["written"]
    assert user.heard()[0]["late"] == []  # nobody is waited for
    # Who comes after a change that it was not there to write has to look.
    user.asks(op="put", policy=OTHER, expect={"felix": []})
    assert not felix(desk, "node2").heard()[0]["written"]


def test_a_felix_that_is_late_or_fails_is_named(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nslab.components.apiserver.control.PUT_SECONDS", 0.5)
    agent, user = felix(desk), desk.caller()
    user.say(op="put", policy=POLICY, expect={"kube-proxy": [], "felix": ["node1", "node2"]})
    agent.say(op="synced", generation=agent.heard()[0]["generation"], seconds=0.1, error="ipset: no memory")
    while not (answers := user.heard()):
        desk.control.loop.turn()
    assert answers[0]["late"] == [["felix", "node2"]]
    assert answers[0]["failed"] == {"node1": {"felix": "ipset: no memory"}}


def test_the_next_process_tells_felixes_what_was_put(desk: Desk) -> None:
    desk.caller().asks(op="put", policy=POLICY, policy_written=["node1"])
    desk.again()
    told = felix(desk).heard()[0]
    assert (told["policy"], told["written"]) == (POLICY, False)


PODS = {"cluster": {"workloads": [{"namespace": "default", "name": name} for name in "ab"]}, "nodes": {}}
ENDED, RUNNING = {"ready": False, "phase": "Succeeded"}, {"ready": True, "phase": "Running"}


def test_a_pod_that_has_ended_is_no_workload_until_it_runs_again(desk: Desk) -> None:
    agent, kubelet = felix(desk), desk.caller()
    desk.caller().say(op="put", policy=PODS)
    agent.synced(agent.heard()[0]["generation"])
    for pod, expected in ((RUNNING, []), (ENDED, [["b"]]), (ENDED, []), (RUNNING, [["a", "b"]])):
        kubelet.asks(op="status", node="node1", pods={"default/a": pod})
        told = agent.heard()
        assert [[pod["name"] for pod in one["policy"]["cluster"]["workloads"]] for one in told] == expected
        for one in told:
            agent.synced(one["generation"])
    kubelet.asks(op="status", node="node1", pods={"default/a": ENDED})
    desk.again()
    assert len(felix(desk).heard()[0]["policy"]["cluster"]["workloads"]) == 2, "nodes have not written it"


def test_one_that_comes_back_or_knows_of_an_end_looks(desk: Desk) -> None:
    user = desk.caller()
    user.asks(op="put", policy=PODS, policy_written=["node1"], expect={"felix": []})
    assert [felix(desk, node).heard()[0]["written"] for node in ("node1", "node2")] == [True, False]
    user.asks(op="status", node="node1", pods={"default/a": ENDED})
    user.asks(op="put", policy=PODS, policy_written=["node1"], expect={"felix": []})
    assert not felix(desk).heard()[0]["written"]


def test_policies_are_no_generation_of_services(desk: Desk) -> None:
    user, agent = desk.caller(), felix(desk)
    assert user.asks(op="progress")["followed"]  # there is no policy to follow yet
    user.asks(op="put", services=[service("a")], whole=True)
    before = user.asks(op="progress")
    desk.caller().say(op="put", policy=POLICY)
    after = user.asks(op="progress")
    assert (after["generation"], before["followed"], after["followed"]) == (before["generation"], True, False)
    agent.say(op="synced", generation=agent.heard()[0]["generation"], seconds=0.1, error="")
    assert user.asks(op="progress")["followed"]
