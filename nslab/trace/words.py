"""What is the matter with a lab, in Kubernetes' words; what an object is called it says itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from nslab.objects.base import Add, Remove, Replace

if TYPE_CHECKING:
    from nslab.objects.base import KernelObject, Step


def up(obj: KernelObject) -> str:
    """The call that makes all as it should be in the lab that it is of."""
    return f"`nslab up {obj.ns.split('.')[1]}`"


def trouble(step: Step) -> str:
    """What is the matter, told by the step that would mend it."""
    match step:
        case Add(obj):
            return obj.missing()
        case Remove(obj):
            return obj.unwanted()
        case Replace(old, obj):
            return obj.differing(old)
        case missing:
            assert_never(missing)
