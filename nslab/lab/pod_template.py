"""The hash of a controller's pod template. Pure.

It covers each field, also those that nslab does not act on: a change of any makes a rollout. As in the API, a field
that is not set and one that is set to its default are the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nslab.api.suffix import letters

if TYPE_CHECKING:
    from nslab.api.pod_types import Pod

_CONTAINER = {
    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
    "stdin": False, "stdinOnce": False, "tty": False,
}  # fmt: skip
_PROBE = {
    "initialDelaySeconds": 0, "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
}  # fmt: skip
_MODE = {"defaultMode": 0o644}
DEFAULTS: dict[str, dict[str, Any]] = {
    "spec": {
        "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
        "terminationGracePeriodSeconds": 30, "enableServiceLinks": True,
        "hostNetwork": False, "hostPID": False, "hostIPC": False,
    },
    **dict.fromkeys(("containers", "initContainers"), _CONTAINER),
    **dict.fromkeys(("readinessProbe", "livenessProbe", "startupProbe"), _PROBE),
    **dict.fromkeys(("configMap", "secret", "projected", "downwardAPI"), _MODE),
    "ports": {"protocol": "TCP", "hostPort": 0},
    "httpGet": {"scheme": "HTTP", "path": "/"},
    "volumeMounts": {"readOnly": False},
    "fieldRef": {"apiVersion": "v1"},
}  # fmt: skip
"""The API's defaults (pkg/apis/core/v1/defaults.go), by the field that holds the object, or the list of objects."""
_EMPTY: tuple[Any, ...] = (None, "", {}, [])


def template_hash(template: Pod) -> str:
    """The pod-template-hash, which distinguishes the replicas of one template from those of the next."""
    parts = {part: _plain(value, part) for part, value in template.document.items() if part in ("metadata", "spec")}
    return letters(json.dumps(parts, sort_keys=True), 10)


def _plain(value: Any, field: str) -> Any:
    """A field's value without what is not set or is the default."""
    match value:
        case dict():
            defaults = DEFAULTS.get(field, {}) | _pulled(value)
            found = ((name, _plain(part, name)) for name, part in value.items() if not _is(part, defaults.get(name)))
            return {name: part for name, part in found if part not in _EMPTY}
        case list():
            return [_plain(part, field) for part in value]
    return value


def _is(value: Any, default: Any) -> bool:
    return type(value) is type(default) and bool(value == default)


def _pulled(container: dict[str, Any]) -> dict[str, str]:
    """The default imagePullPolicy of a container: by its image's tag."""
    name, _, digest = str(container.get("image") or "").partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return {"imagePullPolicy": "IfNotPresent" if digest or tag not in ("", "latest") else "Always"}
