"""The greatest values that an object may have are taken; one more is refused."""

from __future__ import annotations

import pytest

from nslab.admission.load import parse
from nslab.errors import LabFileError
from tests.unit.lab.test_rollout import LAB, text

SERVICE = (
    "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {type: LoadBalancer, externalTrafficPolicy: Local, "
)
POLICY = (
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\n"
    "spec: {podSelector: {}, ingress: [{ports: [{port: 80, endPort: "
)


def healthy(port: int) -> str:
    """A Service with such a port for its health check."""
    return f"{SERVICE}healthCheckNodePort: {port}, ports: [{{port: 80}}]}}\n"


def named(length: int) -> str:
    """A Service with a port whose name is so long."""
    return f"{SERVICE}ports: [{{name: {'a' * length}, port: 80}}]}}\n"


def ranged(end: int) -> str:
    """A policy with a range of ports from 80 on."""
    return f"{POLICY}{end}}}]}}]}}\n"


def unavailable(percent: int) -> str:
    """A Deployment of whose pods so many may be unavailable."""
    return text("Deployment", "one", f"strategy: {{rollingUpdate: {{maxUnavailable: {percent}%}}}}")


@pytest.mark.parametrize(
    ("allowed", "refused", "words"),
    [
        (healthy(32767), healthy(65535), "failed to allocate requested HealthCheck NodePort 65535: provided port is"),
        (named(63), named(64), "must be no more than 63 characters"),
        (named(63), named(63).replace("aaa,", "aa-,"), "a lowercase RFC 1123 label must consist of"),
        (ranged(80), ranged(79), "endPort: Invalid value: 79: must be greater than or equal to `port`"),
        (unavailable(100), unavailable(101), "must not be greater than 100%"),
    ],
)
def test_a_limit(allowed: str, refused: str, words: str) -> None:
    parse(LAB + allowed, "x")
    with pytest.raises(LabFileError) as caught:
        parse(LAB + refused, "x")
    assert words in str(caught.value)
