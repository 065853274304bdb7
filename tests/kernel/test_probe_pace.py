"""The prober in front of servers that serve few clients at once: a healthy lab is right, however large it is."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.kernel.labkit import nslab

if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.pytest_plugin.running import RunningLab

pytestmark = pytest.mark.root

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: crowd}
spec:
  networks: {nodes: 192.168.59.0/24, pods: 20.96.0.0/12, services: 10.96.0.0/12}
  cni: {plugin: calico, encapsulation: None}
  proxy: {mode: iptables}
  nodes:
  - {name: node1, address: 192.168.59.22, podCIDR: 20.111.156.0/24}
  - {name: node2, address: 192.168.59.23, podCIDR: 20.109.131.0/24}
"""
DNS = "  dns: {address: 10.96.0.10}\n"
CROWD = """\
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: crowd}
spec:
  replicas: %d
  selector: {matchLabels: {app: crowd}}
  template:
    metadata: {labels: {app: crowd}}
    spec:
      containers:
      - name: app
        image: registry.k8s.io/e2e-test-images/agnhost:2.53
        args: [netexec]
        ports: [{containerPort: 8080}]
"""
ONE_AT_A_TIME = """\
---
apiVersion: v1
kind: Pod
metadata: {name: slow, labels: {app: slow}}
spec:
  containers:
  - name: app
    ports: [{containerPort: 7000}]
    command:
    - python3
    - -c
    - |
      import socket, time
      server = socket.create_server(("", 7000), backlog=0)
      while True:
          client, _ = server.accept()
          time.sleep(0.02)
          client.recv(1)
          client.close()
---
apiVersion: v1
kind: Service
metadata: {name: slow}
spec: {selector: {app: slow}, ports: [{port: 7000}]}
"""
EMPTY = """\
---
apiVersion: v1
kind: Service
metadata: {name: empty-%d}
spec: {selector: {app: nobody}, ports: [{port: 80}]}
"""
ALL = """\
---
apiVersion: v1
kind: Service
metadata: {name: crowd}
spec: {selector: {app: crowd}, ports: [{port: 8080}]}
"""


def wrong(lab: RunningLab, **options: Any) -> list[dict[str, Any]]:
    """What `nslab probe` holds to be wrong."""
    done = nslab("probe", lab.name, "-o", "json", **options)
    assert done.stderr == ""
    return [answer for answer in json.loads(done.stdout) if answer["wrong"]]


@pytest.mark.parametrize("pods", [30, 70], ids=["each pair", "a sample"])
def test_dnsmasq_which_serves_twenty_is_not_called_silent(make_lab: Callable[..., RunningLab], pods: int) -> None:
    lab = make_lab(LAB + DNS + CROWD % pods)
    for _ in range(2):
        assert wrong(lab) == []


def test_who_serves_one_at_a_time_is_not_called_silent(make_lab: Callable[..., RunningLab]) -> None:
    slower = {**os.environ, "NSLAB_TIMEOUT_FACTOR": "4"}  # beside other tests it takes more than its 20 ms a client
    assert wrong(make_lab(LAB + CROWD % 16 + ONE_AT_A_TIME), env=slower) == []


def test_refusals_of_which_the_kernel_sends_one_a_second_are_awaited(make_lab: Callable[..., RunningLab]) -> None:
    lab = make_lab(LAB + CROWD % 2 + "".join(EMPTY % number for number in range(14)))
    assert wrong(lab) == []


def test_a_server_that_is_silent_is_called_so(make_lab: Callable[..., RunningLab]) -> None:
    lab = make_lab(LAB + CROWD % 16 + ONE_AT_A_TIME)
    lab.sh("slow", "iptables -A INPUT -p tcp --dport 7000 -j DROP")
    found = wrong(lab)
    assert {answer["wrong"] for answer in found} == {"timed out"}
    assert {answer.get("kind", "Service") for answer in found} == {"tcp", "Service"}
    assert len(found) == 19 + 19  # pods, nodes; the pod itself by its loopback, and through its Service


def test_one_silent_endpoint_of_two_is_seen(make_lab: Callable[..., RunningLab]) -> None:
    lab = make_lab(LAB + CROWD % 2 + ALL)
    silent = lab.pods(app="crowd")[0]
    # Through the Service alone: whoever asks the pod itself is answered.
    for node in ("node1", "node2"):
        lab.sh(node, f"iptables -I FORWARD -d {silent.address} -m conntrack --ctstate DNAT -j DROP")
    assert {answer["service"] for answer in wrong(lab)} == {"default/crowd"}
