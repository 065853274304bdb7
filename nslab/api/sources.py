"""Where the variables of containers come from: what pods say of it, and what ConfigMaps and Secrets hold (pure)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

from nslab.api import quantity
from nslab.dataclass import dataclass
from nslab.runtime.cgroups import MEMORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import TypeAlias

    Stored: TypeAlias = Mapping[tuple[str, ...], Mapping[str, Any]]
    """ConfigMaps and Secrets, by kind, namespace and name."""

CONFIG_MAP, SECRET, FIELD = "ConfigMap", "Secret", "field"
FIELDS = (
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
    "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
)  # fmt: skip
"""Fields of a pod that a variable can have."""
KEYED = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")
"""One label or annotation."""
EVERYWHERE = "kube-root-ca.crt"
"""A ConfigMap that a cluster makes in each namespace, and nslab does not."""
ALLOCATABLE = {"cpu": "1", "memory": str(MEMORY)}
"""What a container may use that names no limit."""


@dataclass(frozen=True, slots=True)
class ValueSource:
    """Where a value comes from: a key of the ConfigMap or Secret `name`, or a field of the pod (`key`: its path)."""

    kind: str
    key: str
    name: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class VariablesSource:
    """A ConfigMap or Secret whose keys are variables."""

    kind: str
    name: str
    prefix: str = ""
    optional: bool = False


def variables(container: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The variables of a container, by name; "" stands for a value that comes from elsewhere."""
    for one in container.get("env", ()):
        asked = one.get("valueFrom", {}).get("resourceFieldRef")
        yield one.get("name", ""), resource(container, asked) if asked else one.get("value", "")


def value_sources(container: dict[str, Any]) -> Iterator[tuple[int, ValueSource]]:
    """Where values come from, by the place of their variable in `variables`."""
    for index, one in enumerate(container.get("env", ())):
        if source := value_source(one.get("valueFrom", {})):
            yield index, source


def value_source(fields: dict[str, Any]) -> ValueSource | None:
    """Where one value comes from; None if it does not come from elsewhere."""
    for word, kind in (("configMapKeyRef", CONFIG_MAP), ("secretKeyRef", SECRET)):
        if ref := fields.get(word):
            return ValueSource(kind, ref.get("key", ""), ref.get("name", ""), bool(ref.get("optional")))
    ref = fields.get("fieldRef")
    return ValueSource(FIELD, ref.get("fieldPath", "")) if ref else None


def variables_sources(container: dict[str, Any]) -> Iterator[VariablesSource]:
    """The ConfigMaps and Secrets whose keys are variables of a container."""
    for one in container.get("envFrom", ()):
        for word, kind in (("configMapRef", CONFIG_MAP), ("secretRef", SECRET)):
            if ref := one.get(word):
                optional = bool(ref.get("optional"))
                yield VariablesSource(kind, ref.get("name", ""), one.get("prefix", ""), optional)


def resource(container: dict[str, Any], asked: dict[str, Any]) -> str:
    """A limit or request of a container, in units of a divisor, rounded up: `resourceFieldRef`."""
    which, _, name = str(asked.get("resource", "")).partition(".")
    resources = container.get("resources", {})
    limit = resources.get("limits", {}).get(name)
    if which == "limits":
        quantity = limit if _milli(limit) else ALLOCATABLE.get(name, "0")
    else:
        quantity = resources.get("requests", {}).get(name, limit or "0")
    divisor = _milli(asked.get("divisor")) or 1000
    return str(-(-_milli(quantity) // divisor))


def _milli(text: Any) -> int:
    """A quantity in thousandths; a value that is none counts as 0."""
    return quantity.thousandths(str(text)) if text else 0


def holds(kind: str, document: Mapping[str, Any]) -> dict[str, bytes]:
    """What a ConfigMap or Secret holds, by key. What is no base64 is left out."""
    encoded = document.get("binaryData" if kind == CONFIG_MAP else "data") or {}
    plain = document.get("data" if kind == CONFIG_MAP else "stringData") or {}
    found = {key: value for key, text in encoded.items() if (value := decoded(text)) is not None}
    return found | {key: str(text).encode("utf-8", "surrogatepass") for key, text in plain.items()}


def decoded(text: Any) -> bytes | None:
    """The bytes of a text in base64, which may have line breaks; None if it is none."""
    try:
        return base64.b64decode("".join(str(text).split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def stored(objects: Iterable[tuple[str, str, str, Mapping[str, Any]]]) -> Stored:
    """The ConfigMaps and Secrets among objects, each given by kind, namespace, name and document."""
    return {(kind, *name): value for kind, *name, value in objects if kind in (CONFIG_MAP, SECRET)}
