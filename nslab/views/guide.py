"""A lab's guide: a Markdown template that is filled with the lab's values, so that text and lab agree.

Templates are jinja2's; `placeholders` defines their names. An undefined name is an error. The filter `particle` adds
the Korean particle that follows a value: {{ b.address | particle("이", "가") }}. A guide's number and its successor
are the course's.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from nslab.compiler.addresses import address_of, bridge_address, pod_mac
from nslab.compiler.subnets import gateway
from nslab.dataclass import dataclass
from nslab.errors import UsageError
from nslab.korean import particle
from nslab.lab.course import course
from nslab.objects import names
from nslab.proxy.names import endpoint_hash, nft_name, port_hash

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address, IPv4Network
    from pathlib import Path

    from nslab.api.pod_types import Pod
    from nslab.api.service_types import Service
    from nslab.lab.course import Chapter
    from nslab.lab.types import Lab, Node


NEXT = {
    "en": "Next: {0.number}. {0.title}, `nslab show {0.lab} --guide`.",
    "ko": "다음: {0.number}. {0.title}, `nslab show {0.lab} --guide --lang ko`.",
}
LAST = {
    "en": "This was the last guide of the course. `nslab labs` lists them all.",
    "ko": "마지막 가이드입니다. 전체 목록은 `nslab labs`로 볼 수 있습니다.",
}


@dataclass(frozen=True, slots=True)
class Page:
    """A guide's context: the course, the name of its lab, its language."""

    course: tuple[Chapter, ...] = ()
    lab: str = ""
    language: str = "en"

    def number(self, lab: str) -> int:
        """The number of a lab's guide; 0 of one that is not in the course."""
        return next((chapter.number for chapter in self.course if chapter.lab == lab), 0)

    def closing(self) -> str:
        """A guide's last line, with the next guide. Empty outside the course."""
        number = self.number(self.lab)
        following = self.course[number : number + 1] if number else ()
        return f"\n{(NEXT if following else LAST)[self.language].format(*following)}\n" if number else ""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod's values for guides."""

    name: str
    address: IPv4Address
    node: str
    mac: str


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node. `tunnel`: the address of its tunnel device with any encapsulation; `bridge`: that of kubenet's bridge."""

    name: str
    address: IPv4Address
    pod_cidr: IPv4Network
    tunnel: IPv4Address
    bridge: IPv4Address


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """A Service. `ports` and `node_ports` are keyed by the port's name ("" if it has none)."""

    name: str
    address: IPv4Address | None
    ports: Mapping[str, int]
    node_ports: Mapping[str, int]
    outside: tuple[IPv4Address, ...]


@dataclass(frozen=True, slots=True)
class LabFacts:
    """The lab. Objects of the namespace `default` are keyed by name, others by NAMESPACE/NAME."""

    name: str
    gateway: IPv4Address
    dns: IPv4Address | None
    networks: Mapping[str, IPv4Network]
    subnets: tuple[IPv4Network, ...]
    routers: Mapping[str, tuple[IPv4Address, ...]]
    pods: Mapping[str, PodFacts]
    nodes: Mapping[str, NodeFacts]
    clients: Mapping[str, IPv4Address]
    services: Mapping[str, ServiceFacts]
    replicas: Mapping[str, tuple[PodFacts, ...]]


def placeholders(lab: Lab, page: Page) -> dict[str, Any]:
    """The names that a guide may use; `n` is its own number. The pods have addresses."""

    def cali(pod: str) -> str:
        """The node's end of a pod's veth, with Calico."""
        return names.cali(*_split(pod))

    def veth(pod: str) -> str:
        """The node's end of a pod's veth, with kubenet."""
        return names.kubenet_veth(*_split(pod))

    def ns(host: str) -> str:
        """The network namespace of a node, a client or a pod."""
        return names.netns(lab.name, host)

    def chain(port: str, kind: str = "SVC", protocol: str = "tcp") -> str:
        """kube-proxy's chain of a Service's port (NAMESPACE/NAME:PORT): SVC, SVL, EXT or FW."""
        return f"KUBE-{kind}-{port_hash(port, protocol)}"

    def endpoint(port: str, address: str, protocol: str = "tcp") -> str:
        """kube-proxy's chain of one endpoint (IP:PORT) of a Service's port."""
        return f"KUBE-SEP-{endpoint_hash(port, protocol, address)}"

    def guide(name: str) -> int:
        """The number of another lab's guide."""
        if page.course and not page.number(name):
            raise UsageError(f"the course has no guide for {name}")
        return page.number(name)

    functions = (cali, veth, ns, chain, endpoint, guide, nft_name, names.vtep_mac)
    return {"lab": _facts(lab), "n": page.number(page.lab), **{function.__name__: function for function in functions}}


