"""The environment of containers, as the kubelet makes it: ConfigMaps, Secrets, the pod's own fields, Services (pure).

All of it is fixed when a container starts; what other objects say later changes nothing in one that runs.
"""

from __future__ import annotations

import heapq
import re
from copy import copy
from typing import TYPE_CHECKING

from nslab.admission.warn_sources import MOST_LINKS
from nslab.api.images import BUSYBOX
from nslab.api.pod_types import image_name
from nslab.api.sources import FIELD, KEYED, SECRET, holds, stored
from nslab.objects.container import Start
from nslab.runtime.mounts import APPLETS, PATH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nslab.api.pod_types import Container, Pod
    from nslab.api.service_types import Service
    from nslab.api.sources import ValueSource, VariablesSource
    from nslab.lab.types import Lab

API_SERVER = ("default", "kubernetes")
"""The Service for which every container has variables, whether it wants those of others or not."""
MASK = "***"
"""What people read in place of a Secret's value."""
_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


class Surroundings:
    """What else of a lab a container's environment is made of; each part gathered once, when first asked for."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._hosts = {node.name: str(node.address) for node in lab.nodes}
        self._stored = stored((one.kind, one.namespace, one.name, one.document) for one in lab.others)
        self._held: dict[tuple[str, str, str], dict[str, bytes]] = {}
        self._links: dict[str, dict[str, str]] = {}
        self._texts: dict[str, str] = {}
        self._services: dict[str, list[Service]] | None = None
        self._masks = False

    def masked(self) -> Surroundings:
        """The same with MASK as each value of a Secret."""
        other = copy(self)
        other._masks = True  # noqa: SLF001 (its own)
        return other

    def held(self, kind: str, namespace: str, name: str) -> dict[str, bytes]:
        """What a ConfigMap or Secret holds; nothing, if there is none."""
        key = kind, namespace, name
        if key not in self._held:
            self._held[key] = holds(kind, self._stored.get(key, {}))
        found = self._held[key]
        return dict.fromkeys(found, MASK.encode()) if self._masks and kind == SECRET else found

    def field(self, pod: Pod, path: str) -> str | None:
        """A field of a pod, by its path; None if it has none of that name."""
        keyed = KEYED.fullmatch(path)
        if keyed:
            return dict(pod.labels if keyed[1] == "labels" else pod.annotations).get(keyed[2], "")
        host, address = self._hosts.get(pod.node, ""), str(pod.assigned or "")
        fields = {
            "metadata.name": pod.name,
            "metadata.namespace": pod.namespace,
            "metadata.uid": pod.uid,
            "spec.nodeName": pod.node,
            "spec.serviceAccountName": pod.service_account,
            **dict.fromkeys(("status.hostIP", "status.hostIPs"), host),
            **dict.fromkeys(("status.podIP", "status.podIPs"), address),
        }
        return fields.get(path)

    def links(self, pod: Pod) -> dict[str, str]:
        """The variables that a pod's containers have of Services."""
        namespace = pod.namespace if pod.service_links else ""
        if namespace not in self._links:
            self._links[namespace] = dict(links(self._linked(namespace)))
        return self._links[namespace]

    def link_text(self, pod: Pod) -> str:
        """The same as one text, as the container's process gets them."""
        namespace = pod.namespace if pod.service_links else ""
        if namespace not in self._texts:
            self._texts[namespace] = "\0".join(f"{name}={value}" for name, value in self.links(pod).items())
        return self._texts[namespace]

    def _linked(self, namespace: str) -> Iterator[tuple[str, str, tuple[tuple[str, int, str], ...]]]:
        """The name, address and ports (name, number, protocol) of the Services of a namespace, and the API server's."""
        if self._services is None:
            self._services = {}
            for one in self._lab.services:
                if one.cluster_ip:
                    self._services.setdefault(one.namespace, []).append(one)
        of_server = [one for one in self._services.get(API_SERVER[0], ()) if one.name == API_SERVER[1]]
        if not of_server:
            yield API_SERVER[1], str(self._lab.networks.services[1]), (("https", 443, "TCP"),)
        others = (one for one in self._services.get(namespace, ()) if (one.namespace, one.name) != API_SERVER)
        for one in (*of_server, *heapq.nsmallest(MOST_LINKS, others, key=lambda service: service.name)):
            yield one.name, str(one.cluster_ip), tuple((p.name, p.port, str(p.protocol)) for p in one.ports)


