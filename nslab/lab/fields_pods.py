"""The fields of Pod and Deployment documents."""

from __future__ import annotations

from typing import Any

from nslab.dataclass import replace
from nslab.lab.draft import DeploymentDraft, PodDraft
from nslab.lab.fields_security import CONTAINER_SECURITY, POD_SECURITY, RESOURCES
from nslab.lab.patterns import (
    COUNT,
    DIRECTORY,
    INT32,
    LABEL_VALUE,
    POD_NAME,
    PORT_NAME,
    QUALIFIED,
    UID,
    VARIABLE,
    names,
)
from nslab.lab.shapes import (
    LABEL,
    Address,
    Anything,
    Choice,
    Field,
    Flag,
    Many,
    Number,
    NumberOrName,
    Part,
    Record,
    Table,
    Text,
    Word,
)
from nslab.lab.types import Container, ContainerPort, HealthCheck, Protocol, RestartPolicy

META_LATER = names(
    """
    creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers
    generateName generation managedFields ownerReferences resourceVersion selfLink uid
    """
)


def _container(name: str = "", **rest: Any) -> Container:
    """A container, even one without a name: the name's absence was reported."""
    return Container(name, **rest)


def _port(port: int = 0, **rest: Any) -> ContainerPort:
    """A port, even one without its number: the number's absence was reported."""
    return ContainerPort(port, **rest)


def _variable(name: str = "", value: str = "") -> tuple[str, str]:
    """One environment variable."""
    return name, value


def _handler(**said: Any) -> dict[str, Any]:
    """What a probe does: the port, and the path for httpGet."""
    return said


def _health_check(**said: Any) -> HealthCheck:
    """A probe. 0 asks for the default, as in Kubernetes; two kinds, or none, are for `validate_pods` to complain of."""
    done = {kind: said.pop(kind) for kind in ("httpGet", "tcpSocket") if kind in said}
    kind: Any = "+".join(done)
    handler: dict[str, Any] = next(iter(done.values()), {})
    times = {name: value for name, value in said.items() if value}
    return HealthCheck(kind, **{"port": 0, **handler}, **times)


def _owner(kind: str = "", name: str = "") -> tuple[str, str]:
    """Who made a pod."""
    return kind, name


def _condition(kind: str = "", status: str = "") -> tuple[str, str]:
    """One of a pod's conditions."""
    return kind, status


def _pod(
    owners: tuple[tuple[str, str], ...] = (), conditions: tuple[tuple[str, str], ...] = (), **said: Any
) -> PodDraft:
    """A pod. The owner is a ReplicaSet, which has its Deployment's name and, behind it, the template's hash."""
    pod = PodDraft(**said, ready=("Ready", "False") not in conditions)
    template = pod.labels.get("pod-template-hash", "")
    made = [f"{pod.namespace}/{name.removesuffix(f'-{template}')}" for kind, name in _pairs(owners) if kind and name]
    pod.owner = next(iter(made), "")
    return pod


def _pairs(items: tuple[Any, ...]) -> list[tuple[str, str]]:
    return [item for item in items if isinstance(item, tuple)]