def read(template: Path, lab: Lab, language: str) -> str:
    """A guide in a language, filled in from the lab; its template is in the lab's folder."""
    page = Page(course(language), template.resolve().parent.name, language)
    return render(template.read_text(encoding="utf-8"), lab, str(template), page)


def number_of(template: Path) -> int:
    """The number of the guide of a template, by its lab's folder; 0 outside the course."""
    return Page(course()).number(template.resolve().parent.name)


def step(guide: str, number: str, wanted: str) -> str:
    """One step of a filled-in guide, by its number: `6.3`, or `3`. `number` is the guide's own.

    UsageError lists the steps that there are.
    """
    parts = re.split(r"^(?=## )", guide, flags=re.MULTILINE)
    steps = {found[1]: part for part in parts if (found := re.match(r"## (\d+\.\d+)\b", part))}
    part = steps.get(wanted) or steps.get(f"{number}.{wanted}")
    if part is None:
        raise UsageError(f"the guide has no step {wanted!r}; it has {', '.join(steps)}")
    return part


def render(text: str, lab: Lab, file: str = "the guide", page: Page | None = None) -> str:
    """The filled-in guide with its closing line. Raises UsageError with the line of an undefined name."""
    # Imported here: most commands need no template.
    from jinja2 import Environment, StrictUndefined, TemplateError

    # The output is for a terminal, so nothing is escaped for HTML.
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)  # noqa: S701
    environment.filters["particle"] = particle
    page = page or Page()
    try:
        return environment.from_string(text).render(placeholders(lab, page)) + page.closing()
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        raise UsageError(f"{file}{f':{line}' if line else ''}: {error.message}") from error


def _named(owner: str) -> str:
    """A controller's name in guides: NAME, or NAMESPACE/NAME."""
    return owner.partition("/")[2].removeprefix("default/")


def _facts(lab: Lab) -> LabFacts:
    pods = {_key(pod): _pod(lab, pod) for pod in lab.pods}
    owners = {pod.owner for pod in lab.pods if pod.owner}
    replicas = {
        owner.partition("/")[2].removeprefix("default/"): tuple(
            pods[_key(pod)] for pod in lab.pods if pod.owner == owner
        )
        for owner in sorted(owners)
    }
    return LabFacts(
        name=lab.name,
        gateway=gateway(lab),
        dns=lab.dns_address,
        networks={"nodes": lab.networks.nodes[0], "pods": lab.networks.pods, "services": lab.networks.services},
        subnets=lab.networks.nodes,
        routers={router.name: router.addresses for router in lab.routers},
        pods=pods,
        nodes={node.name: _node(node) for node in lab.nodes},
        clients={client.name: client.address for client in lab.clients},
        services={_key(service): _service(service) for service in lab.services},
        replicas=replicas,
    )


def _pod(lab: Lab, pod: Pod) -> PodFacts:
    return PodFacts(pod.name, address_of(pod), pod.node, pod_mac(lab, pod))


def _node(node: Node) -> NodeFacts:
    return NodeFacts(node.name, node.address, node.pod_cidr, node.pod_cidr.network_address, bridge_address(node))


def _service(service: Service) -> ServiceFacts:
    return ServiceFacts(
        service.name,
        service.cluster_ip,
        {port.name: port.port for port in service.ports},
        {port.name: port.node_port for port in service.ports},
        (*service.load_balancer_ips, *service.external_ips),
    )


def _key(obj: Pod | Service) -> str:
    return obj.name if obj.namespace == "default" else f"{obj.namespace}/{obj.name}"


def _split(pod: str) -> tuple[str, str]:
    namespace, slash, name = pod.rpartition("/")
    return (namespace if slash else "default"), name
