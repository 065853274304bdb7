"""nslab's checks beyond Kubernetes' types, as JSON Schema that is merged into that of a kind or a definition.

These are patterns, ranges and enumerations of fields that nslab acts on. The checks of Services are in
`validate_services`, which has the API server's own messages.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def names(listed: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(listed.split())


def text(pattern: str, words: str, longest: int = 0) -> Schema:
    """A string of a pattern; `words` describes the pattern."""
    limit = {"maxLength": longest} if longest else {}
    return {"type": "string", "pattern": pattern, "$comment": words, **limit}


def number(low: int, high: int = 2**31 - 1) -> Schema:
    """A whole number in a range (inclusive)."""
    return {"type": "integer", "minimum": low, "maximum": high}


def words(listed: str) -> Schema:
    """One of a few words."""
    return {"enum": listed.split()}


def table(value: Schema, key: Schema) -> Schema:
    """A mapping with arbitrary keys."""
    return {"type": "object", "additionalProperties": value, "propertyNames": key}


STRING: Schema = {"type": "string"}
SOME: Schema = {"type": "string", "minLength": 1}
LABEL = text("[a-z0-9]([-a-z0-9]*[a-z0-9])?", "lower case letters, digits and '-', no '-' first or last", 63)
"""A DNS label (RFC 1123), which Kubernetes requires for most names."""
NAME = text("[!-$&-.0-~]+", "printable ASCII characters other than '/' and '%'", 253)
SUBDOMAIN = text(
    rf"{LABEL['pattern']}(\.{LABEL['pattern']})*", "lower case letters, digits and '-', in parts joined by '.'", 253
)
"""A DNS subdomain, which Kubernetes requires for the other names."""
NODE_NAME = {**SUBDOMAIN, "maxLength": 63}
"""Linux's host names have at most 64 bytes."""
BASE = text(f"({NAME['pattern']})?", NAME["$comment"], 253)
POD_BASE = text(
    rf"({LABEL['pattern']}\.)*([a-z0-9][-a-z0-9]*)?", "lower case letters, digits and '-', in parts joined by '.'", 253
)
"""The beginning of a generated name; "" is none."""
PORT_NAME = text("[a-z0-9-]*[a-z][a-z0-9-]*", "lower case letters (one at least), digits and '-'", 15)
QUALIFIED = text(
    "([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?",
    "[PREFIX/]NAME of letters, digits, '-', '_' and '.'",
    317,
)
VALUE = text("([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?", "letters, digits, '-', '_' and '.'", 63)
VARIABLE = text("[ -<>-~]+", "printable ASCII characters other than '='")
UID = text("[0-9A-Za-z]([-0-9A-Za-z]*[0-9A-Za-z])?", "letters, digits and '-'", 63)
LABELS = table(VALUE, QUALIFIED)
COUNT, POSITIVE, PORT = number(0), number(1), number(1, 65535)
PORT_OR_NAME: Schema = {"anyOf": [PORT, PORT_NAME]}
META = {"$ref": "#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta", "required": ["name"]}
NOBODY = -1
"""Replaces an unreadable user id, which need not be root."""
NAME_OF_HOST = text("[a-z0-9]([-a-z0-9.]*[a-z0-9])?", "lower case letters, digits, '-' and '.'", 253)
KEY = text("(?!\\.\\.|\\.$)[-._a-zA-Z0-9]+", "letters, digits, '-', '_' and '.', and begin with no '..'", 253)
INSIDE = text("(?!/)(?!(.*/)?\\.\\.(/|$)).*", "a relative path without '..'")
USER = {"runAsUser": {**COUNT, "otherwise": NOBODY}, "runAsGroup": COUNT}


def kind(name: Schema = NAME, *required: str, base: Schema = BASE) -> Schema:
    """An object with a name. `base`: of a name that is generated."""
    metadata = {**META, "properties": {"name": name, "generateName": base}}
    return {"properties": {"metadata": metadata}, "required": ["metadata", *required]}


def fields(**of: Schema) -> Schema:
    """A mapping with rules for some of its fields."""
    return {"properties": of}


