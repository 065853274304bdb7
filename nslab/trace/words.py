"""Differences of a lab in Kubernetes' terms; each object has its own label."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from nslab.objects.base import Add, Remove, Replace

if TYPE_CHECKING:
    from nslab.objects.base import KernelObject, Step


def up(obj: KernelObject) -> str:
    """The call of `up` that repairs the object's lab."""
    return f"`nslab up {obj.ns.split('.')[1]}`"


def trouble(step: Step) -> str:
    """The finding that a step would repair."""
    match step:
        case Add(obj):
            return obj.missing()
        case Remove(obj):
            return obj.unwanted()
        case Replace(old, obj):
            return obj.differing(old)
        case missing:
            assert_never(missing)
