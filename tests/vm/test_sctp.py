"""Services of protocol SCTP: this kernel has it, so packets go through each mode's rules."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from nslab.pytest_plugin.running import RunningLab

TEXT = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: signal}
spec:
  networks: {nodes: 192.168.59.0/24, pods: 20.96.0.0/12, services: 10.96.0.0/12}
  cni: {plugin: calico, encapsulation: IPIP}
  proxy: {mode: iptables}
  nodes:
  - {name: node1, address: 192.168.59.22, podCIDR: 20.111.156.0/26}
  - {name: node2, address: 192.168.59.23, podCIDR: 20.109.131.0/26}
  clients:
  - {name: client, address: 192.168.59.10}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cell}
spec:
  replicas: 2
  selector: {matchLabels: {app: cell}}
  template:
    metadata: {labels: {app: cell}}
    spec:
      containers:
      - name: app
        image: registry.k8s.io/e2e-test-images/agnhost:2.53
        args: [netexec, --http-port=8080, --sctp-port=8082]
        ports: [{containerPort: 8080}, {containerPort: 8082, protocol: SCTP}]
---
apiVersion: v1
kind: Service
metadata: {name: cell}
spec:
  type: NodePort
  clusterIP: 10.103.9.116
  selector: {app: cell}
  ports: [{port: 90, targetPort: 8082, protocol: SCTP, nodePort: 31082}]
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec:
  clusterIP: 10.103.9.117
  ports: [{port: 90, protocol: SCTP}]
"""
CLIENT = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_SCTP) as talk:
    talk.settimeout(10)
    talk.connect(("192.168.59.22", 31082))
    talk.send(b"echo packets of protocol 132")
    print(talk.recv(100).decode())
"""


pytestmark = pytest.mark.lab(TEXT, scope="module")


@pytest.mark.parametrize("mode", ["iptables", "ipvs"])
def test_everybody_is_served_over_sctp(lab: RunningLab, mode: str) -> None:
    lab.set(proxy_mode=mode)
    sctp = [one for one in lab.probe() if one.get("protocol") == "SCTP" and "reached" in one["outcomes"]]
    assert {("node1", "cluster IP"), ("client", "node port")} <= {(one["from"], one["way"]) for one in sctp}
    assert lab.diff() == []


def test_the_server_says_what_it_hears_and_the_kernel_knows_the_connection(lab: RunningLab) -> None:
    assert lab.client().run(sys.executable, "-c", CLIENT).stdout == "packets of protocol 132\n"
    known = lab.sh("node1", "conntrack -L -p sctp --dst 192.168.59.22")
    assert "dport=31082" in known
    assert "sport=8082" in known, "whose answer is translated back"
