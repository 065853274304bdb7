"""Every field of a lab file: tables which the loader reads by and of which the JSON Schema is made.

`later` names fields that Kubernetes has and nslab does not (yet): who writes one of them made no typing error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nslab.lab.draft import ClientDraft, LabDraft, NodeDraft, PodDraft
from nslab.lab.shapes import LABEL, Address, Choice, Field, Flag, Many, Network, Number, Part, Record, Table, Text, Word
from nslab.lab.types import Container, ContainerPort, Encapsulation, Plugin, Protocol, ProxyMode

POD_NAME = Text(LABEL.pattern, LABEL.what, 253)
PORT_NAME = Text("[a-z0-9-]*[a-z][a-z0-9-]*", "lower case letters (one at least), digits and '-'", 15)
QUALIFIED = Text(
    "([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?",
    "[PREFIX/]NAME of letters, digits, '-', '_' and '.'",
    317,
)
LABEL_VALUE = Text("([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?", "letters, digits, '-', '_' and '.'", 63)
VARIABLE = Text("[^=]+", "not empty and without '='")
DIRECTORY = Text("/.*", "an absolute path")
UID = Text("[0-9A-Za-z]([-0-9A-Za-z]*[0-9A-Za-z])?", "letters, digits and '-'", 63)


def _names(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


def _container(name: str = "", **rest: Any) -> Container:
    """A container, even one without a name: the name's absence was reported."""
    return Container(name, **rest)


def _port(port: int = 0, **rest: Any) -> ContainerPort:
    """A port, even one without its number: the number's absence was reported."""
    return ContainerPort(port, **rest)


def _variable(name: str = "", value: str = "") -> tuple[str, str]:
    """One environment variable."""
    return name, value


NODE = Record(
    NodeDraft,
    (
        Field("name", "name", LABEL, "The node's name, and its host name.", required=True),
        Field("address", "address", Address(), "On the node network; else the first free one from its 22nd on."),
        Field("podCIDR", "pod_cidr", Network(), "Its pods' addresses; else a free /26 (calico) or /24 (kubenet)."),
    ),
)
CLIENT = Record(
    ClientDraft,
    (
        Field("name", "name", LABEL, "The client's name, and its host name.", required=True),
        Field("address", "address", Address(), "On the node network; else the first free one from its 10th on."),
    ),
)
NETWORKS = Part(
    (
        Field("nodes", "node_network", Network(), "The node network (192.168.59.0/24); its first host is the gateway."),
        Field("pods", "pod_network", Network(), "The pod network (20.96.0.0/12)."),
        Field("services", "service_network", Network(), "The service network (10.96.0.0/12)."),
    )
)
CNI = Part(
    (
        Field("plugin", "plugin", Choice(Plugin), "The network plugin (calico)."),
        Field("encapsulation", "encapsulation", Choice(Encapsulation), "How packets cross the node network (IPIP)."),
    )
)
LAB = Record(
    LabDraft,
    (
        Field("apiVersion", "", Word("nslab/v1"), "Always nslab/v1.", required=True),
        Field("kind", "", Word("Lab"), "Always Lab.", required=True),
        Field(
            "metadata",
            "",
            Part((Field("name", "name", LABEL, "The lab's name; its hosts are nslab.NAME.HOST.", required=True),)),
            "What the lab is called.",
            required=True,
        ),
        Field(
            "spec",
            "",
            Part(
                (
                    Field("networks", "", NETWORKS, "Three address ranges that do not overlap."),
                    Field("cni", "", CNI, "How pods get their network."),
                    Field(
                        "proxy",
                        "",
                        Part((Field("mode", "proxy_mode", Choice(ProxyMode), "kube-proxy's mode (iptables)."),)),
                        "How Services are carried.",
                    ),
                    Field(
                        "dns",
                        "",
                        Part((Field("address", "dns_address", Address(), "The name server, on the service network."),)),
                        "The cluster's name server.",
                    ),
                    Field("nodes", "nodes", Many(NODE, at_least=1), "The machines of the cluster.", required=True),
                    Field("clients", "clients", Many(CLIENT), "Machines outside the cluster, on the node network."),
                )
            ),
            "What the lab consists of.",
            required=True,
        ),
        Field(
            "status",
            "",
            Part(
                (
                    Field(
                        "lastReserved",
                        "last_reserved",
                        Table(Address()),
                        "Written by nslab: the last pod address that each node gave out.",
                    ),
                )
            ),
            "Written by nslab.",
        ),
    ),
)

