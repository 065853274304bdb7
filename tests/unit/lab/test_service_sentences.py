"""What can be wrong with Services and what belongs to them, and the sentence that says so, the API server's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab.admission.load import parse_with_warnings
from nslab.errors import LabFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: a-lab}
spec:
  networks: {nodes: 192.168.59.0/24, pods: 20.96.0.0/12, services: 10.96.0.0/12}
  cni: {plugin: calico, encapsulation: IPIP}
  dns: {address: 10.96.0.10}
  nodes:
  - {name: node1, podCIDR: 20.96.0.0/26}
---
apiVersion: v1
kind: Pod
metadata: {name: pod-b, labels: {app: web}}
spec: {containers: [{name: app, image: agnhost, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
metadata: {name: svc-b}
kind: Service
spec: {type: NodePort, clusterIP: 10.103.9.116,
  selector: {app: web},
  ports: [{port: 8080, targetPort: 8080, nodePort: 31080}]}
---
apiVersion: v1
metadata: {name: svc-c}
kind: Service
spec: {type: LoadBalancer, ports: [{port: 80, nodePort: 31081, name: a}],
  healthCheckNodePort: 31082, externalTrafficPolicy: Local}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: svc-d-1, labels: {kubernetes.io/service-name: svc-d}}
endpoints:
- addresses: [20.96.0.9]
  hints: {forZones: [{name: z1}]}
ports: [{port: 53, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: svc-d}
spec: {ports: [{port: 53, protocol: UDP}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      restartPolicy: Always
      containers:
      - {name: app, image: agnhost, ports: [{name: http, containerPort: 8080}],
         readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}}
"""


def output(text: str) -> list[str]:
    """The problems and warnings of a text."""
    try:
        _, warnings = parse_with_warnings(text, "lab.yaml")
    except LabFileError as error:
        return [str(problem).removeprefix("lab.yaml:") for problem in error.errors]
    return [f"{warning.position.line}:{warning.position.column}: warning: {warning.sentence}" for warning in warnings]


def transcripts() -> Iterator[tuple[str, list[str]]]:
    """The changes of service_sentences.txt, each with its problems."""
    for block in (Path(__file__).parent / "service_sentences.txt").read_text().split("\n\n")[1:]:
        if not block.startswith("=="):
            change, *problems = block.strip().split("\n    ")
            yield change, problems


@pytest.mark.parametrize(("change", "problems"), [*transcripts()])
def test_transcript(change: str, problems: list[str]) -> None:
    old, new = change.replace("\\n", "\n").split(" -> ")
    assert old in GOOD
    assert output(GOOD.replace(old, new, 1)) == problems


def test_the_good_lab_is_good() -> None:
    assert output(GOOD) == []
