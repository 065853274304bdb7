"""Converts documents to views, one function per kind. The documents have their defaults and are readable."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

from nslab.api import pod_types, quantity, sources, volumes
from nslab.api.pod_types import NOTHING_SAID, USUAL, RestartPolicy
from nslab.api.security import plain
from nslab.api.selectors import requirements
from nslab.dataclass import replace
from nslab.lab import node_selector, termination, types
from nslab.lab.service_views import endpoint_slice, service
from nslab.policy.model import DEFAULT_DATAPLANE, DEFAULT_RELEASE
from nslab.runtime.health_check import HealthCheck

if TYPE_CHECKING:
    from nslab.api.document import Document
    from nslab.lab.lab_document import Joint, LabDocument
    from nslab.lab.stream import Documents

FINISHED = ("Succeeded", "Failed")
"""The phases of finished pods."""
_RESTARTS = {str(policy): policy for policy in RestartPolicy}
_CHECKS = (
    ("initialDelaySeconds", "initial_delay"),
    ("periodSeconds", "period"),
    ("timeoutSeconds", "timeout"),
    ("successThreshold", "successes"),
    ("failureThreshold", "failures"),
)


def lab(found: Documents) -> types.Lab:
    """The lab of valid documents with defaults; its Services are not yet allocated."""
    document = found.lab
    return types.Lab(
        name=document.name,
        networks=types.Networks((*document.subnets.values(),), document.pod_network, document.service_network),
        plugin=document.plugin,
        encapsulation=document.encapsulation,
        proxy_mode=document.proxy_mode,
        dns_address=document.dns_address,
        nodes=tuple(_nodes(document)),
        clients=tuple(types.Client(one.name, one.address) for one in document.clients if one.address),
        pods=tuple(one.view for one in found.pods if one.view.node),
        pending=tuple(one.view for one in found.pods if not one.view.node),
        last_reserved=tuple(document.last_reserved.items()),
        released=document.released,
        services=tuple(map(service, found.services)),
        slices=tuple(map(endpoint_slice, found.slices)),
        controllers=tuple(one.view for one in found.controllers),
        scheduler=str(document.scheduler),
        routers=tuple(
            types.Router(one.name, (*one.legs.values(),), one.bgp, one.as_number) for one in document.routers
        ),
        calico_version=document.cni.get("calicoVersion", DEFAULT_RELEASE),
        dataplane=document.cni.get("dataplane", DEFAULT_DATAPLANE),
        bgp=document.bgp,
        cni=cni(document),
        others=tuple(map(kept, found.others)),
        replaced=document.replaced,
        replica_sets=document.replica_sets,
        created=tuple(document.created.items()),
    )


def _nodes(document: LabDocument) -> list[types.Node]:
    return [
        types.Node(one.name, one.address, one.pod_cidr, tuple(one.labels.items()))
        for one in document.nodes
        if one.address and one.pod_cidr
    ]


def _router(one: Joint) -> types.Router:
    return types.Router(one.name, (*one.legs.values(),), one.bgp, one.as_number)


def cni(document: LabDocument) -> types.Cni | None:
    """The configuration of plugin exec; None for other plugins."""
    if not document.rules.by_exec:
        return None
    setting = document.cni
    path, routes = tuple(setting.get("path", ())), setting.get("routes", True)
    return types.Cni(setting.get("config", ""), path, routes=routes, masquerade=setting.get("masquerade", True))


def pod(value: dict[str, Any], namespace: str = "default") -> pod_types.Pod:
    """A pod, or the template of one."""
    metadata, spec, status = value.get("metadata", {}), value.get("spec", {}), value.get("status", {})
    namespace = metadata.get("namespace", namespace)
    labels: dict[str, str] = metadata.get("labels", {})
    assigned = status.get("podIP")
    return pod_types.Pod(
        name=metadata.get("name", ""),
        node=spec.get("nodeName", ""),
        containers=containers(spec, "containers"),
        namespace=namespace,
        labels=tuple(labels.items()),
        annotations=tuple(metadata.get("annotations", {}).items()),
        share_process_namespace=spec.get("shareProcessNamespace", False),
        hostname=spec.get("hostname", ""),
        uid=metadata.get("uid", ""),
        assigned=IPv4Address(assigned) if assigned else None,
        restart_policy=_RESTARTS[spec.get("restartPolicy", "Always")],
        owner="" if metadata.get("deletionTimestamp") else owner_of(value, namespace),
        ready=not any(c.get("type") == "Ready" and c.get("status") == "False" for c in status.get("conditions", ())),
        security=_security(spec.get("securityContext", {})),
        grace=spec.get("terminationGracePeriodSeconds", pod_types.GRACE),
        init=containers(spec, "initContainers"),
        deletion=termination.seconds_of(metadata.get("deletionTimestamp")),
        service_account=spec.get("serviceAccountName") or spec.get("serviceAccount") or "default",
        service_links=spec.get("enableServiceLinks", True),
        volumes=volumes.volumes(spec),
        subdomain=spec.get("subdomain", ""),
        dns_name=spec.get("hostname", "") if spec.get("subdomain") else "",
        dns=_dns(spec),
        host_aliases=tuple(
            (one["ip"], tuple(one.get("hostnames", ()))) for one in spec.get("hostAliases", ()) if "ip" in one
        ),
        node_selector=tuple(spec.get("nodeSelector", {}).items()),
        node_affinity=node_selector.terms(spec),
        finished=status.get("phase") in FINISHED,
        host_network=spec.get("hostNetwork", False),
        document=value,
    )


def _dns(spec: dict[str, Any]) -> pod_types.DnsSettings:
    """The dnsPolicy and dnsConfig of a pod."""
    policy, config = spec.get("dnsPolicy") or "ClusterFirst", spec.get("dnsConfig", {})
    options = tuple((one["name"], one.get("value", "")) for one in config.get("options", ()) if one.get("name"))
    return pod_types.DnsSettings(
        policy, tuple(config.get("nameservers", ())), tuple(config.get("searches", ())), options
    )


def owner_of(pod: dict[str, Any], namespace: str) -> str:
    """The controller of a pod; for a ReplicaSet whose name ends with the template's hash, its Deployment."""
    metadata = pod.get("metadata", {})
    template = metadata.get("labels", {}).get(types.TEMPLATE_HASH, "")
    for one in metadata.get("ownerReferences", ()):
        kind, name = one.get("kind"), one.get("name", "")
        if kind == "ReplicaSet" and template and name.endswith(f"-{template}"):
            return f"Deployment/{namespace}/{name.removesuffix(f'-{template}')}"
        if kind in types.CONTROLLERS and name:
            return f"{kind}/{namespace}/{name}"
    return ""


