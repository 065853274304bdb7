"""From a draft that is complete and has no problems to the values that everything else works with, and back."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

from nslab.lab.allocate import open_fields
from nslab.lab.draft import (
    KEPT,
    ClientDraft,
    DeploymentDraft,
    EndpointDraft,
    LabDraft,
    NodeDraft,
    PodDraft,
    RouterDraft,
    ServiceDraft,
    ServicePortDraft,
    SliceDraft,
)
from nslab.lab.plugins import cni_of
from nslab.lab.types import (
    Client,
    Deployment,
    EndpointSlice,
    Lab,
    Networks,
    Node,
    Pod,
    Protocol,
    Router,
    Scheduler,
    Service,
    ServicePort,
    ServiceType,
    SliceEndpoint,
    TrafficPolicy,
)

AFFINITY_SECONDS = 10800
"""How long a client stays with a pod unless the Service says otherwise."""
_PROTOCOLS = {str(protocol): protocol for protocol in Protocol}
_TYPES = {str(kind): kind for kind in ServiceType}


def finished(draft: LabDraft) -> Lab:
    """The lab of a draft; its Services still without what is given out."""
    assert draft.subnets
    assert draft.pod_network
    assert draft.service_network
    assert draft.plugin
    assert draft.encapsulation
    assert draft.proxy_mode
    return Lab(
        name=draft.name,
        networks=Networks((*draft.subnets.values(),), draft.pod_network, draft.service_network),
        plugin=draft.plugin,
        encapsulation=draft.encapsulation,
        proxy_mode=draft.proxy_mode,
        dns_address=draft.dns_address,
        nodes=tuple(_node(node) for node in draft.nodes),
        clients=tuple(_client(client) for client in draft.clients),
        pods=tuple(map(pod, draft.pods)),
        last_reserved=tuple(draft.last_reserved.items()),
        services=tuple(map(service, draft.services)),
        slices=tuple(map(endpoint_slice, draft.slices)),
        deployments=tuple(map(deployment, draft.deployments)),
        scheduler=str(draft.scheduler or Scheduler.RR),
        routers=tuple(Router(one.name, (*one.legs.values(),), one.bgp) for one in draft.routers),
        cni=cni_of(draft),
    )


def _node(node: NodeDraft) -> Node:
    assert node.address
    assert node.pod_cidr
    return Node(node.name, node.address, node.pod_cidr)


def _client(client: ClientDraft) -> Client:
    assert client.address
    return Client(client.name, client.address)


def pod(draft: PodDraft) -> Pod:
    """The pod of a draft."""
    return Pod(
        name=draft.name,
        node=draft.node,
        containers=draft.containers,
        namespace=draft.namespace,
        labels=tuple(draft.labels.items()),
        annotations=tuple(draft.annotations.items()),
        share_process_namespace=draft.share_process_namespace,
        hostname=draft.hostname,
        uid=draft.uid,
        requested=draft.requested,
        assigned=draft.assigned,
        restart_policy=draft.restart_policy,
        owner=draft.owner,
        ready=draft.ready,
        security=draft.security,
    )


def service(draft: ServiceDraft) -> Service:
    """The Service of a draft; what it leaves open is empty, and said to be given out."""
    asked = draft.asked
    return Service(
        name=draft.name,
        ports=tuple(
            ServicePort(
                port=port.port,
                target=port.target or port.port,
                name=port.name,
                protocol=_PROTOCOLS[port.protocol],
                node_port=port.node_port,
            )
            for port in draft.ports
        ),
        namespace=draft.namespace,
        labels=tuple(draft.labels.items()),
        annotations=tuple(draft.annotations.items()),
        type=_TYPES[draft.type],
        cluster_ip=IPv4Address(asked) if asked and asked != "None" else None,
        selector=tuple(draft.selector.items()),
        external_ips=tuple(map(IPv4Address, draft.external_ips)),
        load_balancer_ips=tuple(map(IPv4Address, draft.ingress)),
        source_ranges=tuple(IPv4Network(each.strip(), strict=False) for each in draft.source_ranges),
        affinity=(draft.timeout or AFFINITY_SECONDS) if draft.affinity == "ClientIP" else 0,
        external_policy=TrafficPolicy.LOCAL if draft.external_policy == "Local" else TrafficPolicy.CLUSTER,
        internal_policy=TrafficPolicy.LOCAL if draft.internal_policy == "Local" else TrafficPolicy.CLUSTER,
        health_check_node_port=draft.health_check_node_port if draft.needs_health_check else 0,
        external_name=draft.external_name,
        publish_not_ready=draft.publish_not_ready,
        given_out=open_fields(draft),
    )


def endpoint_slice(draft: SliceDraft) -> EndpointSlice:
    """The EndpointSlice of a draft."""
    return EndpointSlice(
        name=draft.name,
        service=draft.service,
        namespace=draft.namespace,
        endpoints=tuple(
            SliceEndpoint(
                address=IPv4Address(end.addresses[0]),
                ready=end.ready,
                serving=end.serving,
                terminating=end.terminating,
                node=end.node,
                hostname=end.hostname,
                zones=end.zones,
                pod=f"{end.target[0] or draft.namespace}/{end.target[1]}" if end.target[1] else "",
            )
            for end in draft.endpoints
        ),
        ports=tuple((port.name, port.port, _PROTOCOLS[port.protocol]) for port in draft.ports),
    )


def deployment(draft: DeploymentDraft) -> Deployment:
    """The Deployment of a draft."""
    return Deployment(
        name=draft.name,
        replicas=draft.replicas,
        selector=tuple(draft.selector.items()),
        template=pod(draft.template),
        namespace=draft.namespace,
        labels=tuple(draft.labels.items()),
    )


def drafted(lab: Lab) -> LabDraft:
    """A draft that a lab could have been made of: what a change to it starts from."""
    cni = lab.cni
    return LabDraft(
        name=lab.name,
        node_networks=lab.networks.nodes,
        pod_network=lab.networks.pods,
        service_network=lab.networks.services,
        plugin=lab.plugin,
        encapsulation=lab.encapsulation,
        config=cni.config if cni else "",
        cni_path=cni.path if cni else (),
        routes=cni.routes if cni else None,
        masquerade=cni.masquerade if cni else None,
        proxy_mode=lab.proxy_mode,
        scheduler=Scheduler(lab.scheduler),
        dns_address=lab.dns_address,
        nodes=tuple(NodeDraft(node.name, node.address, node.pod_cidr) for node in lab.nodes),
        clients=tuple(ClientDraft(client.name, client.address) for client in lab.clients),
        routers=tuple(RouterDraft(one.name, one.addresses, one.bgp) for one in lab.routers),
        last_reserved=dict(lab.last_reserved),
        addons=("kube-dns",),
        document=KEPT,
        pods=list(map(drafted_pod, lab.pods)),
        services=list(map(drafted_service, lab.services)),
        slices=list(map(_drafted_slice, lab.slices)),
        deployments=[
            DeploymentDraft(
                one.name,
                one.namespace,
                dict(one.labels),
                one.replicas,
                dict(one.selector),
                drafted_pod(one.template),
                KEPT,
            )
            for one in lab.deployments
        ],
    )


def drafted_pod(one: Pod) -> PodDraft:
    """The draft of a pod."""
    return PodDraft(
        name=one.name,
        namespace=one.namespace,
        labels=dict(one.labels),
        annotations=dict(one.annotations),
        uid=one.uid,
        node=one.node,
        hostname=one.hostname,
        containers=one.containers,
        share_process_namespace=one.share_process_namespace,
        restart_policy=one.restart_policy,
        requested=one.requested,
        assigned=one.assigned,
        owner=one.owner,
        ready=one.ready,
        security=one.security,
        document=KEPT,
    )


def drafted_service(one: Service) -> ServiceDraft:
    """The draft of a Service, with everything written out."""
    balanced, external = (
        one.type is ServiceType.LOAD_BALANCER,
        one.type
        in (
            ServiceType.NODE_PORT,
            ServiceType.LOAD_BALANCER,
        ),
    )
    named = one.type is ServiceType.EXTERNAL_NAME
    return ServiceDraft(
        name=one.name,
        namespace=one.namespace,
        labels=dict(one.labels),
        annotations=dict(one.annotations),
        type=str(one.type),
        cluster_ip=str(one.cluster_ip or ("" if named else "None")),
        selector=dict(one.selector),
        ports=tuple(
            ServicePortDraft(port.port, port.name, str(port.protocol), port.target, port.node_port)
            for port in one.ports
        ),
        affinity="ClientIP" if one.affinity else "None",
        timeout=one.affinity or None,
        external_policy=str(one.external_policy) if external or one.external_ips else "",
        internal_policy=str(one.internal_policy),
        external_ips=tuple(map(str, one.external_ips)),
        source_ranges=tuple(map(str, one.source_ranges)),
        health_check_node_port=one.health_check_node_port,
        external_name=one.external_name,
        publish_not_ready=one.publish_not_ready,
        allocate=False if balanced and not all(port.node_port for port in one.ports) else None,
        ingress=tuple(map(str, one.load_balancer_ips)),
        document=KEPT,
    )


def _drafted_slice(one: EndpointSlice) -> SliceDraft:
    return SliceDraft(
        name=one.name,
        namespace=one.namespace,
        labels={"kubernetes.io/service-name": one.service} if one.service else {},
        endpoints=tuple(
            EndpointDraft(
                (str(end.address),),
                end.ready,
                end.serving,
                end.terminating,
                end.node,
                end.hostname,
                end.zones,
                (end.pod.partition("/")[0], end.pod.partition("/")[2]),
            )
            for end in one.endpoints
        ),
        ports=tuple(ServicePortDraft(port, name, str(protocol)) for name, port, protocol in one.ports),
        document=KEPT,
    )
