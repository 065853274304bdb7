"""What `kubectl get pods` derives from a pod's status: its READY, STATUS and RESTARTS (Kubernetes' printPod)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.duration import duration, seconds_of

if TYPE_CHECKING:
    from collections.abc import Sequence

Object = dict[str, Any]


def pod_status(pod: Object) -> str:
    """Its phase; or why the first container that has a reason does not run; or that it is being deleted."""
    status = pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp") and status.get("phase") not in ("Succeeded", "Failed"):
        return "Terminating"
    if _is_initializing(pod):
        return _initializing(pod)
    word, running = status.get("reason") or status.get("phase", "Pending"), False
    for one in reversed(status.get("containerStatuses", ())):
        state = one.get("state", {})
        if reason := state.get("waiting", {}).get("reason"):
            word = reason
        elif "terminated" in state:
            word = _ended(state["terminated"])
        elif _runs_ready(one):
            running = True
    # One that has done its work is no reason to call the others completed.
    if word == "Completed" and running:
        return "Running" if has_condition(pod, "Ready") else "NotReady"
    return str(word)


def ready_containers(pod: Object) -> int:
    """How many sidecars and containers run and are ready."""
    return sum(_runs_ready(one) for one in (*_sidecar_statuses(pod), *statuses(pod, "containerStatuses")))


def counted_containers(pod: Object) -> int:
    """How many sidecars and containers it has: those that can be ready."""
    spec = pod["spec"]
    return len(spec.get("containers", ())) + sum(map(is_sidecar, spec.get("initContainers", ())))


def restarts(pod: Object) -> tuple[int, float]:
    """How often its containers were started again, and when one last ended (seconds since the epoch; 0: none did).

    While it initializes, those of its init containers count; later, those of its sidecars and containers.
    """
    every = statuses(pod, "initContainerStatuses")
    if not _is_initializing(pod):
        every = (*_sidecar_statuses(pod), *statuses(pod, "containerStatuses"))
    ends = [one.get("lastState", {}).get("terminated", {}).get("finishedAt") for one in every]
    last = max((seconds_of(end) for end in ends if end), default=0.0)
    return sum(one.get("restartCount", 0) for one in every), last


def restarts_text(count: int, seconds: float | None) -> str:
    """The column RESTARTS. `seconds`: how long ago the last restart was, if known."""
    return str(count) if seconds is None or not count else f"{count} ({duration(seconds)} ago)"


def is_initialized(pod: Object) -> bool:
    """Whether its init containers are through, or a regular container was started (the kubelet's condition)."""
    started = any(
        "waiting" not in one.get("state", {}) or one.get("lastState") for one in statuses(pod, "containerStatuses")
    )
    return started or _unfinished(pod) is None


def has_condition(pod: Object, name: str) -> bool:
    """Whether this condition of the pod is True."""
    conditions = pod.get("status", {}).get("conditions", ())
    return any(one.get("type") == name and one.get("status") == "True" for one in conditions)


def _is_initializing(pod: Object) -> bool:
    return _unfinished(pod) is not None and not has_condition(pod, "Initialized")


def _initializing(pod: Object) -> str:
    """The word of a pod whose init containers are not through."""
    number = _unfinished(pod) or 0
    state = statuses(pod, "initContainerStatuses")[number].get("state", {})
    if "terminated" in state:
        return f"Init:{_ended(state['terminated'])}"
    reason = state.get("waiting", {}).get("reason", "")
    count = len(pod["spec"].get("initContainers", ()))
    return f"Init:{reason}" if reason not in ("", "PodInitializing") else f"Init:{number}/{count}"


def _unfinished(pod: Object) -> int | None:
    """The number of the first init container that is not through: not ended with 0, or as a sidecar not started."""
    sidecars = {one.get("name") for one in pod["spec"].get("initContainers", ()) if is_sidecar(one)}
    for number, one in enumerate(statuses(pod, "initContainerStatuses")):
        ended = one.get("state", {}).get("terminated", {}).get("exitCode") == 0
        if not ended and not (one.get("name") in sidecars and one.get("started")):
            return number
    return None


def _ended(state: Object) -> str:
    if reason := state.get("reason"):
        return str(reason)
    return f"Signal:{state['signal']}" if state.get("signal") else f"ExitCode:{state.get('exitCode', 0)}"


def statuses(pod: Object, field: str) -> Sequence[Object]:
    """The statuses of its containers of one kind: containerStatuses, initContainerStatuses."""
    found: Sequence[Object] = pod.get("status", {}).get(field, ())
    return found


def _sidecar_statuses(pod: Object) -> Sequence[Object]:
    sidecars = {one.get("name") for one in pod["spec"].get("initContainers", ()) if is_sidecar(one)}
    return [one for one in statuses(pod, "initContainerStatuses") if one.get("name") in sidecars]


def is_sidecar(container: Object) -> bool:
    """Whether an init container runs beside what follows it."""
    return bool(container.get("restartPolicy") == "Always")


def _runs_ready(status: Object) -> bool:
    return bool(status.get("ready")) and "running" in status.get("state", {})
