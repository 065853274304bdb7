"""As much of an API server as a real kube-proxy asks for: Services, EndpointSlices, Endpoints, one Node; listed once.

`python api_server.py PORT NODE ADDRESS < OBJECTS.json`: objects as `resolve` tells them (nslab.proxy.model's JSON).
"""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def service(shown: dict[str, Any]) -> dict[str, Any]:
    """A Service document."""
    ports = [
        {"name": p["name"], "port": p["port"], "protocol": p.get("protocol", "TCP"), "nodePort": p.get("node_port", 0)}
        for p in shown.get("ports", ())
    ]
    spec = {
        "clusterIP": shown.get("cluster_ip") or "None",
        "type": shown.get("type", "ClusterIP"),
        "ports": ports,
        "externalIPs": shown.get("external_ips", []),
        "loadBalancerSourceRanges": shown.get("source_ranges", []),
        "externalTrafficPolicy": "Local" if shown.get("external_local") else "Cluster",
        "healthCheckNodePort": shown.get("health_check_node_port", 0),
        "sessionAffinity": "ClientIP" if shown.get("affinity") else "None",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": shown.get("affinity", 10800)}},
    }
    ingress = [{"ip": ip} for ip in shown.get("load_balancer_ips", ())]
    metadata = _metadata(shown["namespace"], shown["name"])
    return {"metadata": metadata, "spec": spec, "status": {"loadBalancer": {"ingress": ingress}}}


def endpoints(shown: dict[str, Any]) -> dict[str, Any]:
    """An Endpoints document, which userspace mode reads: a subset for each port."""
    subsets = [
        {
            "addresses": [{"ip": end["ip"]} for end in ready],
            "ports": [{"name": port["name"], "port": ready[0]["port"], "protocol": port.get("protocol", "TCP")}],
        }
        for port in shown.get("ports", ())
        if (ready := [end for end in port.get("endpoints", ()) if end.get("ready", True)])
    ]
    return {"metadata": _metadata(shown["namespace"], shown["name"]), "subsets": subsets}


def slices(shown: dict[str, Any]) -> list[dict[str, Any]]:
    """An EndpointSlice for each port of a Service."""
    return [
        {
            "metadata": {
                **_metadata(shown["namespace"], f"{shown['name']}-{number}"),
                "labels": {"kubernetes.io/service-name": shown["name"]},
            },
            "addressType": "IPv4",
            "endpoints": [
                {
                    "addresses": [end["ip"]],
                    "conditions": {"ready": end.get("ready", True)},
                    "topology": {"kubernetes.io/hostname": end.get("node", "")},
                }
                for end in port.get("endpoints", ())
            ],
            "ports": [{"name": port["name"], "port": end["port"], "protocol": port.get("protocol", "TCP")}],
        }
        for number, port in enumerate(shown.get("ports", ()))
        for end in port.get("endpoints", ())[:1]
    ]


def _metadata(namespace: str, name: str) -> dict[str, Any]:
    return {"namespace": namespace, "name": name, "resourceVersion": "1", "uid": f"{namespace}-{name}"}


def serve(port: int, node: str, address: str, shown: list[dict[str, Any]]) -> None:
    """Answer on the loopback until somebody ends this process."""
    lists = {
        "/api/v1/services": ("ServiceList", "v1", [service(one) for one in shown]),
        "/api/v1/endpoints": ("EndpointsList", "v1", [endpoints(one) for one in shown]),
        "/apis/discovery.k8s.io/v1beta1/endpointslices": (
            "EndpointSliceList",
            "discovery.k8s.io/v1beta1",
            [slice_ for one in shown for slice_ in slices(one)],
        ),
    }
    status = {"addresses": [{"type": "InternalIP", "address": address}]}
    nodes = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": node}, "status": status}
    forever = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        """One request."""

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            if path == f"/api/v1/nodes/{node}":
                self._say(nodes)
            elif "watch=true" in query:
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                forever.wait()  # nothing ever changes
            elif path in lists:
                kind, version, items = lists[path]
                self._say({"kind": kind, "apiVersion": version, "metadata": {"resourceVersion": "1"}, "items": items})
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            self.send_error(404)

        def _say(self, what: dict[str, Any]) -> None:
            text = json.dumps(what).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2], sys.argv[3], json.load(sys.stdin))
