"""The list of pods, as in `kubectl get pods -o wide`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.duration import duration, moment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nslab.lab.types import Container, Pod

    Status = Mapping[str, Any]


def pod_row(pod: Pod, status: Status, running: Iterable[str], *, pause: bool, age: float, now: float) -> dict[str, Any]:
    """One pod's row. `status`: its node's report; `running`: the containers with a live process.

    A dead node process leaves an old report, so a container without a process counts as not running.
    """
    reported = status.get("containers", {})
    there = set(running)
    entries = [_seen(reported.get(container.name), container.name in there) for container in pod.containers]
    inits = [_seen(reported.get(container.name), container.name in there) for container in pod.init]
    sidecars = [entry for entry, container in zip(inits, pod.init, strict=True) if container.sidecar]
    phase = status.get("phase", "Pending")
    initializing = _initializing(pod, inits) if phase in ("Pending", "Failed") else ""
    ready = [entry for entry in (*sidecars, *entries) if pause and entry["ready"]]
    count, last = restarts(inits if initializing else (*sidecars, *entries))
    return {
        "namespace": pod.namespace,
        "name": pod.name,
        "ready": len(ready) == len(sidecars) + len(entries),
        "readyContainers": len(ready),
        "containers": len(sidecars) + len(entries),
        "status": word(pod, entries, phase, initializing) if pause else "NotRunning",
        "restarts": count,
        "secondsSinceRestart": int(now - last) if last else None,
        "ageSeconds": int(age) if pause else None,
        "ip": str(pod.assigned),
        "node": pod.node,
        "containerStatuses": _statuses(pod.containers, entries),
        "initContainerStatuses": _statuses(pod.init, inits),
    }


def _statuses(containers: Iterable[Container], entries: Iterable[Status]) -> list[dict[str, Any]]:
    return [container_status(container.name, entry) for container, entry in zip(containers, entries, strict=True)]


def _initializing(pod: Pod, inits: Sequence[Status]) -> str:
    """kubectl's word for a pod whose init containers are not through."""
    for number, (container, entry) in enumerate(zip(pod.init, inits, strict=True)):
        state, reason = entry["state"], entry["reason"]
        if (state == "terminated" and entry.get("exit_code") == 0) or (
            container.sidecar and state == "running" and not entry.get("starting")
        ):
            continue
        if state == "terminated":
            return f"Init:{reason}"
        return f"Init:{reason}" if reason not in ("", "PodInitializing") else f"Init:{number}/{len(pod.init)}"
    return ""


def columns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a table: without the namespace, if it is the same for all and says nothing."""
    default = {row["namespace"] for row in rows} <= {"default"}
    return [
        {
            **({} if default else {"namespace": row["namespace"]}),
            "name": row["name"],
            "ready": f"{row['readyContainers']}/{row['containers']}",
            "status": row["status"],
            "restarts": _ago(row["restarts"], row["secondsSinceRestart"]),
            "age": "<none>" if row["ageSeconds"] is None else duration(row["ageSeconds"]),
            "ip": row["ip"],
            "node": row["node"],
        }
        for row in rows
    ]


def _ago(count: int, seconds: int | None) -> str:
    return f"{count}" if seconds is None else f"{count} ({duration(seconds)} ago)"


def container_status(name: str, entry: Status) -> dict[str, Any]:
    """The containerStatus of the API: the present state, and in `lastState` the end of the previous run."""
    match entry["state"]:
        case "running":
            state = {"running": _present(startedAt=_moment(entry.get("started")))}
        case "waiting":
            state = {"waiting": _present(reason=entry["reason"], message=entry.get("message"))}
        case _:
            state = {"terminated": _terminated(entry)}
    last = entry.get("last")
    return {
        "name": name,
        "ready": entry["ready"],
        "restartCount": entry["restarts"],
        "started": entry["state"] == "running" and not entry.get("starting"),
        "state": state,
        "lastState": {"terminated": _terminated(last)} if last else {},
    }


def why_absent(entry: Status) -> str:
    """Why a container does not run, by its node's report, and what happens next; "" if it should run."""
    last = entry.get("last")
    match entry["state"], entry["reason"]:
        case "waiting", "CrashLoopBackOff" if last:
            return f"{_how(last)}, and is started again after a back-off"
        case "terminated", _:
            return f"{_how(entry)}, and is not started again"
        case "waiting", _:
            return "it is just being started"
    return ""


def _how(run: Status) -> str:
    why = f"{run['reason']}: {run['message']}" if run.get("message") else run["reason"]
    return f"it ended ({why}; exit code {run['exit_code']})"


def _terminated(run: Status) -> dict[str, Any]:
    return _present(
        exitCode=run.get("exit_code"),
        reason=run["reason"],
        message=run.get("message"),
        startedAt=_moment(run.get("started")),
        finishedAt=_moment(run.get("finished")),
    )


def _present(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, "")}


def _moment(seconds: float | None) -> str | None:
    return moment(seconds) if seconds else None


def word(pod: Pod, entries: Iterable[Status], phase: str, initializing: str) -> str:
    """The word in the column STATUS. `initializing`: how far its init containers are, while they are not through."""
    if pod.deletion and phase not in ("Succeeded", "Failed"):
        return "Terminating"
    return initializing or condition(entries, phase)


def condition(entries: Iterable[Status], phase: str) -> str:
    """The word in the column STATUS: the reason of the first container that has one, else the phase."""
    every = list(entries)
    word = phase
    for entry in reversed(every):
        word = entry["reason"] or word
    # kubectl does not print Completed while other containers run; the pod is not ready.
    return "NotReady" if word == "Completed" and any(entry["ready"] for entry in every) else word


def restarts(entries: Iterable[Status]) -> tuple[int, float]:
    """How often its containers were started again, and when one last ended; 0: none was."""
    again = [entry for entry in entries if entry["restarts"]]
    last = max((entry.get("finished", 0.0) for entry in again), default=0.0)
    return sum(entry["restarts"] for entry in again), last


def _seen(reported: Status | None, there: bool) -> Status:
    if reported is None:
        reason = "" if there else "ContainerCreating"
        return {"ready": False, "restarts": 0, "state": "running" if there else "waiting", "reason": reason}
    if reported["state"] == "running" and not there:
        return {**reported, "ready": False, "state": "terminated", "reason": "NotRunning", "exit_code": None}
    return reported
