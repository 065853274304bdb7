"""Every field of a lab file: tables which the loader reads by and of which the JSON Schema is made.

`later` names fields that Kubernetes has and nslab does not (yet): who writes one of them made no typing error.
"""

from __future__ import annotations

from nslab.dataclass import dataclass
from nslab.lab.draft import ClientDraft, LabDraft, NodeDraft, RouterDraft
from nslab.lab.fields_pods import DEPLOYMENT, POD
from nslab.lab.fields_services import SERVICE, SLICE
from nslab.lab.patterns import names
from nslab.lab.shapes import (
    LABEL,
    Address,
    Choice,
    Field,
    Flag,
    Many,
    Network,
    OneOrMany,
    Part,
    Record,
    Table,
    Text,
    Word,
)
from nslab.lab.types import Encapsulation, Plugin, ProxyMode, Scheduler

NODE = Record(
    NodeDraft,
    (
        Field("name", "name", LABEL, "The node's name, and its host name.", required=True),
        Field("address", "address", Address(), "On the node network; else the first free one from its 22nd on."),
        Field("podCIDR", "pod_cidr", Network(), "Its pods' addresses; else a free /26 (calico) or /24 (others)."),
    ),
)
CLIENT = Record(
    ClientDraft,
    (
        Field("name", "name", LABEL, "The client's name, and its host name.", required=True),
        Field("address", "address", Address(), "On the node network; else the first free one from its 10th on."),
    ),
)
ROUTER = Record(
    RouterDraft,
    (
        Field("name", "name", LABEL, "The router's name, and its host name.", required=True),
        Field("addresses", "addresses", Many(Address()), "One in each subnet that it joins.", required=True),
        Field("bgp", "bgp", Flag(), "Whether the nodes tell it where their pods are (false)."),
    ),
)
NETWORKS = Part(
    (
        Field(
            "nodes",
            "node_networks",
            OneOrMany(Network()),
            "The node network (192.168.59.0/24), whose first host is the gateway; or several, with routers between.",
        ),
        Field("pods", "pod_network", Network(), "The pod network (20.96.0.0/12)."),
        Field("services", "service_network", Network(), "The service network (10.96.0.0/12)."),
    )
)
CNI = Part(
    (
        Field(
            "plugin",
            "plugin",
            Choice(Plugin),
            "The network plugin (calico); none: pods to wire by hand; exec: CNI plugins, by `conf`.",
        ),
        Field("encapsulation", "encapsulation", Choice(Encapsulation), "How packets cross the node network (IPIP)."),
        Field("conf", "conf", Text(longest=4096), "exec: the plugins' .conf or .conflist, found from this file."),
        Field("config", "config", Text(), "exec: the same, written here."),
        Field("path", "cni_path", Many(Text(longest=4096)), "exec: where plugins are looked for first."),
        Field("routes", "routes", Flag(), "exec: nodes have routes to each other's podCIDR (true)."),
        Field("masquerade", "masquerade", Flag(), "exec: what leaves the pod network takes the node's address (true)."),
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
                        Part(
                            (
                                Field("mode", "proxy_mode", Choice(ProxyMode), "kube-proxy's mode (iptables)."),
                                Field("scheduler", "scheduler", Choice(Scheduler), "How IPVS chooses (rr)."),
                            )
                        ),
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
                    Field("routers", "routers", Many(ROUTER), "Machines between the subnets of the node network."),
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
                    Field("addons", "addons", Many(Text()), "Written by nslab: what it added, and will not add again."),
                )
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


KINDS = {
    "Lab": Kind("nslab/v1", LAB),
    "Pod": Kind("v1", POD),
    "Service": Kind("v1", SERVICE),
    "EndpointSlice": Kind("discovery.k8s.io/v1", SLICE),
    "Deployment": Kind("apps/v1", DEPLOYMENT),
}
"""The kinds that nslab reads. A new one is an entry here, and one in `stream.read`."""

LATER = names(
    """
    ConfigMap CronJob DaemonSet Endpoints Ingress Job List Namespace NetworkPolicy Node PersistentVolume
    PersistentVolumeClaim ReplicaSet ReplicationController Secret ServiceAccount StatefulSet StorageClass
    """
)
"""Kinds that Kubernetes has and nslab does not (yet)."""
