"""The fields of Service and EndpointSlice documents.

Much is read as plain text or as any number: `validate_services` says what is wrong with it, as the API server does.
"""

from __future__ import annotations

from typing import Any

from nslab.lab.draft import EndpointDraft, ServiceDraft, ServicePortDraft, SliceDraft
from nslab.lab.fields_pods import META_LATER
from nslab.lab.patterns import INT32, LABEL_VALUE, QUALIFIED, names
from nslab.lab.shapes import LABEL, Anything, Field, Flag, Many, NumberOrName, Part, Record, Table, Text, Word

_ACCEPTED = Anything()
_TEXT = Text()


def _one(ip: str = "", name: str = "") -> str:
    """A mapping that stands for one word."""
    return ip or name


def _target(kind: str = "", namespace: str = "", name: str = "") -> tuple[str, str]:
    """The pod behind an endpoint: its namespace, if given, and its name."""
    return (namespace, name) if kind == "Pod" else ("", "")


def _endpoint(
    ready: bool | None = None, serving: bool | None = None, target: tuple[str, str] = ("", ""), **said: Any
) -> EndpointDraft:
    """An endpoint. What it does not say of itself is well: ready, and as serving as it is ready."""
    ready = ready is not False
    return EndpointDraft(ready=ready, serving=ready if serving is None else serving, target=target, **said)


def _metadata(what: str) -> Field:
    return Field(
        "metadata",
        "",
        Part(
            (
                Field("name", "name", _TEXT, f"The {what}'s name.", required=True),
                Field("namespace", "namespace", LABEL, "Its namespace (default)."),
                Field("labels", "labels", Table(LABEL_VALUE, QUALIFIED), "Its labels."),
                Field("annotations", "annotations", Table(_TEXT, QUALIFIED), "Its annotations."),
            ),
            META_LATER,
        ),
        f"What the {what} is called.",
        required=True,
    )