CONTAINER = Record(
    _container,
    (
        Field("name", "name", LABEL, "The container's name.", required=True),
        Field("image", "image", Text(), "agnhost is built in; other images are not pulled, and need a command."),
        Field("command", "command", Many(Text()), "What runs: a program of this machine."),
        Field("args", "args", Many(Text()), "Its arguments (agnhost: netexec)."),
        Field(
            "env",
            "env",
            Many(
                Record(
                    _variable,
                    (
                        Field("name", "name", VARIABLE, "The variable's name.", required=True),
                        Field("value", "value", Text(), "Its value (empty)."),
                    ),
                    later=frozenset(("valueFrom",)),
                )
            ),
            "Environment variables.",
        ),
        Field("workingDir", "working_dir", DIRECTORY, "Where it runs (/)."),
        Field(
            "ports",
            "ports",
            Many(
                Record(
                    _port,
                    (
                        Field("containerPort", "port", Number(1, 65535), "Where the server answers.", required=True),
                        Field("protocol", "protocol", Choice(Protocol), "TCP, UDP or SCTP (TCP)."),
                        Field("name", "name", PORT_NAME, "A name for Services to use."),
                    ),
                    later=frozenset(("hostPort", "hostIP")),
                )
            ),
            "The ports that it answers on.",
        ),
    ),
    later=_names(
        """
        envFrom imagePullPolicy lifecycle livenessProbe readinessProbe resizePolicy resources
        restartPolicy securityContext startupProbe stdin stdinOnce terminationMessagePath
        terminationMessagePolicy tty volumeDevices volumeMounts
        """
    ),
)
POD = Record(
    PodDraft,
    (
        Field("apiVersion", "", Word("v1"), "Always v1.", required=True),
        Field("kind", "", Word("Pod"), "Always Pod.", required=True),
        Field(
            "metadata",
            "",
            Part(
                (
                    Field("name", "name", POD_NAME, "The pod's name.", required=True),
                    Field("namespace", "namespace", LABEL, "Its namespace (default)."),
                    Field("labels", "labels", Table(LABEL_VALUE, QUALIFIED), "Its labels."),
                    Field("annotations", "annotations", Table(Text(), QUALIFIED), "Its annotations."),
                    Field("uid", "uid", UID, "Written by nslab: its unique name."),
                ),
                later=_names(
                    """
                    creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers
                    generateName generation managedFields ownerReferences resourceVersion selfLink
                    """
                ),
            ),
            "What the pod is called.",
            required=True,
        ),
        Field(
            "spec",
            "",
            Part(
                (
                    Field("nodeName", "node", LABEL, "The node; else the one with the fewest pods."),
                    Field("hostname", "hostname", LABEL, "The pod's host name (its name)."),
                    Field("containers", "containers", Many(CONTAINER, at_least=1), "Its processes.", required=True),
                    Field("shareProcessNamespace", "share_process_namespace", Flag(), "One pid namespace for all."),
                    Field("restartPolicy", "restart_policy", Text(), "Always."),
                ),
                later=_names(
                    """
                    activeDeadlineSeconds affinity automountServiceAccountToken dnsConfig dnsPolicy
                    enableServiceLinks ephemeralContainers hostAliases hostIPC hostNetwork hostPID
                    hostUsers hostnameOverride imagePullSecrets initContainers nodeSelector os overhead
                    preemptionPolicy priority priorityClassName readinessGates resourceClaims resources
                    runtimeClassName schedulerName schedulingGates securityContext serviceAccount
                    serviceAccountName setHostnameAsFQDN subdomain terminationGracePeriodSeconds
                    tolerations topologySpreadConstraints volumes
                    """
                ),
            ),
            "What the pod consists of.",
            required=True,
        ),
        Field(
            "status",
            "",
            Part(
                (Field("podIP", "assigned", Address(), "Written by nslab: the address that the pod has."),),
                later=_names(
                    """
                    conditions containerStatuses ephemeralContainerStatuses hostIP hostIPs
                    initContainerStatuses message nominatedNodeName observedGeneration phase podIPs
                    qosClass reason resize resourceClaimStatuses startTime
                    """
                ),
            ),
            "Written by nslab.",
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of document: the apiVersion it is written with, and its fields."""

    api_version: str
    record: Record


KINDS = {"Lab": Kind("nslab/v1", LAB), "Pod": Kind("v1", POD)}
"""The kinds that nslab reads. A new one is an entry here, and a branch of `load._draft`."""

LATER = _names(
    """
    ConfigMap CronJob DaemonSet Deployment EndpointSlice Endpoints Ingress Job List Namespace
    NetworkPolicy Node PersistentVolume PersistentVolumeClaim ReplicaSet ReplicationController Secret
    Service ServiceAccount StatefulSet StorageClass
    """
)
"""Kinds that Kubernetes has and nslab does not (yet)."""
