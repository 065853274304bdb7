"""The effect of a change in the kernel: objects added, removed and changed, per host and kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.objects.names import host
from nslab.objects.plan import Add, Remove

if TYPE_CHECKING:
    from nslab.objects.plan import Plan, Step

_NAMED = 3
"""The maximum number of objects of a kind that are named; of more, the count and the first ones."""


def delta(plan: Plan) -> list[str]:
    """A line for each verb and kind of object, under the hosts concerned.

    Objects that go with a removed one have no line of their own.
    """
    gone = {step.obj.key for step in plan if isinstance(step, Remove)}
    by_host: dict[str, dict[tuple[str, str], list[str]]] = {}
    for step in plan:
        if not (isinstance(step, Remove) and any(below in gone for below in step.obj.requires)):
            kind, name = step.obj.listed
            by_host.setdefault(host(step.obj.ns), {}).setdefault((_verb(step), kind), []).append(name)
    alike: dict[tuple[str, ...], list[str]] = {}
    for where, groups in by_host.items():
        order = sorted(groups.items(), key=lambda group: "-~+".index(group[0][0]))
        lines = tuple(f"  {verb} {_listed(kind, names)}" for (verb, kind), names in order)
        alike.setdefault(lines, []).append(where)
    return [line for lines, hosts in alike.items() for line in (f"{', '.join(hosts)}:", *lines)]


def _verb(step: Step) -> str:
    match step:
        case Add():
            return "+"
        case Remove():
            return "-"
        case _:
            return "~"


def _listed(kind: str, names: list[str]) -> str:
    if not kind or len(names) == 1:
        return f"{kind}: {', '.join(names)}" if kind else ", ".join(names)
    return f"{len(names)} {kind}: {', '.join(names[:_NAMED])}{', …' if len(names) > _NAMED else ''}"
