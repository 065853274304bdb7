"""gRPC probes: of a server in a pod that speaks so much of HTTP/2, from the node, by a process of their own."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pytest
from nodebench import Bench, alive, until

from nslab.components.kubelet import grpc_client
from nslab.objects.plan import Add
from nslab.runtime.health_check import HealthCheck

pytestmark = pytest.mark.root

ADDRESS = "20.111.156.7"
SERVER = r"""
import os, socketserver
def frame(kind, flags, stream, body):
    return len(body).to_bytes(3, 'big') + bytes([kind, flags]) + stream.to_bytes(4, 'big') + body
def field(name, value):
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value
class Peer(socketserver.StreamRequestHandler):
    def handle(self):
        print(self.client_address[0], flush=True)
        self.rfile.read(24)
        self.wfile.write(frame(4, 0, 0, b''))
        while head := self.rfile.read(9):
            body = self.rfile.read(int.from_bytes(head[:3], 'big'))
            if head[3] == 0:
                service = body[7:].decode()
                status = int(open('/tmp/status').read()) if os.path.exists('/tmp/status') else 1
                code = b'5' if service not in ('', 'shop') else b'0'
                answer = frame(0, 0, 1, b'\0\0\0\0\2\x08' + bytes([status])) if code == b'0' else b''
                begin = frame(1, 4, 1, b'\x88' + field(b'content-type', b'application/grpc'))
                end = frame(1, 5, 1, field(b'grpc-status', code) + field(b'grpc-message', b'unknown service'))
                self.wfile.write(begin + answer + end)
socketserver.ThreadingTCPServer(('', 5000), Peer).serve_forever()
"""
"""A health service, in so much of HTTP/2 as it takes."""


@pytest.fixture
def pod(bench: Bench) -> Bench:
    bench.node()
    sandbox = bench.sandbox("pod", address=ADDRESS)
    bench.wire("pod", ADDRESS)
    bench.start(sandbox)
    return bench


def asked(**fields: object) -> HealthCheck:
    return HealthCheck("grpc", 5000, **{"period": 0.05, "failures": 1, **fields})  # type: ignore[arg-type]


def ready(pod: Bench) -> bool:
    return bool(pod.status("pod")["ready"])


def message(pod: Bench) -> str:
    return str(pod.status("pod").get("containers", {}).get("app", {}).get("message", ""))


def say(pod: Bench, status: int) -> None:
    """What the server answers from now on."""
    assert pod.exec("pod", "container/app", "sh", "-c", f"echo {status} > /tmp/status") == (0, "")


def is_refused(pod: Bench, program: str, check: HealthCheck, why: str) -> None:
    """Why it is not ready, as the node writes it down and tells who waits for it."""
    pod.agents.run([Add(pod.workload("pod", "app", "python3", "-c", program, port=5000, readiness=check))])
    until(lambda: message(pod) == why)
    assert [failure.reason for failure in pod.agents.wait_ready(0.05)] == [why]


@pytest.mark.parametrize("service", ["", "shop"])
def test_readiness_comes_and_goes(pod: Bench, service: str) -> None:
    check = asked(service=service)
    pod.start(pod.workload("pod", "app", "python3", "-c", SERVER, port=5000, readiness=check))
    until(lambda: ready(pod))
    say(pod, 2)
    why = 'Readiness probe failed: service unhealthy (responded with "NOT_SERVING")'
    until(lambda: not ready(pod) and message(pod) == why)
    say(pod, 1)
    until(lambda: ready(pod))
    assert message(pod) == ""
    # From the node, whose address is that of its end of the cable.
    until(lambda: "169.254.1.1\n" in pod.log("pod", "app"))


def test_agnhosts_service(pod: Bench) -> None:
    command = ("agnhost", "grpc-health-checking", "--port=5000", "--service", "shop")
    pod.start(pod.workload("pod", "app", *command, port=5000, readiness=asked(service="shop")))
    until(lambda: ready(pod))
    for path, is_ready in (("make-not-serving", False), ("make-serving", True)):
        line = f"exec 3<>/dev/tcp/127.0.0.1/8080; printf 'GET /{path} HTTP/1.0\\r\\n\\r\\n' >&3; head -1 <&3"
        assert pod.exec("pod", "container/app", "bash", "-c", line) == (0, "HTTP/1.1 200 OK\n")
        until(lambda is_ready=is_ready: ready(pod) == is_ready)
    assert "gRPC server starting to listen on :5000" in pod.log("pod", "app")


def test_who_does_not_serve_is_restarted(pod: Bench) -> None:
    pod.start(pod.workload("pod", "app", "python3", "-c", SERVER, port=5000, liveness=asked(), grace=1.0))
    first = pod.record("pod", "container/app").pid
    say(pod, 2)
    until(lambda: not alive(first))
    until(lambda: pod.status("pod")["containers"]["app"]["restarts"] == 1)


def test_an_unknown_service(pod: Bench) -> None:
    why = "Readiness probe failed: error: health rpc probe failed: rpc error: code = NotFound desc = unknown service"
    is_refused(pod, SERVER, asked(service="other"), why)


@pytest.mark.parametrize(
    "program",
    [
        "import socket, time; s = socket.create_server(('', 5000)); time.sleep(1000)",
        "import socket\ns = socket.create_server(('', 5000))\nwhile 1: s.accept()[0].send(b'HTTP/1.1 400 Bad Request')",
        "import socket\ns = socket.create_server(('', 5000))\nwhile 1: s.accept()[0].send(bytes(1 << 20))",
    ],
    ids=["silent", "HTTP/1", "zeros"],
)
def test_what_is_no_grpc_is_never_connected(pod: Bench, program: str) -> None:
    end = f'failed to connect service "{ADDRESS}:5000" within 0.5s: context deadline exceeded'
    is_refused(pod, program, asked(timeout=0.5), f"Readiness probe failed: timeout: {end}")


def client() -> str:
    """The status, in /proc, of a client that has dropped its rights; "" without one."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words, status = (process / "cmdline").read_text(), (process / "status").read_text()
            if grpc_client.__file__ in words and ADDRESS in words and "\nUid:\t65534\t65534\t65534\t" in status:
                return status
    return ""


def test_a_client_keeps_no_rights(pod: Bench) -> None:
    """It is nobody while it waits for an answer, and ends when its time is over."""
    mute = "import socket, time; s = socket.create_server(('', 5000)); time.sleep(1000)"
    check = asked(timeout=2, period=1000)
    pod.agents.run([Add(pod.workload("pod", "app", "python3", "-c", mute, port=5000, readiness=check))])
    until(client)
    status = client()
    assert "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n" in status
    assert "Groups:\t \n" in status
    until(lambda: not client())
    until(lambda: message(pod).endswith("within 2s: context deadline exceeded"))


def test_a_python_without_h2_says_so(bench: Bench) -> None:
    bench.node()
    command = sys.executable, "-IS", grpc_client.__file__, ADDRESS, "5000", "1"
    assert bench.exec("node1", "node", *command) == (grpc_client.COULD_NOT_ASK, grpc_client.MISSING)
