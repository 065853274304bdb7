"""Hostile words to every HTTP server and client of a lab: each goes on, and what cannot be read is said to be so."""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING

from nslab.linux.netns import Namespaces
from tests.kernel.labkit import pids

if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.pytest_plugin.running import RunningLab

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: words}
spec:
  networks: {nodes: 192.168.59.0/24, pods: 20.96.0.0/12, services: 10.96.0.0/12}
  cni: {plugin: calico, encapsulation: None}
  proxy: {mode: iptables}
  nodes:
  - {name: node1, address: 192.168.59.22, podCIDR: 20.111.156.0/24}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - {name: app, image: registry.k8s.io/e2e-test-images/agnhost:2.53, args: [netexec], ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  healthCheckNodePort: 32100
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
"""
ANSWERING = """\
---
apiVersion: v1
kind: Pod
metadata: {name: liar-%d}
spec:
  containers:
  - name: app
    ports: [{containerPort: 7000}]
    readinessProbe: {httpGet: {port: 7000}, periodSeconds: 1}
    livenessProbe: {httpGet: {port: 7000}, periodSeconds: 1, failureThreshold: 1000}
    command:
    - python3
    - -c
    - |
      import socket
      server = socket.create_server(("", 7000))
      while True:
          client, _ = server.accept()
          client.recv(4096)
          try:
              client.sendall(%s)
          except OSError:
              pass
          client.close()
"""
HUGE = b"9" * 5000
REQUESTS = (
    b"GET /hostname HTTP/1.1\r\nContent-Length: " + HUGE + b"\r\n\r\n",
    b"GET /hostname HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n",
    b"GET /echo?code=%C2%B2 HTTP/1.1\r\n\r\n",
    b"GET /echo?code=" + HUGE + b" HTTP/1.1\r\n\r\n",
    b"GET /%00%ff%1b[31m HTTP/1.1\r\n\r\n",
    b"\xff" * 70_000,
    b"GET / HTTP/1.1\r\n" * 5000,
    b"\r\n\r\n" * 1000,
    b"GET /hostname HTTP/1.1\r\n\r\n" * 3000,
)
ANSWERS = (
    'b"HTTP/1.1 " + b"9" * 5000 + b" OK\\r\\n\\r\\n"',
    'b"HTTP/1.1 \\xb2 OK\\r\\n\\r\\n"',
    'b"HTTP/1.1 200 OK\\r\\nContent-Length: " + b"9" * 5000 + b"\\r\\n\\r\\n"',
    'b"HTTP/1.1 200 OK\\r\\nContent-Length: \\xb2\\r\\n\\r\\n"',
    'b"\\xff" * 100000',
    'b""',
)


def output(lab: RunningLab, to: tuple[str, int], data: bytes) -> None:
    """Say something from the node, and hear what comes of it."""
    with Namespaces() as spaces:
        spaces.enter(lab.node("node1").netns)
        client = socket.create_connection(to, 5)
        spaces.home()
    client.settimeout(5)
    with client, contextlib.suppress(OSError):  # hung up on
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        while client.recv(1 << 16):
            pass


def test_servers_go_on(make_lab: Callable[..., RunningLab]) -> None:
    lab = make_lab(LAB)
    there = pids(lab.name)
    pod = str(lab.pod("web").address)
    lab.wait(lambda: json.loads(lab.sh("node1", "curl -s http://192.168.59.22:32100/"))["localEndpoints"] == 1)
    for request in REQUESTS:
        output(lab, (pod, 8080), request)
        output(lab, ("192.168.59.22", 32100), request)
    assert lab.sh("node1", f"curl -sf http://{pod}:8080/hostname") == "web"
    assert json.loads(lab.sh("node1", "curl -s http://192.168.59.22:32100/"))["localEndpoints"] == 1
    assert pids(lab.name) == there


def test_a_node_goes_on_whatever_its_probes_are_answered(make_lab: Callable[..., RunningLab]) -> None:
    lab = make_lab(LAB)
    there = pids(lab.name)
    with contextlib.suppress(AssertionError):  # that they are not ready
        lab.apply("".join(ANSWERING % liar for liar in enumerate(ANSWERS)))
    liars = {f"liar-{number} container/app" for number in range(len(ANSWERS))}
    lab.wait(lambda: liars <= {*pids(lab.name)})
    assert there.items() <= pids(lab.name).items()
    assert lab.diff() == []
