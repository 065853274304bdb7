"""Pictures for the tests: of shipped labs, and of names that mean something elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.admission.load import load, parse
from nslab.app.graph import pictured
from nslab.compiler.placement import assign_addresses
from nslab.lab.find import find
from nslab.trace.wiring import NetworkInterface
from nslab.views.graph.model import Box, Difference, Graph, Role, ServiceLine

if TYPE_CHECKING:
    from nslab.app.graph import Pictured
    from nslab.lab.types import Lab

HOSTILE = "\"]</title></script><script>alert(1)</script>;} end %% #quot; \\N --> \x1b[2J\u202e\udcff\n<!-- & '"
SWITCH, NODE, POD = (f"{HOSTILE}{number}" for number in range(3))
FIFTY = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: fifty}
spec:
  cni: {plugin: calico, encapsulation: VXLAN}
  nodes: [{name: n1}, {name: n2}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 50
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: agnhost}]}
"""


def lab(name: str) -> Lab:
    """A shipped lab, placed."""
    return assign_addresses(load(find(name)))


def shipped(name: str) -> Pictured:
    """The picture of a shipped lab."""
    return pictured(lab(name))


def fifty(nodes: int = 2) -> Pictured:
    """A lab with 50 pods."""
    names = ", ".join(f"{{name: n{number}}}" for number in range(1, nodes + 1))
    text = FIFTY.replace("{name: n1}, {name: n2}", names)
    return pictured(assign_addresses(parse(text, "fifty.yaml")))


def hostile() -> Graph:
    """A picture in which every text is hostile, and in which everything differs."""
    port, wire = NetworkInterface(HOSTILE, "veth", bridge="br0"), NetworkInterface("br0", "bridge", (HOSTILE,))
    near = NetworkInterface("near", "veth", (HOSTILE,), 1500)
    tunnel = NetworkInterface(f"{HOSTILE}t", "ipip", (HOSTILE,) * 5)
    boxes = (
        Box(SWITCH, HOSTILE, Role.SWITCH, (wire, port)),
        Box(NODE, HOSTILE, Role.NODE, (NetworkInterface(HOSTILE, "veth", (HOSTILE,)), near, tunnel)),
        Box(POD, HOSTILE, Role.POD, (NetworkInterface(HOSTILE, "veth", (HOSTILE,)),), NODE),
    )
    cables = (((SWITCH, HOSTILE), (NODE, HOSTILE)), ((NODE, "near"), (POD, HOSTILE)))
    findings = tuple(Difference(host, dev, HOSTILE) for host in (SWITCH, NODE, POD) for dev in ("", HOSTILE, "near"))
    services = (ServiceLine(HOSTILE, HOSTILE, HOSTILE),)
    return Graph(HOSTILE, HOSTILE, "iptables", boxes, cables, services, findings)
