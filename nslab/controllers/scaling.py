"""Scaling a Deployment that is being rolled out: each of its ReplicaSets changes in proportion. Pure.

Source in Kubernetes: `scale` of pkg/controller/deployment/sync.go. The next step is again one of the rolling update.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from nslab.controllers.rollout import Decision, bounds, is_recreating
from nslab.lab.types import TEMPLATE_HASH

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nslab.api.pod_types import Pod
    from nslab.controllers.rollout import Replica
    from nslab.lab.types import Controller


def new_sizes(now: Controller, was: Controller, there: Sequence[Replica]) -> dict[str, int]:
    """The sizes that scaling gives a Deployment's ReplicaSets, by pod-template-hash; empty: it is not scaled.

    One that has all pods gets the Deployment's replicas. `there`: the pods so far, those of earlier templates first.
    """
    if now.kind != "Deployment" or now.replicas == was.replicas or all(one.updated for one in there):
        return {}
    sizes = Counter(template_hash_of(one.pod) for one in there)
    if len(sizes) == 1:
        return dict.fromkeys(sizes, now.replicas)
    if is_recreating(now):
        return {}
    most = now.replicas + bounds(now)[0] if now.replicas else 0
    return dict(zip(sizes, in_proportion([*sizes.values()], most, was.replicas + bounds(was)[0]), strict=True))


def in_proportion(sizes: Sequence[int], most: int, most_before: int) -> list[int]:
    """The sizes of ReplicaSets that share `most` pods as they did `most_before`. `sizes`: the oldest first, none is 0.

    The largest has its share first, and what rounding leaves. Of equal ones the newer counts as larger when pods are
    added, the older when they are removed.
    """
    left = most - sum(sizes)
    made, newer = [*sizes], 1 if left > 0 else -1
    order = sorted(range(len(sizes)), key=lambda number: (sizes[number], newer * number), reverse=True)
    for number in order:
        share = (2 * sizes[number] * most + most_before) // (2 * most_before) - sizes[number]
        share = 0 if not left else min(share, left) if newer > 0 else max(share, left)
        made[number] += share
        left -= share
    made[order[0]] = max(0, made[order[0]] + left)
    return made


def resized(sizes: Mapping[str, int], there: Sequence[Replica], missing: Sequence[Pod]) -> Decision:
    """The pods to make and to end, unavailable ones first, so that ReplicaSets have these sizes."""
    make: list[Pod] = []
    again: list[Pod] = []
    end: list[Pod] = []
    for hashed, size in sizes.items():
        mine = sorted((one for one in there if template_hash_of(one.pod) == hashed), key=lambda one: one.available)
        end += [one.pod for one in mine[: max(0, len(mine) - size)]]
        more = max(0, size - len(mine))
        if any(not one.updated for one in mine):
            again += [mine[0].pod] * more
        else:
            make += missing[:more]
    return Decision((*make,), (*end,), (*again,))


def template_hash_of(pod: Pod) -> str:
    """The pod-template-hash of a Deployment's pod."""
    return dict(pod.labels).get(TEMPLATE_HASH, "")
