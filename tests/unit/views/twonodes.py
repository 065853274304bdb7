"""A lab of two nodes, without anything in it."""

from __future__ import annotations

TWO_NODES = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: l}
spec:
  networks: {nodes: 192.168.59.0/24, pods: 20.96.0.0/12, services: 10.96.0.0/12}
  nodes: [{name: n1}, {name: n2}]
---
"""