_PORT = Record(
    ServicePortDraft,
    (
        Field("name", "name", _TEXT, "Its name; needed where there are several ports."),
        Field("port", "port", INT32, "Where the Service answers.", required=True),
        Field("protocol", "protocol", _TEXT, "TCP, UDP or SCTP (TCP)."),
        Field("targetPort", "target", NumberOrName(INT32, _TEXT), "The pods' port, by number or by name (the same)."),
        Field("nodePort", "node_port", INT32, "The port on every node; else a free one."),
        Field("appProtocol", "", _ACCEPTED, "Accepted; kube-proxy does not look at it."),
    ),
)
_AFFINITY = Part(
    (
        Field(
            "clientIP",
            "",
            Part((Field("timeoutSeconds", "timeout", INT32, "So long a client stays with a pod (10800)."),)),
            "Affinity by the client's address.",
        ),
    )
)
SERVICE = Record(
    ServiceDraft,
    (
        Field("apiVersion", "", Word("v1"), "Always v1.", required=True),
        Field("kind", "", Word("Service"), "Always Service.", required=True),
        _metadata("Service"),
        Field(
            "spec",
            "",
            Part(
                (
                    Field("type", "type", _TEXT, "ClusterIP, NodePort, LoadBalancer or ExternalName."),
                    Field("clusterIP", "cluster_ip", _TEXT, "On the service network; None for a headless Service."),
                    Field("clusterIPs", "cluster_ips", Many(_TEXT), "The same, as a list of one."),
                    Field("selector", "selector", Table(LABEL_VALUE, QUALIFIED), "Labels of its pods."),
                    Field("ports", "ports", Many(_PORT), "The ports that it has."),
                    Field("sessionAffinity", "affinity", _TEXT, "None or ClientIP."),
                    Field("sessionAffinityConfig", "", _AFFINITY, "How long."),
                    Field("externalTrafficPolicy", "external_policy", _TEXT, "Cluster or Local."),
                    Field("internalTrafficPolicy", "internal_policy", _TEXT, "Cluster or Local."),
                    Field("externalIPs", "external_ips", Many(_TEXT), "More addresses, which nodes do not have."),
                    Field("loadBalancerSourceRanges", "source_ranges", Many(_TEXT), "Clients of the load balancer."),
                    Field("healthCheckNodePort", "health_check_node_port", INT32, "Where nodes tell of endpoints."),
                    Field("externalName", "external_name", _TEXT, "The name that DNS answers."),
                    Field("publishNotReadyAddresses", "publish_not_ready", Flag(), "Pods count before they are ready."),
                    Field("ipFamilies", "ip_families", Many(_TEXT), "IPv4."),
                    Field("ipFamilyPolicy", "ip_family_policy", _TEXT, "SingleStack."),
                    Field("allocateLoadBalancerNodePorts", "allocate", Flag(), "A LoadBalancer's node ports (true)."),
                ),
                names("loadBalancerClass loadBalancerIP trafficDistribution"),
            ),
            "What the Service consists of.",
            required=True,
        ),
        Field(
            "status",
            "",
            Part(
                (
                    Field(
                        "loadBalancer",
                        "",
                        Part(
                            (
                                Field(
                                    "ingress",
                                    "ingress",
                                    Many(
                                        Record(
                                            _one,
                                            (
                                                Field("ip", "ip", _TEXT, "An address."),
                                                Field("ipMode", "", _ACCEPTED, "VIP."),
                                                Field("ports", "", _ACCEPTED, "Not looked at."),
                                            ),
                                            names("hostname"),
                                        )
                                    ),
                                    "The load balancer's addresses; else a free one of the node network.",
                                ),
                            )
                        ),
                        "What the load balancer has.",
                    ),
                ),
                names("conditions"),
            ),
            "How the Service is.",
        ),
    ),
)
_CONDITIONS = Part(
    (
        Field("ready", "ready", Flag(), "Traffic may go to it (true)."),
        Field("serving", "serving", Flag(), "It answers (as ready)."),
        Field("terminating", "terminating", Flag(), "It is about to end (false)."),
    )
)
_HINTS = Part(
    (
        Field(
            "forZones",
            "zones",
            Many(Record(_one, (Field("name", "name", _TEXT, "The zone.", required=True),))),
            "Nodes of these zones use it.",
        ),
    ),
    names("forNodes"),
)
_TARGET = Record(
    _target,
    (
        Field("kind", "kind", _TEXT, "Pod."),
        Field("namespace", "namespace", _TEXT, "The pod's namespace."),
        Field("name", "name", _TEXT, "The pod's name."),
        *(Field(name, "", _ACCEPTED, "") for name in ("apiVersion", "uid", "resourceVersion", "fieldPath")),
    ),
)
_ENDPOINT = Record(
    _endpoint,
    (
        Field("addresses", "addresses", Many(_TEXT), "Its address; of several, kube-proxy takes the first."),
        Field("conditions", "", _CONDITIONS, "How it is."),
        Field("nodeName", "node", _TEXT, "The node that it is on."),
        Field("hostname", "hostname", _TEXT, "Its name in DNS."),
        Field("targetRef", "target", _TARGET, "The pod that it is."),
        Field("hints", "", _HINTS, "Who should use it."),
        Field("zone", "", _ACCEPTED, "Accepted; kube-proxy looks at the hints alone."),
    ),
    names("deprecatedTopology"),
)
_SLICE_PORT = Record(
    ServicePortDraft,
    (
        Field("name", "name", _TEXT, "The name of the Service's port."),
        Field("port", "port", INT32, "The endpoints' port.", required=True),
        Field("protocol", "protocol", _TEXT, "TCP, UDP or SCTP (TCP)."),
        Field("appProtocol", "", _ACCEPTED, "Accepted; kube-proxy does not look at it."),
    ),
)
SLICE = Record(
    SliceDraft,
    (
        Field("apiVersion", "", Word("discovery.k8s.io/v1"), "Always discovery.k8s.io/v1.", required=True),
        Field("kind", "", Word("EndpointSlice"), "Always EndpointSlice.", required=True),
        _metadata("EndpointSlice"),
        Field("addressType", "address_type", _TEXT, "IPv4.", required=True),
        Field("endpoints", "endpoints", Many(_ENDPOINT), "What stands behind the Service."),
        Field("ports", "ports", Many(_SLICE_PORT), "The endpoints' ports."),
    ),
)
