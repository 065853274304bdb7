"""What a change did in the kernel: per host and kind, what came, went and changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.objects.names import host
from nslab.objects.plan import Add, Remove

if TYPE_CHECKING:
    from nslab.objects.plan import Plan, Step

_NAMED = 3
"""So many of a kind are named one by one; of more, how many there are and the first."""


def delta(plan: Plan) -> list[str]:
    """A line for each verb and kind of thing, under the hosts that it happened on.

    What goes together with something that is named is not named itself.
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
