"""What a Service's spec comes to, where several fields say it together."""

from __future__ import annotations

from typing import Any


def cluster_ip(spec: dict[str, Any]) -> str:
    """The cluster IP that it asks for, None, or ""."""
    return spec.get("clusterIP") or "".join(spec.get("clusterIPs", ())[:1])


def headless(spec: dict[str, Any]) -> bool:
    """Whether it has no address of its own, and DNS names its pods instead."""
    return "None" in (spec.get("clusterIP"), *spec.get("clusterIPs", ())[:1])


def external(spec: dict[str, Any]) -> bool:
    """Whether it can be reached from outside the cluster."""
    kind = spec["type"]
    return kind in ("NodePort", "LoadBalancer") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def needs_health_check(spec: dict[str, Any]) -> bool:
    """Whether a load balancer has to ask each node for endpoints."""
    return spec["type"] == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
