"""What a controller does next about pods of an earlier template: which of them end, and which new ones it makes. Pure.

| kind | strategy | source in Kubernetes, pkg/controller |
|---|---|---|
| Deployment | RollingUpdate (maxSurge, maxUnavailable: 25 %), Recreate | deployment/rolling.go, recreate.go |
| StatefulSet | RollingUpdate (partition, maxUnavailable: 1), OnDelete | statefulset/stateful_set_control.go |
| DaemonSet | RollingUpdate (maxUnavailable: 1, maxSurge: 0), OnDelete | daemon/update.go |
| ReplicaSet, ReplicationController | none: a new template is for new pods | replicaset/replica_set.go |

A pod is available once it has been ready for minReadySeconds. What terminates counts for nothing in a rolling update of
a Deployment; its name (StatefulSet) or its node (DaemonSet) is not free until it is gone.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from nslab.lab.types import DAEMON_SET

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Controller

ON_DELETE = "OnDelete"
QUARTER = "25%"


class Replica(NamedTuple):
    """A pod of a controller that does not terminate. `updated`: it has the present template."""

    pod: Pod
    updated: bool
    available: bool


class Decision(NamedTuple):
    """The pods to make, those to end, and those of earlier templates of which there is to be one more each."""

    make: tuple[Pod, ...] = ()
    end: tuple[Pod, ...] = ()
    again: tuple[Pod, ...] = ()


def decide(
    controller: Controller, there: Sequence[Replica], missing: Sequence[Pod], leaving: Collection[Pod]
) -> Decision:
    """The next step. `missing`: pods of the present template that are not there yet; `leaving`: pods that terminate.

    Both `there` and `missing` hold what is wanted: who scales down takes the surplus away before.
    """
    if controller.kind == DAEMON_SET:
        return _daemon_set(controller, there, missing, leaving)
    if controller.kind == "StatefulSet":
        return _stateful_set(controller, there, missing, leaving)
    if controller.kind != "Deployment":
        return Decision(tuple(missing[: max(0, controller.replicas - len(there))]))
    if controller.document["spec"].get("paused"):
        return Decision(tuple(missing[: max(0, controller.replicas - len(there))]) if _is_settled(there) else ())
    if is_recreating(controller):
        return _recreate(there, missing, leaving)
    return _rolling(controller, there, missing)


def is_rolling(controller: Controller, there: Sequence[Replica]) -> bool:
    """Whether pods of an earlier template are to go, now or later."""
    old = [one for one in there if not one.updated]
    if not old or controller.document["spec"].get("paused"):
        return False
    if controller.kind == "StatefulSet":
        return not _on_delete(controller) and any(ordinal(one.pod) >= partition(controller) for one in old)
    return not (controller.kind == DAEMON_SET and _on_delete(controller))


def is_recreating(deployment: Controller) -> bool:
    """Whether a Deployment ends all pods of an earlier template before it makes new ones."""
    return bool(_strategy(deployment, "strategy").get("type") == "Recreate")


def is_ordered(controller: Controller) -> bool:
    """Whether a StatefulSet starts and ends its pods one after the other."""
    spec = controller.document["spec"]
    return controller.kind == "StatefulSet" and spec.get("podManagementPolicy") != "Parallel"


def next_in_order(there: Iterable[Replica], missing: Iterable[Pod], leaving: Iterable[Pod]) -> tuple[Pod, ...]:
    """The pod that an ordered StatefulSet makes next: the first one missing, once all before it are available."""
    first = min(missing, key=ordinal, default=None)
    waited = {ordinal(one.pod) for one in there if not one.available} | {ordinal(pod) for pod in leaving}
    return (first,) if first and all(number > ordinal(first) for number in waited) else ()


def last_surplus(there: Sequence[Replica], names: Collection[str], others: Collection[Pod]) -> Pod | None:
    """The pod that scaling a StatefulSet down ends next: the last one, once all that stay are available.

    `names`: of those that stay; `others`: pods that terminate, or are to come, and are waited for. If the last pod is
    not available itself, it is waited for, too, unless all before it are (processCondemned).
    """
    surplus = sorted((one for one in there if one.pod.name not in names), key=lambda one: ordinal(one.pod))
    if not surplus or others or not all(one.available for one in there if one.pod.name in names):
        return None
    *before, last = surplus
    return last.pod if last.available or all(one.available for one in before) else None


def bounds(deployment: Controller) -> tuple[int, int]:
    """How many pods a rolling update makes beyond the replicas, and how many of these may be unavailable.

    A percentage is rounded up for the surge, and down for the unavailable ones; not both are 0 (ResolveFenceposts).
    """
    rolling, replicas = _strategy(deployment, "strategy").get("rollingUpdate") or {}, deployment.replicas
    surge = scaled(rolling.get("maxSurge", QUARTER), replicas, up=True)
    unavailable = scaled(rolling.get("maxUnavailable", QUARTER), replicas, up=False)
    return surge, min(unavailable if surge or unavailable else 1, replicas)


def scaled(value: int | str, total: int, *, up: bool) -> int:
    """A number, or a percentage of `total`, rounded up or down."""
    if isinstance(value, int):
        return value
    hundredths = int(value.removesuffix("%")) * total
    return -(-hundredths // 100) if up else hundredths // 100


def ordinal(pod: Pod) -> int:
    """The number of a StatefulSet's pod."""
    return int(pod.name.rpartition("-")[2])


