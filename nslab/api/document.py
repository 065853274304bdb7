"""One object of Kubernetes' API: a plain value, whole, and where it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.rules import names
from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from nslab.errors import FieldPath

STDIN = "-"
"""Stands for the path of a file: standard input."""
EXISTING = -1
"""The place of what comes from no file: it was there before."""
CLUSTER_WIDE = names(
    """
    APIService CSIDriver CSINode CertificateSigningRequest ClusterRole ClusterRoleBinding ClusterTrustBundle
    CustomResourceDefinition DeviceClass FlowSchema IPAddress IngressClass Namespace Node PersistentVolume PriorityClass
    PriorityLevelConfiguration RuntimeClass ServiceCIDR StorageClass VolumeAttachment VolumeAttributesClass
    """
)
"""Kinds whose objects are in no namespace."""


SERVER_SET = names(
    """
    creationTimestamp deletionGracePeriodSeconds deletionTimestamp generation managedFields resourceVersion selfLink
    """
)
"""What of an object's metadata is never its user's."""
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def as_applied(value: dict[str, Any]) -> dict[str, Any]:
    """An object as one applies it, in place: without what an API server adds, which `kubectl get -o yaml` prints.

    A load balancer's address is what an administrator's load balancer gave; nslab has none that would give another.
    """
    metadata, status = value.get("metadata", {}), value.pop("status", None) or {}
    for name in SERVER_SET & metadata.keys():
        del metadata[name]
    metadata.get("annotations", {}).pop(LAST_APPLIED, None)
    if value.get("kind") == "Service" and "loadBalancer" in status:
        value["status"] = {"loadBalancer": status["loadBalancer"]}
    return value


@dataclass(slots=True)
class Document:
    """An object of the API, whole, as a plain value that is defaulted in place; and where the stream has it.

    `made`: nslab made it, of what stands there (a replica of its Deployment). `view`: what nslab makes of it.
    """

    value: dict[str, Any]
    path: FieldPath = (EXISTING,)
    made: bool = False
    view: Any = None

    @property
    def kind(self) -> str:
        """What it is."""
        return str(self.value["kind"])

    @property
    def metadata(self) -> dict[str, Any]:
        """What it is called."""
        return self.value.setdefault("metadata", {})  # type: ignore[no-any-return]

    @property
    def spec(self) -> dict[str, Any]:
        """What it is to be."""
        return self.value.setdefault("spec", {})  # type: ignore[no-any-return]

    @property
    def name(self) -> str:
        """Its name, or ""."""
        return str(self.metadata.get("name", ""))

    @property
    def namespace(self) -> str:
        """Its namespace; "" for what is in none."""
        return "" if self.kind in CLUSTER_WIDE else str(self.metadata.get("namespace", "default"))

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return self.metadata.get("labels", {})  # type: ignore[no-any-return]
