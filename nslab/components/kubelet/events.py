"""What happens to the pods of a node, as the kubelet records it: Kubernetes' Events, in memory alone.

Equal ones are counted instead of repeated; beyond the bounds, those that happened longest ago go.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nslab.components.kubelet.container import Spec
    from nslab.components.kubelet.sandbox import PodSandbox

    Key = tuple[str, str, str, str, str, str]

MOST = 512
"""The most events of a node."""
LONGEST = 1024
"""The characters of a message; the API server takes no more."""
SIMILAR = 10
"""So many may differ in their messages alone; further ones count as one (client-go's EventCorrelator)."""
STARTED = "Container started"
COMBINED = "(combined from similar events): "
_NAMES = ("namespace", "pod", "uid", "path", "reason", "message")


class Events:
    """The events of a node's pods, each with the times of its first and its last occurrence, and their number."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[Key, tuple[float, float, int]] = {}

    def record(self, pod: PodSandbox, path: str, reason: str, message: str) -> None:
        """Record that something has happened. `path`: the field of the container that it happened to; "": the pod."""
        now, about = time.time(), (pod.namespace, pod.pod, pod.uid, path, reason)
        key: Key = (*about, message[:LONGEST])
        before = key
        if key not in self._seen and sum(other[:5] == about for other in self._seen) >= SIMILAR:
            key = (*about, (COMBINED + message)[:LONGEST])
            before = next((other for other in self._seen if _is_combined(other, about)), key)
        first, _, count = self._seen.pop(before, (now, now, 0))
        self._seen[key] = (first, now, count + 1)  # at the end: the first one happened longest ago
        while len(self._seen) > MOST:
            del self._seen[next(iter(self._seen))]

    def listed(self) -> list[dict[str, Any]]:
        """All of them; times in seconds since 1970."""
        return [
            {**dict(zip(_NAMES, key, strict=True)), "first": first, "last": last, "count": count}
            for key, (first, last, count) in self._seen.items()
        ]


def path(spec: Spec) -> str:
    """The field of the pod that has a container."""
    return f"spec.{'initContainers' if spec.init else 'containers'}{{{spec.container}}}"


def made(pod: PodSandbox, node: str, *, anew: bool) -> tuple[str, str]:
    """The reason and the message of a pod that is there. `anew`: after the end of its first sandbox."""
    if anew:
        return "SandboxChanged", "Pod sandbox changed, it will be killed and re-created."
    return "Scheduled", f"Successfully assigned {pod.namespace}/{pod.pod} to {node}"


def pulled(spec: Spec) -> str:
    """What an image comes from: nslab pulls none."""
    if spec.argv[0] == "standin":
        return f'A stand-in plays container image "{spec.image}"'
    return f'Container image "{spec.image}" already present on machine and can be accessed by the pod'


def back_off(pod: PodSandbox, container: str, seconds: float) -> tuple[str, str]:
    """The message of a container that waits for its restart, and of the event."""
    where = f"{pod.pod}_{pod.namespace}({pod.uid})"
    minutes, rest = divmod(round(seconds), 60)
    wait = f"{minutes}m{rest}s" if minutes else f"{seconds:g}s"
    message = f"back-off {wait} restarting failed container={container} pod={where}"
    return message, f"Back-off restarting failed container {container} in pod {where}"


def _is_combined(key: Key, about: tuple[str, ...]) -> bool:
    return key[:5] == about and key[5].startswith(COMBINED)
