"""The pods of a running lab as the API has them, and the list of them, as in `kubectl get pods -o wide`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.duration import duration, moment, seconds_of
from nslab.api.pod_status import (
    counted_containers,
    pod_status,
    ready_containers,
    restarts,
    restarts_text,
)
from nslab.lab import dump
from nslab.views.conditions import conditions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nslab.api.pod_types import Container, Pod

    Status = Mapping[str, Any]
    Object = dict[str, Any]

NOT_RUNNING = "NotRunning"


def live_pod(pod: Pod, report: Status, running: Iterable[str], created: float | None) -> Object:
    """A pod as the API has it, with its status by its node's report.

    `running`: the containers with a live process. A dead node process leaves an old report, so a container without a
    process counts as not running. `created`: when its sandbox came up (seconds since the epoch); None: it has none,
    so nothing of it runs.
    """
    there, sandbox = frozenset(running), created is not None

    def statuses(containers: Iterable[Container]) -> list[Object]:
        entries = report.get("containers", {})
        seen = (
            (one.name, _seen(entries.get(one.name), there=one.name in there, sandbox=sandbox)) for one in containers
        )
        return [container_status(name, entry) for name, entry in seen]

    document = dump.pod(pod)
    status = {
        **document.get("status", {}),
        "phase": report.get("phase") or document.get("status", {}).get("phase", "Pending"),
        **({} if sandbox else {"reason": NOT_RUNNING}),
        "containerStatuses": statuses(pod.containers),
        **({"initContainerStatuses": statuses(pod.init)} if pod.init else {}),
    }
    if pod.assigned:
        status |= {"podIP": str(pod.assigned), "podIPs": [{"ip": str(pod.assigned)}]}
    metadata = {**({} if created is None else {"creationTimestamp": moment(created)}), **document["metadata"]}
    whole = {**document, "metadata": metadata, "status": status}
    found = conditions(whole, sandbox=sandbox, since=report.get("since", 0.0))
    return {**whole, "status": {**status, "conditions": found}}


def pending_pod(pod: Pod, message: str, created: float) -> Object:
    """A pod that waits for a node. `message`: the scheduler's. `created`: in seconds since 1970; 0: nobody knows."""
    document = dump.pod(pod)
    if created:
        document["metadata"] = {"creationTimestamp": moment(created), **document["metadata"]}
    why = {"reason": "Unschedulable", "message": message}
    condition = {"type": "PodScheduled", "status": "False", **why}
    return {**document, "status": {"phase": "Pending", "conditions": [condition], "containerStatuses": []}}


def pod_row(pod: Object, now: float) -> dict[str, Any]:
    """One pod's row, of a pod as the API has it."""
    status, ready, count = pod["status"], ready_containers(pod), counted_containers(pod)
    restarted, last = restarts(pod)
    created = pod["metadata"].get("creationTimestamp")
    return {
        "namespace": pod["metadata"]["namespace"],
        "name": pod["metadata"]["name"],
        "ready": ready == count,
        "readyContainers": ready,
        "containers": count,
        "status": pod_status(pod),
        "restarts": restarted,
        "secondsSinceRestart": int(now - last) if last else None,
        "ageSeconds": int(now - seconds_of(created)) if created else None,
        "ip": status.get("podIP", ""),
        "node": pod["spec"].get("nodeName", ""),
        "containerStatuses": status["containerStatuses"],
        "initContainerStatuses": status.get("initContainerStatuses", []),
    }


def columns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a table: without the namespace, if it is the same for all and says nothing."""
    default = {row["namespace"] for row in rows} <= {"default"}
    return [
        {
            **({} if default else {"namespace": row["namespace"]}),
            "name": row["name"],
            "ready": f"{row['readyContainers']}/{row['containers']}",
            "status": row["status"],
            "restarts": restarts_text(row["restarts"], row["secondsSinceRestart"]),
            "age": "<none>" if row["ageSeconds"] is None else duration(row["ageSeconds"]),
            "ip": row["ip"] or "<none>",
            "node": row["node"] or "<none>",
        }
        for row in rows
    ]


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


def _seen(reported: Status | None, *, there: bool, sandbox: bool) -> Status:
    """What is true of a container, by its node's report and by the processes that there are."""
    if reported is None and sandbox:
        reason = "" if there else "ContainerCreating"
        return {"ready": False, "restarts": 0, "state": "running" if there else "waiting", "reason": reason}
    found = reported or {"restarts": 0, "state": "waiting"}
    if found["state"] == "terminated" or (sandbox and (there or found["state"] == "waiting")):
        return found
    return {**found, "ready": False, "state": "terminated", "reason": NOT_RUNNING, "exit_code": None}