def partition(stateful_set: Controller) -> int:
    """The ordinal from which on a StatefulSet's pods get a new template."""
    rolling = _strategy(stateful_set).get("rollingUpdate") or {}
    return int(rolling.get("partition") or 0)


def _is_settled(there: Sequence[Replica]) -> bool:
    return all(one.updated for one in there)


def _strategy(controller: Controller, field: str = "updateStrategy") -> dict[str, Any]:
    return controller.document["spec"].get(field) or {}


def _on_delete(controller: Controller) -> bool:
    return bool(_strategy(controller).get("type") == ON_DELETE)


def _recreate(there: Sequence[Replica], missing: Sequence[Pod], leaving: Collection[Pod]) -> Decision:
    old = tuple(one.pod for one in there if not one.updated)
    return Decision(end=old) if old else Decision(() if leaving else tuple(missing))


def _rolling(deployment: Controller, there: Sequence[Replica], missing: Sequence[Pod]) -> Decision:
    """New pods up to the surge; then old ones, unavailable ones first, down to what must be available; and again."""
    surge, unavailable = bounds(deployment)
    least, most = deployment.replicas - unavailable, deployment.replicas + surge
    old = sorted((one for one in there if not one.updated), key=lambda one: one.available)
    new, made, ended = [one for one in there if one.updated], 0, 0
    available = sum(one.available for one in there)
    not_yet = sum(not one.available for one in new)
    while True:
        up = max(0, min(most - len(new) - made - len(old) + ended, len(missing) - made))
        made += up
        left = old[ended:]
        spare = len(new) + made + len(left) - least - not_yet - made
        broken = min(max(spare, 0), sum(not one.available for one in left))
        healthy = min(max(available - least, 0), len(left) - broken) if spare > 0 else 0
        ended, available = ended + broken + healthy, available - healthy
        if not up and not broken and not healthy:
            return Decision(tuple(missing[:made]), tuple(one.pod for one in old[:ended]))


def _stateful_set(
    controller: Controller, there: Sequence[Replica], missing: Sequence[Pod], leaving: Collection[Pod]
) -> Decision:
    """The last of the old pods, one after the other, once all are available; in its place comes one of its name."""
    names = {pod.name for pod in leaving}
    make = tuple(pod for pod in missing if pod.name not in names)
    if is_ordered(controller):
        make = next_in_order(there, missing, leaving)
    unavailable = len(missing) + sum(not one.available for one in there)
    if _on_delete(controller) or (is_ordered(controller) and (unavailable or leaving)):
        return Decision(make)
    rolling = _strategy(controller).get("rollingUpdate") or {}
    most = max(1, scaled(rolling.get("maxUnavailable") or 1, controller.replicas, up=True))
    first = partition(controller)
    old = [one.pod for one in there if not one.updated and ordinal(one.pod) >= first]
    old.sort(key=ordinal, reverse=True)
    return Decision(make, tuple(old[: max(0, most - unavailable)]))


def _daemon_set(
    controller: Controller, there: Sequence[Replica], missing: Sequence[Pod], leaving: Collection[Pod]
) -> Decision:
    busy = {one.pod.node for one in there} | {pod.node for pod in leaving}
    make = tuple(pod for pod in missing if pod.node not in busy)
    if _on_delete(controller):
        return Decision(make)
    rolling, nodes = _strategy(controller).get("rollingUpdate") or {}, len({pod.node for pod in missing} | busy)
    surge = scaled(rolling.get("maxSurge", 0), nodes, up=True)
    if surge:
        return _surging(there, missing, make, surge)
    most = scaled(rolling.get("maxUnavailable", 1), nodes, up=True)
    available = {one.pod.node for one in there if one.updated and one.available}
    old = [one for one in there if not one.updated]
    candidates = [one.pod for one in old if one.available]
    broken = [one.pod for one in old if not one.available]
    unavailable = nodes - len(available) - len(candidates)
    return Decision(make, (*broken, *candidates[: max(0, most - unavailable)]))


def _surging(there: Sequence[Replica], missing: Sequence[Pod], make: tuple[Pod, ...], surge: int) -> Decision:
    """A new pod beside the old one of its node, on `surge` nodes at once; the old one goes when it is available."""
    pods = Counter(one.pod.node for one in there)
    done = {one.pod.node for one in there if one.updated and one.available}
    end = tuple(one.pod for one in there if not one.updated and one.pod.node in done)
    broken = {one.pod.node for one in there if not one.updated and not one.available}
    free = surge - sum(count > 1 for node, count in pods.items() if node not in done)
    beside = [pod for pod in missing if pod.node in pods and pod.node not in broken]
    replacing = tuple(pod for pod in missing if pods[pod.node] == 1 and pod.node in broken)
    return Decision((*make, *replacing, *beside[: max(0, free)]), end)
