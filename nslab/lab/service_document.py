"""Properties of a Service's spec that depend on several fields."""

from __future__ import annotations

from typing import Any


def cluster_ip(spec: dict[str, Any]) -> str:
    """The requested cluster IP, the word None, or ""."""
    return spec.get("clusterIP") or "".join(spec.get("clusterIPs", ())[:1])


def headless(spec: dict[str, Any]) -> bool:
    """Whether it is headless: without a cluster IP; DNS returns its pods' addresses."""
    return "None" in (spec.get("clusterIP"), *spec.get("clusterIPs", ())[:1])


def external(spec: dict[str, Any]) -> bool:
    """Whether it is reachable from outside the cluster."""
    kind = spec["type"]
    return kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def needs_health_check(spec: dict[str, Any]) -> bool:
    """Whether a load balancer must check each node for endpoints."""
    return spec["type"] == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