def holding(*of: str) -> Schema:
    """An object that holds texts by keys, in these fields."""
    return {**kind(), "properties": {**kind()["properties"], **dict.fromkeys(of, table(STRING, KEY))}}


_OPEN: dict[str, Any] = {"additionalProperties": True}
FOREIGN = {
    **fields(
        apiVersion=text("[a-z0-9][-a-z0-9.]*/v[a-z0-9]+", "GROUP/VERSION", 253),
        kind=text("[A-Z][A-Za-z0-9]*", "a word of letters, the first a capital", 63),
        metadata={**fields(name=NAME, generateName=BASE, namespace=LABEL), "required": ["name"], **_OPEN},
    ),
    "required": ["metadata"],
    **_OPEN,
}
"""An object of another API group: it only needs kind and name."""
RULES: dict[str, Schema] = {
    "Pod": kind(SUBDOMAIN, "spec", base=POD_BASE),
    "Deployment": kind(SUBDOMAIN, "spec", base=POD_BASE),
    **dict.fromkeys(
        names("CronJob DaemonSet Job ReplicaSet ReplicationController StatefulSet"), kind(SUBDOMAIN, base=POD_BASE)
    ),
    "Service": kind(SOME, "spec"),
    "EndpointSlice": kind(SOME),
    "ObjectMeta": fields(namespace=LABEL, uid=UID, labels=LABELS, annotations=table(STRING, QUALIFIED)),
    "OwnerReference": {"required": []},  # nslab's own have no uid
    "LabelSelector": fields(matchLabels=LABELS),
    "LabelSelectorRequirement": fields(key=QUALIFIED, values={"type": "array", "items": VALUE}),
    "NodeSelectorRequirement": fields(key=QUALIFIED),
    "ServiceSpec": fields(selector=LABELS),
    "PodSpec": fields(
        nodeName=NODE_NAME,
        hostname=LABEL,
        subdomain=LABEL,
        restartPolicy=words("Always OnFailure Never"),
        dnsPolicy=words("ClusterFirst ClusterFirstWithHostNet Default None"),
        preemptionPolicy=words("Never PreemptLowerPriority"),
        containers={"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/io.k8s.api.core.v1.Container"}},
    ),
    "PodStatus": fields(podIP={"type": "string", "format": "ipv4"}),
    "Container": fields(
        name=LABEL,
        workingDir=text("/.*", "an absolute path"),
        imagePullPolicy=words("Always IfNotPresent Never"),
        terminationMessagePolicy=words("FallbackToLogsOnError File"),
    ),
    "ContainerPort": fields(containerPort=PORT, hostPort=PORT, name=PORT_NAME, protocol=words("TCP UDP SCTP")),
    "ConfigMap": holding("data", "binaryData"),
    "Secret": holding("data", "stringData"),
    "HostAlias": fields(ip=text("[0-9a-fA-F.:]+", "an IP address"), hostnames={"type": "array", "items": NAME_OF_HOST}),
    "Volume": fields(name=LABEL),
    "VolumeMount": fields(mountPath=text("[^:]+", "a path without ':'"), subPath=INSIDE, subPathExpr=INSIDE),
    "KeyToPath": fields(path=INSIDE),
    "DownwardAPIVolumeFile": fields(path=INSIDE),
    "EnvVar": fields(name=VARIABLE),
    "HTTPGetAction": fields(port=PORT_OR_NAME, scheme=words("HTTP HTTPS")),
    "TCPSocketAction": fields(port=PORT_OR_NAME),
    "Probe": fields(
        initialDelaySeconds=COUNT,
        periodSeconds=POSITIVE,
        timeoutSeconds=POSITIVE,
        successThreshold=POSITIVE,
        failureThreshold=POSITIVE,
    ),
    "SecurityContext": fields(**USER),
    "PodSecurityContext": fields(**USER, fsGroup=COUNT, supplementalGroups={"type": "array", "items": COUNT}),
    "ResourceRequirements": fields(
        limits=table({"format": "quantity"}, {"format": "resource"}),
        requests=table({"format": "quantity"}, {"format": "resource"}),
    ),
}
