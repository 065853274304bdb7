"""What runs in pods: what the kubelet and the container runtime are told of a container."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nslab.compiler.pods import workload
from nslab.lab.load import parse
from nslab.lab.types import Container, ContainerPort, Pod, Protocol
from nslab.runtime.health_check import HealthCheck

if TYPE_CHECKING:
    from nslab.objects.container import Workload

LAB = parse(
    "{apiVersion: nslab/v1, kind: Lab, metadata: {name: small}, spec: {nodes: [{name: n1}, {name: n2}]}}", "small"
)
WEB = ContainerPort(8080, name="web")


def made(container: Container) -> Workload:
    return workload(LAB, Pod("a", "n1", (container,)), container)


@pytest.mark.parametrize("port", ["web", 8080])
def test_a_probes_port_is_a_number_or_a_name_of_the_containers_own(port: int | str) -> None:
    asked = HealthCheck("httpGet", port)
    runs = made(Container("app", ports=(WEB,), readiness=asked, liveness=asked))
    assert runs.readiness == runs.liveness
    assert runs.liveness
    assert runs.liveness.port == 8080


def test_whom_the_kubelet_cannot_ask_is_never_ready_but_not_killed() -> None:
    asked = HealthCheck("httpGet", "elsewhere")
    runs = made(Container("app", ports=(WEB,), readiness=asked, liveness=asked))
    assert runs.readiness
    assert (runs.readiness.port, runs.liveness) == (0, None)
    assert runs.port == 8080


@pytest.mark.parametrize(
    ("container", "port"),
    [
        (Container("app"), 0),
        (Container("app", ports=(ContainerPort(53, Protocol.UDP), WEB)), 8080),
        (Container("app", readiness=HealthCheck("tcpSocket", 9000), liveness=HealthCheck("tcpSocket", 9001)), 9000),
        (Container("app", liveness=HealthCheck("tcpSocket", 9001)), 9001),
        (Container("app", ports=(WEB,), readiness=HealthCheck("tcpSocket", 9000)), 8080),
    ],
)
def test_where_it_must_answer_before_it_counts_as_ready(container: Container, port: int) -> None:
    assert made(container).port == port


def test_its_command_or_else_its_image() -> None:
    assert made(Container("app", image="agnhost", args=("netexec",))).argv == ("agnhost", "netexec")
    assert made(Container("app", image="agnhost", command=("sh", "-c"), args=("true",))).argv == ("sh", "-c", "true")