_ACCEPTED = Anything()
_PORT = Field("port", "port", NumberOrName(Number(1, 65535), PORT_NAME), "A number, or a port's name.", required=True)
_HTTP_GET = Record(
    _handler,
    (
        _PORT,
        Field("path", "path", Text(), "What is asked for (/)."),
        Field("scheme", "", Text("HTTP", "HTTP; nslab's probes speak nothing else"), "HTTP."),
    ),
    later=names("host httpHeaders"),
)
_CHECK = Record(
    _health_check,
    (
        Field("httpGet", "httpGet", _HTTP_GET, "A request whose answer is 200 to 399."),
        Field("tcpSocket", "tcpSocket", Record(_handler, (_PORT,), later=names("host")), "A connection."),
        Field("initialDelaySeconds", "initial_delay", COUNT, "Seconds before the first one (0)."),
        Field("periodSeconds", "period", COUNT, "Seconds between two (10)."),
        Field("timeoutSeconds", "timeout", COUNT, "Seconds for an answer (1)."),
        Field("successThreshold", "successes", COUNT, "So many in a row make it well again (1)."),
        Field("failureThreshold", "failures", COUNT, "So many in a row make it ill (3)."),
    ),
    later=names("exec grpc terminationGracePeriodSeconds"),
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
                    later=names("valueFrom"),
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
                        Field("hostPort", "host_port", Number(1, 65535), "The node's port that leads there (portmap)."),
                    ),
                    later=names("hostIP"),
                )
            ),
            "The ports that it answers on.",
        ),
        Field("readinessProbe", "readiness", _CHECK, "Only while it succeeds, Services send anything."),
        Field("livenessProbe", "liveness", _CHECK, "Where it fails, the container is started anew."),
        Field("securityContext", "security", CONTAINER_SECURITY, "Whom it runs as, and what it may do."),
        Field("resources", "limits", RESOURCES, "What it may use."),
    ),
    later=names(
        """
        envFrom imagePullPolicy lifecycle resizePolicy restartPolicy startupProbe stdin stdinOnce
        terminationMessagePath terminationMessagePolicy tty volumeDevices volumeMounts
        """
    ),
)
_OWNER = Record(
    _owner,
    (
        Field("kind", "kind", Text(), "ReplicaSet."),
        Field("name", "name", Text(), "Its name."),
        *(Field(n, "", _ACCEPTED, "") for n in ("apiVersion", "uid", "controller", "blockOwnerDeletion")),
    ),
)
_CONDITION = Record(
    _condition,
    (
        Field("type", "kind", Text(), "Ready."),
        Field("status", "status", Text(), "True or False."),
        *(Field(n, "", _ACCEPTED, "") for n in ("lastProbeTime", "lastTransitionTime", "reason", "message")),
    ),
)
_LABELS = Field("labels", "labels", Table(LABEL_VALUE, QUALIFIED), "Its labels.")
_ANNOTATIONS = Field("annotations", "annotations", Table(Text(), QUALIFIED), "Its annotations.")
_POD_SPEC = Part(
    (
        Field("nodeName", "node", LABEL, "The node; else the one with the fewest pods."),
        Field("hostname", "hostname", LABEL, "The pod's host name (its name)."),
        Field("containers", "containers", Many(CONTAINER, at_least=1), "Its processes.", required=True),
        Field("shareProcessNamespace", "share_process_namespace", Flag(), "One pid namespace for all."),
        Field("restartPolicy", "restart_policy", Choice(RestartPolicy), "When a container that ended starts again."),
        Field("securityContext", "security", POD_SECURITY, "Whom its containers run as."),
    ),
    later=names(
        """
        activeDeadlineSeconds affinity automountServiceAccountToken dnsConfig dnsPolicy
        enableServiceLinks ephemeralContainers hostAliases hostIPC hostNetwork hostPID
        hostUsers hostnameOverride imagePullSecrets initContainers nodeSelector os overhead
        preemptionPolicy priority priorityClassName readinessGates resourceClaims resources
        runtimeClassName schedulerName schedulingGates serviceAccount
        serviceAccountName setHostnameAsFQDN subdomain terminationGracePeriodSeconds
        tolerations topologySpreadConstraints volumes
        """
    ),
)
POD = Record(
    _pod,
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
                    _LABELS,
                    _ANNOTATIONS,
                    Field("uid", "uid", UID, "Written by nslab: its unique name."),
                    Field("ownerReferences", "owners", Many(_OWNER), "Written by nslab: what it is a replica of."),
                ),
                later=META_LATER - {"ownerReferences", "uid"},
            ),
            "What the pod is called.",
            required=True,
        ),
        Field("spec", "", _POD_SPEC, "What the pod consists of.", required=True),
        Field(
            "status",
            "",
            Part(
                (
                    Field("podIP", "assigned", Address(), "Written by nslab: the address that the pod has."),
                    Field("conditions", "conditions", Many(_CONDITION), "Written by nslab: whether it is ready."),
                ),
                later=names(
                    """
                    containerStatuses ephemeralContainerStatuses hostIP hostIPs
                    initContainerStatuses message nominatedNodeName observedGeneration phase podIPs
                    qosClass reason resize resourceClaimStatuses startTime
                    """
                ),
            ),
            "Written by nslab.",
        ),
    ),
)
_TEMPLATE = Record(
    PodDraft,
    (
        Field(
            "metadata",
            "",
            Part((_LABELS, _ANNOTATIONS, Field("name", "", _ACCEPTED, "Replicas get names of their own.")), META_LATER),
            "The replicas' labels and annotations.",
        ),
        Field("spec", "", _POD_SPEC, "What the replicas consist of.", required=True),
    ),
)
DEPLOYMENT = Record(
    DeploymentDraft,
    (
        Field("apiVersion", "", Word("apps/v1"), "Always apps/v1.", required=True),
        Field("kind", "", Word("Deployment"), "Always Deployment.", required=True),
        Field(
            "metadata",
            "",
            Part(
                (
                    Field("name", "name", POD_NAME, "The Deployment's name.", required=True),
                    Field("namespace", "namespace", LABEL, "Its namespace (default)."),
                    _LABELS,
                    replace(_ANNOTATIONS, into="", shape=_ACCEPTED),
                ),
                META_LATER,
            ),
            "What the Deployment is called.",
            required=True,
        ),
        Field(
            "spec",
            "",
            Part(
                (
                    Field("replicas", "replicas", INT32, "How many there are (1)."),
                    Field(
                        "selector",
                        "",
                        Part(
                            (Field("matchLabels", "selector", Table(LABEL_VALUE, QUALIFIED), "Labels of theirs."),),
                            names("matchExpressions"),
                        ),
                        "Which pods are its own.",
                    ),
                    Field("template", "template", _TEMPLATE, "What each replica is.", required=True),
                    *(
                        Field(name, "", _ACCEPTED, "Accepted; here all replicas change at once.")
                        for name in ("strategy", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
                    ),
                ),
                names("paused"),
            ),
            "What the Deployment consists of.",
            required=True,
        ),
        Field("status", "", _ACCEPTED, "Not read: the replicas' own Pod documents say how they are."),
    ),
)
