"""A pod's conditions, as the kubelet derives them from its containers; and why it is not ready, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.duration import moment
from nslab.api.pod_status import has_condition, is_initialized, is_sidecar, statuses

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Object = dict[str, Any]
    Status = Mapping[str, Any]

OVER = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}
"""The reason why a finished pod is not ready, by its phase."""


def conditions(pod: Object, *, sandbox: bool, since: float = 0.0) -> list[Object]:
    """The conditions of a pod with its phase and its containers' statuses.

    `sandbox`: whether it has one; `since`: when it became ready, in seconds since 1970.
    """
    time = {} if not since or _not_ready(pod) else {"lastTransitionTime": moment(since)}
    ready = _not_ready(pod)
    incomplete = _incomplete(pod)
    return [
        _condition("PodReadyToStartContainers", None if sandbox else ("", "")),
        _condition("Initialized", incomplete),
        _condition("Ready", ready) | time,
        _condition("ContainersReady", ready) | time,
        _condition("PodScheduled", None),
    ]


def _condition(name: str, why: tuple[str, str] | None) -> Object:
    """A condition, False for a reason with a message, or True."""
    reason, message = why or ("", "")
    more = {"reason": reason, "message": message}
    return {"type": name, "status": str(why is None), **{field: text for field, text in more.items() if text}}


def _not_ready(pod: Object) -> tuple[str, str] | None:
    """Why its containers are not all ready: the reason and the message."""
    phase = pod["status"].get("phase", "")
    unready = [one["name"] for one in _serving(pod) if not (one.get("ready") and "running" in one.get("state", {}))]
    if phase in OVER:
        return OVER[phase], ""
    known = {one["name"] for one in statuses(pod, "containerStatuses")}
    unknown = [one["name"] for one in pod["spec"].get("containers", ()) if one["name"] not in known]
    found = (("unknown", unknown), ("unready", unready))
    message = ", ".join(f"containers with {how} status: [{' '.join(names)}]" for how, names in found if names)
    return ("ContainersNotReady", message) if message else None


def _incomplete(pod: Object) -> tuple[str, str] | None:
    """Why its init containers are not through."""
    if is_initialized(pod):
        return None
    left = [one["name"] for one in statuses(pod, "initContainerStatuses") if not _is_complete(pod, one)]
    return "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(left)}]"


def _is_complete(pod: Object, one: Object) -> bool:
    if one["name"] in _sidecars(pod):
        return bool(one.get("started"))
    return bool(one.get("state", {}).get("terminated", {}).get("exitCode") == 0)


def _serving(pod: Object) -> list[Object]:
    """The statuses of the containers that can be ready."""
    sidecars = _sidecars(pod)
    beside = [one for one in statuses(pod, "initContainerStatuses") if one["name"] in sidecars]
    return [*beside, *statuses(pod, "containerStatuses")]


def _sidecars(pod: Object) -> set[str]:
    return {one["name"] for one in pod["spec"].get("initContainers", ()) if is_sidecar(one)}


def why_not_ready(pod: Object, report: Status) -> str:
    """Why a pod is not ready, container by container; "" if it is, or has completed.

    `report`: its node's, which has the last message of probes.
    """
    if has_condition(pod, "Ready") or pod["status"].get("phase") == "Succeeded":
        return ""
    for each in pod["status"].get("conditions", ()):
        if each.get("reason") == "Unschedulable":
            return str(each.get("message", ""))
    if not statuses(pod, "containerStatuses"):
        return "its containers are not created yet"
    return "; ".join(_whys(pod, report.get("containers", {})))


def _whys(pod: Object, entries: Status) -> Iterator[str]:
    every: Sequence[Object] = [*statuses(pod, "initContainerStatuses"), *statuses(pod, "containerStatuses")]
    sidecars = _sidecars(pod)
    before = {one["name"] for one in statuses(pod, "initContainerStatuses")} - sidecars
    for one in every:
        if one["name"] in before and _is_complete(pod, one):
            continue
        message = " ".join(entries.get(one["name"], {}).get("message", "").splitlines())
        if why := _why(one, message):
            yield f"{one['name']}: {why}"


def _why(one: Object, message: str) -> str:
    """Why a container is not ready. `message`: its node's."""
    state = one.get("state", {})
    if "running" in state:
        return "" if one.get("ready") else message or "it is not ready yet"
    if "terminated" in state:
        return _ended(state["terminated"])
    waiting = state.get("waiting", {})
    if waiting.get("reason") == "CrashLoopBackOff" and (last := one.get("lastState", {}).get("terminated")):
        return f"{_ended(last)}; {str(waiting.get('message', '')).partition(' restarting')[0]}".rstrip("; ")
    if waiting.get("reason") == "PodInitializing":
        return ""
    return ": ".join(filter(None, (waiting.get("reason", ""), waiting.get("message", ""))))


def _ended(run: Object) -> str:
    code = run.get("exitCode")
    words = [str(run.get("reason", "")), f"exit code {code}" if code is not None else "", str(run.get("message", ""))]
    return ", ".join(filter(None, words))