def containers(spec: dict[str, Any], field: str) -> tuple[pod_types.Container, ...]:
    """The containers in a field of a pod's spec. With hostNetwork, their ports are the node's (SetDefaults_Pod)."""
    found = map(container, spec.get(field, ()))
    if not spec.get("hostNetwork"):
        return tuple(found)
    return tuple(
        replace(one, ports=tuple(replace(port, host_port=port.host_port or port.port) for port in one.ports))
        for one in found
    )


def container(fields: dict[str, Any]) -> pod_types.Container:
    """A container."""
    return pod_types.Container(
        name=fields.get("name", ""),
        image=fields.get("image", ""),
        command=tuple(fields.get("command", ())),
        args=tuple(fields.get("args", ())),
        env=tuple(sources.variables(fields)),
        working_dir=fields.get("workingDir", "/"),
        ports=tuple(map(_port, fields.get("ports", ()))),
        readiness=health_check(fields.get("readinessProbe")),
        liveness=health_check(fields.get("livenessProbe")),
        startup=health_check(fields.get("startupProbe")),
        lifecycle=_lifecycle(fields.get("lifecycle", {})),
        sidecar=fields.get("restartPolicy") == "Always",
        security=_security(fields.get("securityContext", {})),
        limits=_limits(fields.get("resources", {}).get("limits", {})),
        tty=bool(fields.get("tty")),
        value_sources=tuple(sources.value_sources(fields)),
        env_from=tuple(sources.variables_sources(fields)),
        mounts=tuple(volumes.mounts(fields)),
    )


def _port(fields: dict[str, Any]) -> pod_types.ContainerPort:
    protocol = pod_types.PROTOCOLS[fields.get("protocol", "TCP")]
    return pod_types.ContainerPort(
        fields.get("containerPort", 0), protocol, fields.get("name", ""), fields.get("hostPort", 0),
        fields.get("hostIP", ""),
    )  # fmt: skip


