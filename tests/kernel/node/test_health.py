"""The kubelet's probes, from the node's network: readiness comes and goes, what is not well is started again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from nodebench import Bench, alive, until

from nslab.objects.plan import Add
from nslab.runtime.health_check import HealthCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

ADDRESS = "20.111.156.7"
SERVER = """
import http.server, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = open('/tmp/answer').read().strip() if os.path.exists('/tmp/answer') else '200'
        print(self.path, self.headers['User-Agent'], self.client_address[0], flush=True)
        self.send_response(int(said)); self.send_header('Content-Length', '2'); self.end_headers()
        self.wfile.write(b'ok')
http.server.HTTPServer(('', 8080), Handler).serve_forever()
"""
"""Answers with the status that stands in a file."""


class Control:
    """What stands in for the lab's control process: the socket, and what was said to it last."""

    def __init__(self, bench: Bench) -> None:
        self._bench, self.pods, self.lines = bench, {}, 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(bench.run / "control.sock"))
        self._listener.listen()
        self._listener.setblocking(False)
        self._peers: list[socket.socket] = []
        self._said = b""
        self.pods: dict[str, Any]

    def ready(self) -> bool | None:
        """Whether the pod is ready, by the last that was said."""
        with contextlib.suppress(BlockingIOError):
            self._peers.append(self._listener.accept()[0])
        for peer in self._peers:
            with contextlib.suppress(BlockingIOError, ConnectionError):
                self._said += peer.recv(1 << 16, socket.MSG_DONTWAIT)
        *lines, self._said = self._said.split(b"\n")
        for line in lines:
            output = json.loads(line)
            assert (output["op"], output["node"]) == ("status", "node1")
            self.pods = output["pods"]
            with contextlib.suppress(ConnectionError):
                self._peers[-1].sendall(b'{"ok": true}\n')
        pod = self.pods.get("default/pod")
        return None if pod is None else pod["ready"]

    def close(self) -> None:
        """Hang up, and be gone."""
        for end in (*self._peers, self._listener):
            end.close()
        os.unlink(self._bench.run / "control.sock")


@pytest.fixture
def pod(bench: Bench) -> Bench:
    """A pod behind a cable, which the node has a route to."""
    bench.node()
    sandbox = bench.sandbox("pod", address=ADDRESS)
    bench.wire("pod", ADDRESS)
    bench.start(sandbox)
    return bench


@pytest.fixture
def control(pod: Bench) -> Iterator[Control]:
    made = Control(pod)
    yield made
    made.close()


def asked(kind: str = "httpGet", port: int = 8080, **fields: Any) -> HealthCheck:
    """A probe that is quick about it."""
    return HealthCheck(kind, port, **{"path": "/healthz", "period": 0.05, "failures": 2, **fields})  # type: ignore[arg-type]


def say(pod: Bench, status: int) -> None:
    """What the server answers from now on."""
    assert pod.exec("pod", "container/app", "sh", "-c", f"echo {status} > /tmp/answer") == (0, "")


def app(pod: Bench) -> dict[str, Any]:
    """What is written down of the container."""
    return dict(pod.status("pod").get("containers", {}).get("app", {}))


def is_told(pod: Bench, why: str) -> None:
    """Why the container is not ready, as the node writes it down and tells who waits for it."""
    until(lambda: app(pod).get("message") == why)
    assert [failure.reason for failure in pod.agents.wait_ready(0.05)] == [why]


def test_readiness_comes_and_goes(pod: Bench, control: Control) -> None:
    pod.start(pod.workload("pod", "app", "python3", "-c", SERVER, port=8080, readiness=asked()))
    until(lambda: pod.status("pod")["ready"] and control.ready())
    for _ in range(3):
        say(pod, 503)
        until(lambda: not pod.status("pod")["ready"] and control.ready() is False)
        until(lambda: app(pod).get("message") == "Readiness probe failed: HTTP probe failed with statuscode: 503")
        assert (app(pod)["state"], app(pod)["restarts"], app(pod)["ready"]) == ("running", 0, False)
        say(pod, 302)
        until(lambda: pod.status("pod")["ready"] and control.ready())
    assert "message" not in app(pod)
    # Asked from the node, whose address is that of its end of the cable.
    until(lambda: "/healthz kube-probe/" in pod.log("pod", "app"))
    assert pod.log("pod", "app").splitlines()[0].endswith(" 169.254.1.1")


def test_a_pod_is_as_ready_as_all_its_containers(pod: Bench) -> None:
    pod.agents.run([
        Add(pod.workload("pod", "app", "python3", "-c", SERVER, port=8080, readiness=asked())),
        Add(pod.workload("pod", "late", "sleep", "1000", readiness=asked("tcpSocket", 9, initial_delay=0.01))),
    ])  # fmt: skip
    why = f"Readiness probe failed: dial tcp {ADDRESS}:9: connect: connection refused"
    until(lambda: app(pod).get("ready") and pod.status("pod")["containers"].get("late", {}).get("message") == why)
    assert [(one.container, one.reason) for one in pod.agents.wait_ready(0.05)] == [("late", why)]
    containers = pod.status("pod")["containers"]
    assert {name: entry["ready"] for name, entry in containers.items()} == {"app": True, "late": False}
    assert (pod.status("pod")["ready"], pod.status("pod")["phase"]) == (False, "Running")


