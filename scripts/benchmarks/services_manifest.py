"""The input of kube-proxy's benchmarks: many Services, each with an EndpointSlice of two endpoints."""

from __future__ import annotations

from ipaddress import IPv4Address

_SERVICES, _PODS = IPv4Address("10.96.1.0"), IPv4Address("20.96.0.0")
"""The first cluster IP, and the address before the first endpoint; each counts upwards."""

_PAIR = """\
---
apiVersion: v1
kind: Service
metadata:
  name: svc-{number}
  namespace: default
spec:
  type: ClusterIP
  clusterIP: {ip}
  ports:
  - name: http
    port: 80
    targetPort: 8080
    protocol: TCP
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata:
  name: svc-{number}-1
  namespace: default
  labels:
    kubernetes.io/service-name: svc-{number}
endpoints:
- addresses:
  - {first}
  conditions:
    ready: true
  nodeName: node0
- addresses:
  - {second}
  conditions:
    ready: true
  nodeName: node1
ports:
- name: http
  port: 8080
  protocol: TCP
"""


def manifest(n: int) -> str:
    """`n` Services with one port, and as many EndpointSlices; every address occurs once."""
    return "".join(
        _PAIR.format(number=i, ip=_SERVICES + i, first=_PODS + 2 * i + 1, second=_PODS + 2 * i + 2) for i in range(n)
    )
