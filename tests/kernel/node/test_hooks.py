"""What the kubelet does in a container itself: probes that run a command, startup probes, lifecycle hooks; its end."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import pytest
from nodebench import Bench, alive, until

from nslab.objects.plan import Add
from nslab.runtime.health_check import HealthCheck

pytestmark = pytest.mark.root

ADDRESS = "20.111.156.7"
QUIET = "trap 'echo told; exit 0' TERM; echo begun; while :; do sleep .02; done"


@pytest.fixture
def pod(bench: Bench) -> Bench:
    """A pod behind a cable, which the node has a route to."""
    bench.node()
    sandbox = bench.sandbox("pod", address=ADDRESS)
    bench.wire("pod", ADDRESS)
    bench.start(sandbox)
    return bench


def command(line: str, **times: Any) -> HealthCheck:
    return HealthCheck("exec", command=("sh", "-c", line), **{"period": 0.05, "timeout": 5, "failures": 2, **times})


def app(pod: Bench) -> dict[str, Any]:
    unknown = {"state": "", "ready": False, "restarts": 0}
    return dict(pod.status("pod")["containers"].get("app", unknown))


def run(pod: Bench, line: str) -> None:
    assert pod.exec("pod", "container/app", "sh", "-c", line) == (0, "")


def add(pod: Bench, line: str = QUIET, **kubelet: Any) -> None:
    pod.agents.run([Add(pod.workload("pod", "app", "sh", "-c", line, **kubelet))])


def terminate(pod: Bench, seconds: float) -> None:
    times = {pod.ns("node1"): {pod.ns("pod"): seconds}}
    pod.agents.terminate(times)
    pod.agents.wait_terminated(times)


def test_a_command_says_whether_it_is_ready(pod: Bench) -> None:
    add(pod, readiness=command("cat /tmp/ready"))
    until(lambda: app(pod).get("message") == "Readiness probe failed: cat: /tmp/ready: No such file or directory\n")
    assert not app(pod)["ready"]
    run(pod, "touch /tmp/ready")
    until(lambda: app(pod)["ready"])
    run(pod, "rm /tmp/ready")
    until(lambda: not app(pod)["ready"])


def test_a_command_that_takes_too_long_fails(pod: Bench) -> None:
    add(pod, readiness=command("sleep 60", timeout=0.1))
    until(lambda: app(pod).get("message") == 'Readiness probe failed: command "sh -c sleep 60" timed out after 0.1s')


def test_the_others_wait_for_the_startup_probe(pod: Bench) -> None:
    startup, liveness = (
        command("test -e /tmp/up", failures=1000),
        command("echo asked >> /tmp/asked; false", failures=1),
    )
    add(pod, startup=startup, liveness=liveness, grace=1.0, backoff=200.0)
    until(lambda: app(pod).get("message", "").startswith("Startup probe failed"))
    assert (app(pod)["state"], app(pod)["ready"]) == ("running", False)
    run(pod, "! test -e /tmp/asked && touch /tmp/up")
    until(lambda: app(pod)["restarts"] == 1)


def test_who_does_not_start_in_time_is_killed(pod: Bench) -> None:
    add(pod, startup=command("false"), grace=1.0, backoff=200.0)
    until(lambda: app(pod)["restarts"] == 1)
    assert "told" in pod.log("pod", "app", attempt=0)


def test_headers_and_host_are_sent(pod: Bench) -> None:
    said: list[bytes] = []
    listeners: list[socket.socket] = []

    def listen() -> None:
        listeners.append(socket.create_server(("", 8080)))

    pod.inside("pod", listen)

    def serve() -> None:
        peer, _ = listeners[0].accept()
        said.append(peer.recv(4096))
        peer.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        peer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    check = HealthCheck("httpGet", 8080, "/x", headers=(("Host", "shop.example"), ("X-Probe", "yes")))
    add(pod, readiness=check)
    thread.join(10)
    listeners[0].close()
    lines = said[0].decode().split("\r\n")
    assert lines[0] == "GET /x HTTP/1.1"
    assert {"Host: shop.example", "X-Probe: yes"} < {*lines}
    assert sum(line.lower().startswith("host:") for line in lines) == 1


def test_it_runs_when_its_first_hook_is_over(pod: Bench) -> None:
    add(pod, lifecycle=(("postStart", command("while ! [ -e /tmp/go ]; do sleep .02; done")),))
    until(lambda: "begun" in pod.log("pod", "app"))
    until(lambda: app(pod)["state"] == "waiting")
    run(pod, "touch /tmp/go")
    until(lambda: app(pod)["ready"])


def test_a_first_hook_that_fails_ends_it(pod: Bench) -> None:
    add(pod, lifecycle=(("postStart", command("exit 3")),), grace=1.0, backoff=200.0)
    until(lambda: app(pod)["restarts"] == 1)
    journal = (pod.run / "nodes/node1/nslab-node.log").read_text().splitlines()
    assert journal[0].startswith(
        "default/pod: PostStartHook of container app failed: command terminated with exit code 3"
    )


def test_its_last_hook_comes_before_the_signal(pod: Bench) -> None:
    add(pod, lifecycle=(("preStop", command("echo hook > /proc/1/fd/1; sleep .3; echo over > /proc/1/fd/1")),))
    until(lambda: app(pod)["ready"])
    terminate(pod, 10)
    assert [line.split()[3] for line in pod.log("pod", "app").splitlines()] == ["begun", "hook", "over", "told"]
    assert (app(pod)["state"], app(pod)["reason"], app(pod)["restarts"]) == ("terminated", "Completed", 0)
    assert pod.status("pod")["terminated"]


def test_a_hook_that_sleeps(pod: Bench) -> None:
    add(pod, lifecycle=(("preStop", HealthCheck("sleep", period=0.5)),))
    until(lambda: app(pod)["ready"])
    began = time.monotonic()
    terminate(pod, 10)
    assert time.monotonic() - began >= 0.5


def test_who_takes_longer_than_it_may_is_killed(pod: Bench) -> None:
    add(pod, "trap '' TERM; while :; do sleep .02; done")
    until(lambda: app(pod)["ready"])
    pid = pod.record("pod", "container/app").pid
    terminate(pod, 0.5)
    assert not alive(pid)
    assert app(pod)["exit_code"] == 137
