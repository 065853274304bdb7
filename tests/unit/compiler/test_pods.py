"""What runs in pods: what the kubelet and the container runtime are told of a container."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pytest

from nslab.admission.load import parse
from nslab.api.pod_types import Container, ContainerPort, Pod, Protocol, SecurityContext, StandIn
from nslab.compiler.pods import pods, workload
from nslab.dataclass import replace
from nslab.objects.sysctl import Sysctl
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


@pytest.mark.parametrize(
    ("container", "settings"),
    [
        (Container("app", ports=(ContainerPort(80),)), []),
        (Container("app", ports=(ContainerPort(80),), security=SecurityContext(user=1000)), ["0"]),
        (Container("app", ports=(ContainerPort(80),), security=SecurityContext(drop=("ALL",))), ["0"]),
        (Container("app", standin=StandIn((ContainerPort(443),)), security=SecurityContext(user=1000)), ["0"]),
        (Container("app", ports=(WEB,), security=SecurityContext(user=1000)), []),
    ],
)
def test_who_may_not_bind_a_low_port_may_where_its_pod_needs_it(container: Container, settings: list[str]) -> None:
    lab = replace(LAB, pods=(Pod("a", "n1", (container,), assigned=IPv4Address("10.244.0.9")),))
    made = [obj.value for obj in pods(lab) if isinstance(obj, Sysctl)]
    assert made == settings
