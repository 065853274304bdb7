"""Properties of a Service's spec that depend on several fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

OTHER_PROXY = ("service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless")
"""Labels, of whatever value, of Services and EndpointSlices that a kube-proxy does not watch."""


def cluster_ip(spec: dict[str, Any]) -> str:
    """The requested cluster IP, the word None, or ""."""
    return spec.get("clusterIP") or "".join(spec.get("clusterIPs", ())[:1])


def headless(spec: dict[str, Any]) -> bool:
    """Whether it is headless: without a cluster IP; DNS returns its pods' addresses."""
    return "None" in (spec.get("clusterIP"), *spec.get("clusterIPs", ())[:1])


def for_other_proxy(labels: Iterable[str]) -> bool:
    """Whether an object with these labels is another proxy's business."""
    return not {*OTHER_PROXY}.isdisjoint(labels)


def external(spec: dict[str, Any]) -> bool:
    """Whether it is reachable from outside the cluster."""
    kind = spec["type"]
    return kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def is_vip(ingress: dict[str, Any]) -> bool:
    """Whether a kube-proxy of IPv4 is to catch what is for a load balancer's address.

    ipMode: Proxy says that the load balancer sends to node ports or to pods, with their addresses as destination.
    """
    ip = ingress.get("ip", "")
    return bool(ip) and ":" not in ip and ingress.get("ipMode", "VIP") == "VIP"


def needs_health_check(spec: dict[str, Any]) -> bool:
    """Whether a load balancer must check each node for endpoints."""
    return spec["type"] == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
