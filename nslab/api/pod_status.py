"""What a pod's status comes to in one word, as kubectl's column STATUS has it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from nslab.api.duration import duration

Object = dict[str, Any]


def pod_status(pod: Object) -> str:
    """Its phase; or why the first container that has a reason does not run; or that it is being deleted."""
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    status = pod.get("status", {})
    if (word := _initializing(pod)) is not None:
        return word
    word, running = status.get("reason") or status.get("phase", "Pending"), False
    for one in reversed(status.get("containerStatuses", ())):
        state = one.get("state", {})
        if reason := state.get("waiting", {}).get("reason"):
            word = reason
        elif "terminated" in state:
            word = _ended(state["terminated"])
        elif one.get("ready") and "running" in state:
            running = True
    # One that has done its work is no reason to call the others completed.
    if word == "Completed" and running:
        return "Running" if _is_ready(status) else "NotReady"
    return str(word)


def _initializing(pod: Object) -> str | None:
    """The word of a pod whose init containers are not through."""
    containers = pod["spec"].get("initContainers", ())
    every = pod.get("status", {}).get("initContainerStatuses", ())
    for number, one in enumerate(every):
        state = one.get("state", {})
        sidecar = number < len(containers) and containers[number].get("restartPolicy") == "Always"
        if state.get("terminated", {}).get("exitCode") == 0 or (sidecar and one.get("started")):
            continue
        if "terminated" in state:
            return f"Init:{_ended(state['terminated'])}"
        reason = state.get("waiting", {}).get("reason", "")
        return f"Init:{reason}" if reason not in ("", "PodInitializing") else f"Init:{number}/{len(containers)}"
    return None


def _ended(state: Object) -> str:
    if reason := state.get("reason"):
        return str(reason)
    return f"Signal:{state['signal']}" if state.get("signal") else f"ExitCode:{state.get('exitCode', 0)}"


def _is_ready(status: Object) -> bool:
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in status.get("conditions", ()))


def ready_containers(pod: Object) -> int:
    """How many containers run and are ready."""
    status = pod.get("status", {})
    every = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    return sum(bool(one.get("ready")) and "running" in one.get("state", {}) for one in every)


def restarts(pod: Object, now: float) -> str:
    """How often its containers were started again, and when one last ended, if one was."""
    every = pod.get("status", {}).get("containerStatuses", ())
    count = sum(one.get("restartCount", 0) for one in every)
    ends = [one.get("lastState", {}).get("terminated", {}).get("finishedAt") for one in every]
    times = [datetime.fromisoformat(end).timestamp() for end in ends if end]
    return f"{count} ({duration(now - max(times))} ago)" if count and times else str(count)