def links(services: Iterator[tuple[str, str, tuple[tuple[str, int, str], ...]]]) -> Iterator[tuple[str, str]]:
    """The variables of Services: Kubernetes' own, and those that Docker's links had."""
    for name, address, ports in services:
        word = _word(name)
        if not ports:
            continue
        yield f"{word}_SERVICE_HOST", address
        yield f"{word}_SERVICE_PORT", str(ports[0][1])
        yield from ((f"{word}_SERVICE_PORT_{_word(port)}", str(number)) for port, number, _ in ports if port)
        yield f"{word}_PORT", f"{ports[0][2].lower()}://{address}:{ports[0][1]}"
        for _, number, protocol in ports:
            prefix, proto = f"{word}_PORT_{number}_{protocol}", protocol.lower()
            yield prefix, f"{proto}://{address}:{number}"
            yield from ((f"{prefix}_PROTO", proto), (f"{prefix}_PORT", str(number)), (f"{prefix}_ADDR", address))


def _word(name: str) -> str:
    return name.upper().replace("-", "_")


def has_sources(container: Container) -> bool:
    """Whether any of a container's variables or files come from elsewhere."""
    return bool(container.value_sources or container.env_from or container.mounts)


def has_secrets(container: Container) -> bool:
    """Whether any of a container's variables come from Secrets."""
    kinds = {source.kind for _, source in container.value_sources} | {source.kind for source in container.env_from}
    return SECRET in kinds


def start(around: Surroundings, pod: Pod, container: Container) -> Start:
    """What a container starts with. What is not there is left out."""
    services = around.links(pod)
    own: dict[str, str] = {}
    for many in container.env_from:
        own |= _all_of(around, pod, many)
    sources = dict(container.value_sources)
    for index, (name, text) in enumerate(container.env):
        source = sources.get(index)
        value = expand(text, services | own if "$(" in text else own) if source is None else _value(around, pod, source)
        if value is not None:
            own[name] = value
    known = services | own if any("$(" in word for word in container.argv) else own
    argv = tuple(expand(word, known) for word in container.argv)
    if container.standin and not container.standin.ends and pod.host_network:  # its hostname is the node's
        argv = (argv[0], "--pod", pod.name, *argv[1:])
    return Start(argv, tuple(own.items()), _path(container) + around.link_text(pod))


def _path(container: Container) -> str:
    """The PATH of busybox's images, in front of the variables of Services, which are not printed either."""
    has_applets = container.command and image_name(container.image) in BUSYBOX
    return f"PATH={APPLETS}:{PATH}\0" if has_applets else ""


def _all_of(around: Surroundings, pod: Pod, source: VariablesSource) -> dict[str, str]:
    held = around.held(source.kind, pod.namespace, source.name)
    return {f"{source.prefix}{key}": _text(value) for key, value in held.items()}


def _value(around: Surroundings, pod: Pod, source: ValueSource) -> str | None:
    if source.kind == FIELD:
        return around.field(pod, source.key)
    value = around.held(source.kind, pod.namespace, source.name).get(source.key)
    return None if value is None else _text(value)


def _text(value: bytes) -> str:
    """A variable's value: no program is given a NUL."""
    return value.decode("utf-8", "replace").replace("\0", "")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """A text with `$(NAME)` filled in; `$$` is a `$`, and a name that nobody knows stays as it is written."""
    return _REFERENCE.sub(lambda found: "$" if found[1] is None else variables.get(found[1], found[0]), text)