def test_without_a_probe_what_runs_is_ready(pod: Bench, control: Control) -> None:
    pod.start(pod.workload("pod", "app", "sleep", "1000"))
    until(lambda: pod.status("pod")["ready"] and control.ready())


def test_who_does_not_answer_in_time_fails(pod: Bench) -> None:
    mute = "import socket, time; s = socket.create_server(('', 8080)); time.sleep(1000)"
    check = asked(timeout=0.02, period=0.1)
    pod.agents.run([Add(pod.workload("pod", "app", "python3", "-c", mute, port=8080, readiness=check))])
    is_told(pod, f'Readiness probe failed: Get "http://{ADDRESS}:8080/healthz": context deadline exceeded')


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A key and a certificate that nobody has signed."""
    file = tmp_path_factory.mktemp("tls") / "pair"
    make = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x -keyout - -out -"
    file.write_bytes(subprocess.run(make.split(), check=True, capture_output=True).stdout)
    return file.read_text()


def test_https_is_asked_and_not_verified(pod: Bench, pair: str) -> None:
    listen = f"""
import ssl
server = http.server.HTTPServer(('', 8080), Handler)
open('/tmp/pair', 'w').write({pair!r})
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('/tmp/pair')
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""
    program = SERVER.rpartition("\n")[0].rpartition("\n")[0] + listen
    check = asked(scheme="HTTPS")
    pod.start(pod.workload("pod", "app", "python3", "-c", program, port=8080, readiness=check))
    until(lambda: pod.status("pod")["ready"])
    until(lambda: "/healthz kube-probe/" in pod.log("pod", "app"))
    say(pod, 503)
    until(lambda: not pod.status("pod")["ready"])
    until(lambda: app(pod).get("message") == "Readiness probe failed: HTTP probe failed with statuscode: 503")
    say(pod, 200)
    until(lambda: pod.status("pod")["ready"])


@pytest.mark.parametrize(
    ("spoken", "why"),
    [
        ("HTTP/1.1 400 Bad Request", "http: server gave HTTP response to HTTPS client"),
        ("SSH-2.0-OpenSSH_9.2", "tls: first record does not look like a TLS handshake"),
        ("", "context deadline exceeded"),
    ],
)
def test_who_does_not_speak_tls_fails(pod: Bench, spoken: str, why: str) -> None:
    server = f"""
import socket
server, peers = socket.create_server(('', 8080)), []
while True:
    peers.append(server.accept()[0])
    peers[-1].send({spoken!r}.encode())
"""
    check = asked(scheme="HTTPS", timeout=0.3)
    pod.agents.run([Add(pod.workload("pod", "app", "python3", "-c", server, port=8080, readiness=check))])
    is_told(pod, f'Readiness probe failed: Get "https://{ADDRESS}:8080/healthz": {why}')


def test_what_is_not_alive_is_killed_and_started_again(pod: Bench) -> None:
    pod.start(pod.workload("pod", "app", "python3", "-c", SERVER, port=8080, liveness=asked(), grace=1.0))
    first = pod.record("pod", "container/app").pid
    say(pod, 500)
    until(lambda: not alive(first))
    # /tmp is the container's own: the new one is well.
    until(lambda: app(pod)["restarts"] == 1 and app(pod)["ready"])
    assert app(pod)["exit_code"] in (137, 143)
    journal = pod.run / "nodes/node1/nslab-node.log"
    assert journal.read_text().splitlines() == [
        "default/pod: Liveness probe failed: HTTP probe failed with statuscode: 500",
        "default/pod: Container app failed liveness probe, will be restarted",
    ]
    until(lambda: "/healthz" in pod.log("pod", "app", attempt=1))


def test_tcp_liveness(pod: Bench) -> None:
    once = "import socket, time; s = socket.create_server(('', 8080)); time.sleep(.5); s.close(); time.sleep(1000)"
    check = asked("tcpSocket")
    pod.start(pod.workload("pod", "app", "python3", "-c", once, port=8080, liveness=check, backoff=200.0, grace=1.0))
    until(lambda: app(pod)["restarts"] == 1 and app(pod)["reason"] == "CrashLoopBackOff", 10)


def test_readiness_goes_on_after_the_nodes_process_was_killed(bench: Bench) -> None:
    node = bench.node()
    sandbox = bench.sandbox("pod", address=ADDRESS)
    bench.wire("pod", ADDRESS)
    bench.start(sandbox, bench.workload("pod", "app", "python3", "-c", SERVER, port=8080, readiness=asked()))
    control = Control(bench)
    until(control.ready)
    os.kill(node, signal.SIGKILL)
    until(lambda: not alive(node))
    assert bench.status("pod")["ready"] is True
    bench.node()
    assert bench.status("pod")["ready"] is True  # and never was not, to anybody who looks
    say(bench, 500)
    until(lambda: not bench.status("pod")["ready"] and control.ready() is False)
    say(bench, 200)
    until(lambda: bench.status("pod")["ready"] and control.ready())
    # Control may be killed as well: who comes in its place is told all at once.
    control.close()
    control = Control(bench)
    until(control.ready)
    control.close()
