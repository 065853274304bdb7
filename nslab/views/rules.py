"""The rules that differ from the desired ones, as commands: of a Service, too, these are few among thousands."""

from __future__ import annotations

from difflib import unified_diff
from typing import TYPE_CHECKING

from nslab.objects.base import Add, Remove, Replace
from nslab.quote import fill

if TYPE_CHECKING:
    from nslab.objects.base import KernelObject, Plan, Step

_UNITS = ("iptables", "ipset", "ipvs", "nft")


def differing_rules(plan: Plan) -> dict[str, list[str]]:
    """The lines of each host in which a repair plan changes rules: `- RULE` is missing, `+ RULE` is extra."""
    found: dict[str, list[str]] = {}
    for step in plan:
        if step.obj.unit in _UNITS and (lines := _differing(step)):
            found.setdefault(step.obj.host, []).extend(lines)
    return found


def _differing(step: Step) -> list[str]:
    desired = [] if isinstance(step, Remove) else _commands(step.obj)
    actual = [] if isinstance(step, Add) else _commands(step.old if isinstance(step, Replace) else step.obj)
    head, *lines = [*unified_diff(desired, actual, n=0, lineterm="")][1:] or [""]
    assert not head or head.startswith("+++")
    return [f"{line[0]} {line[1:]}" for line in lines if not line.startswith("@@")]


def _commands(obj: KernelObject) -> list[str]:
    """The commands that make an object, inside its namespace."""
    return [line.removeprefix(fill("ip netns exec {} ", obj.ns)) for line in obj.lines(Add(obj))]
