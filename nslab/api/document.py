"""One object of the Kubernetes API: its complete plain value, and its path in the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.rules import names
from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from nslab.errors import FieldPath

STDIN = "-"
"""The path that means standard input."""
EXISTING = -1
"""The document index of objects that come from no file: they existed before."""
CLUSTER_WIDE = names(
    """
    APIService CSIDriver CSINode CertificateSigningRequest ClusterRole ClusterRoleBinding ClusterTrustBundle
    CustomResourceDefinition DeviceClass FlowSchema IPAddress IngressClass Namespace Node PersistentVolume PriorityClass
    PriorityLevelConfiguration RuntimeClass ServiceCIDR StorageClass VolumeAttachment VolumeAttributesClass
    """
)
"""Kinds whose objects have no namespace."""


SERVER_SET = names(
    """
    creationTimestamp deletionGracePeriodSeconds deletionTimestamp generation managedFields resourceVersion selfLink
    """
)
"""Metadata that only the API server sets."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def as_applied(value: dict[str, Any]) -> dict[str, Any]:
    """Remove from an object, in place, what an API server adds, and `kubectl get -o yaml` prints; returns the object.

    A load balancer's address stays: it comes from a real load balancer.
    """
    metadata, status = value.get("metadata", {}), value.pop("status", None) or {}
    if not SERVER_SET.isdisjoint(metadata):
        for name in SERVER_SET & metadata.keys():
            del metadata[name]
    metadata.get("annotations", {}).pop(LAST_APPLIED, None)
    if value.get("kind") == "Service" and "loadBalancer" in status:
        value["status"] = {"loadBalancer": status["loadBalancer"]}
    return value


@dataclass(slots=True)
class Document:
    """An object of the API as a complete plain value, defaulted in place, and its path in the stream.

    `made`: nslab created it from the object at that path (a replica from its Deployment). `view`: its typed view.
    """

    value: dict[str, Any]
    path: FieldPath = (EXISTING,)
    made: bool = False
    view: Any = None

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.value["kind"])

    @property
    def metadata(self) -> dict[str, Any]:
        """Its metadata."""
        return self.value.setdefault("metadata", {})  # type: ignore[no-any-return]

    @property
    def spec(self) -> dict[str, Any]:
        """Its spec."""
        return self.value.setdefault("spec", {})  # type: ignore[no-any-return]

    @property
    def name(self) -> str:
        """Its name, or ""."""
        return str(self.metadata.get("name", ""))

    @property
    def namespace(self) -> str:
        """Its namespace; "" for a cluster-wide kind."""
        return "" if self.kind in CLUSTER_WIDE else str(self.metadata.get("namespace", "default"))

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return self.metadata.get("labels", {})  # type: ignore[no-any-return]
