"""The labs to measure, under unique names, so that other labs on this machine stay as they are."""

from __future__ import annotations

from pathlib import Path

SMALL = Path(__file__).parents[2] / "labs" / "calico-two-node" / "lab.yaml"

_HEAD = """\
apiVersion: nslab/v1
kind: Lab
metadata: {{name: {name}}}
spec:
  networks: {{nodes: 192.168.59.0/24, pods: 20.96.0.0/12, services: 10.96.0.0/12}}
  cni: {{plugin: calico, encapsulation: IPIP}}
  proxy: {{mode: none}}
  nodes:
"""
_NODE = "  - {{name: node{number}, address: 192.168.59.{host}, podCIDR: 20.96.{number}.0/26}}\n"
_POD = """\
---
apiVersion: v1
kind: Pod
metadata: {{name: pod-{number}}}
spec: {{nodeName: node{node}, containers: [{{name: app, image: agnhost, args: [netexec]}}]}}
"""


def small(name: str) -> str:
    """calico-two-node under another name."""
    return SMALL.read_text().replace("metadata: {name: calico-two-node}", f"metadata: {{name: {name}}}", 1)


def large(name: str, nodes: int = 20, pods: int = 1000) -> str:
    """A lab with `pods` pods on `nodes` nodes."""
    return (
        _HEAD.format(name=name)
        + "".join(_NODE.format(number=number, host=number + 10) for number in range(nodes))
        + "".join(_POD.format(number=number, node=number % nodes) for number in range(pods))
    )