def health_check(fields: dict[str, Any] | None) -> HealthCheck | None:
    """A probe; None without a handler. 0 means the default, as in Kubernetes."""
    fields = fields or {}
    times = {name: fields[word] for word, name in _CHECKS if fields.get(word)}
    if "exec" in fields:
        return HealthCheck("exec", command=fields["exec"].get("command", ()), **times)
    if "tcpSocket" in fields:
        asked = fields["tcpSocket"]
        return HealthCheck("tcpSocket", asked.get("port", 0), host=asked.get("host", ""), **times)
    if "grpc" in fields:
        asked = fields["grpc"]
        return HealthCheck("grpc", asked.get("port", 0), service=asked.get("service") or "", **times)
    asked = fields.get("httpGet")
    if asked is None:
        return None
    headers = [(one.get("name", ""), one.get("value", "")) for one in asked.get("httpHeaders", ())]
    where = {"host": asked.get("host", ""), "headers": headers}
    if asked.get("scheme") == "HTTPS":
        where["scheme"] = "HTTPS"
    return HealthCheck("httpGet", asked.get("port", 0), asked.get("path") or "/", **where, **times)


def _lifecycle(fields: dict[str, Any]) -> tuple[tuple[str, HealthCheck], ...]:
    """The hooks of a container that do something."""
    made = ((name, _hook(fields.get(name) or {})) for name in ("postStart", "preStop"))
    return tuple((name, hook) for name, hook in made if hook)


def _hook(fields: dict[str, Any]) -> HealthCheck | None:
    """One hook: asked as a probe is, or a time to sleep."""
    if "sleep" in fields:
        return HealthCheck("sleep", period=fields["sleep"].get("seconds", 0))
    return health_check(fields)


def _security(fields: dict[str, Any]) -> pod_types.SecurityContext:
    """The securityContext of a pod or a container."""
    if not fields:
        return NOTHING_SAID
    capabilities = fields.get("capabilities", {})
    return pod_types.SecurityContext(
        user=fields.get("runAsUser"),
        group=fields.get("runAsGroup"),
        non_root=fields.get("runAsNonRoot"),
        groups=tuple(fields.get("supplementalGroups", ())),
        fs_group=fields.get("fsGroup"),
        add=tuple(map(plain, capabilities.get("add", ()))),
        drop=tuple(map(plain, capabilities.get("drop", ()))),
        read_only=fields.get("readOnlyRootFilesystem", False),
        privileged=fields.get("privileged", False),
    )


def _limits(fields: dict[str, Any]) -> pod_types.Resources:
    """The resource limits of a container."""
    if not fields:
        return USUAL
    memory, storage = (quantity.whole(str(fields.get(name, 0))) for name in ("memory", "ephemeral-storage"))
    return pod_types.Resources(memory or 0, storage or 0)


def controller(one: Document) -> types.Controller:
    """A controller with its template."""
    spec, selector = one.spec, one.spec.get("selector", {})
    if one.kind == "ReplicationController":
        selector = {"matchLabels": selector}
    return types.Controller(
        kind=one.kind,
        name=one.name,
        replicas=_replicas(one.kind, spec),
        selector=requirements(selector),
        template=_template(spec, one.namespace),
        namespace=one.namespace,
        labels=tuple(one.labels.items()),
        document=one.value,
    )


def _template(spec: dict[str, Any], namespace: str) -> pod_types.Pod:
    """A template, with what a StatefulSet claims for its pods among its volumes."""
    template, claims = pod(spec.get("template", {}), namespace), volumes.claims(spec)
    claimed = {one.name for one in claims}
    return replace(template, volumes=(*claims, *(one for one in template.volumes if one.name not in claimed)))


def _replicas(kind: str, spec: dict[str, Any]) -> int:
    """The number of pods: a Job's completions, else its parallelism; 0 for a DaemonSet, which has one per node."""
    if kind in types.ONE_NUMBER:
        return int(spec.get("replicas", 1))
    if kind == types.DAEMON_SET or spec.get("suspend"):
        return 0
    at_once = spec.get("parallelism", 1)
    return int(spec.get("completions", at_once)) if at_once else 0


def kept(one: Document) -> types.Kept:
    """An object that nslab does not act on."""
    return types.Kept(str(one.value.get("apiVersion", "")), one.kind, one.name, one.namespace, one.value)
