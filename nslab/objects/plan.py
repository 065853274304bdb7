"""A plan is the list of steps from an existing to a desired state.

diff((), want)      everything, on a clean machine
diff(have, want)    repairs a lab, or changes it live
invert(plan)        undoes a plan
transactions(plan)  the same steps, grouped as the kernel accepts them

This module knows no kind of object: each object declares what it requires, and what its loss does to it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, assert_never

from nslab.dataclass import dataclass
from nslab.objects.base import Add, KernelObject, Plan, Remove, Replace, State, Step, Unit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.objects.keys import Key

__all__ = ["Add", "Plan", "Remove", "Replace", "Step", "Transaction", "diff", "invert", "transactions"]


@dataclass(frozen=True, slots=True)
class Transaction:
    """Steps that the kernel accepts at once: a batch, a restore, a start. `where` is a namespace (and a table)."""

    unit: Unit
    where: tuple[str, ...]
    steps: Plan


def diff(have: Iterable[KernelObject], want: State) -> Plan:
    """The steps from `have` to `want`: removals, dependents first; then additions and changes in creation order."""
    there = {obj.key: obj for obj in have}
    wanted = {obj.key: obj for obj in want}
    unwanted = {_base(obj, key in wanted) for key, obj in there.items() if not _may_stay(obj, wanted.get(key))}
    gone = _with_all_on_top(unwanted | _mac_dependents(there, wanted), there)
    removals = [(key, obj) for key, obj in there.items() if key in gone and gone.isdisjoint(obj.vanishes_with)]
    removals.sort(key=lambda removal: (-removal[1].rank, removal[0]))
    late = [obj for key, obj in removals if obj.named_by_rules and key not in wanted]
    first = [obj for key, obj in removals if not (obj.named_by_rules and key not in wanted)]
    steps: list[Step] = [undone(obj) for obj in first if obj.initial != obj]
    covered = _covered((key for key in there if key not in gone), wanted)
    for key, obj in wanted.items():
        old = None if key in gone else there.get(key)
        if old is None:
            steps.append(_do(obj))
        elif old != obj or key in covered:
            steps.append(Replace(old, obj))
    return (*steps, *map(undone, late))


def _covered(kept: Iterable[Key], wanted: dict[Key, KernelObject]) -> set[Key]:
    """Those of the `kept` before which an addition of the plan would be inserted, although the state has it earlier."""
    stay = {*kept}
    changing: set[Key] = set()
    covered: set[Key] = set()
    for key, obj in wanted.items():
        if key not in stay:
            changing.add(obj.inserted_into)
        elif obj.inserted_into and obj.inserted_into in changing:
            covered.add(key)
    return covered


def invert(plan: Plan) -> Plan:
    """The plan that undoes this plan: the inverse steps in reverse order."""
    return tuple(map(_inverse, reversed(plan)))


def transactions(plan: Plan) -> tuple[Transaction, ...]:
    """The plan as transactions; the order of the steps stays."""
    groups: list[tuple[Unit, tuple[str, ...], list[Step]]] = []
    for step in plan:
        obj = step.obj
        unit, where = obj.unit, obj.where
        if not groups or groups[-1][:2] != (unit, where) or len(groups[-1][2]) == obj.at_once:
            groups.append((unit, where, []))
        groups[-1][2].append(step)
    return tuple(Transaction(unit, where, tuple(steps)) for unit, where, steps in groups)


def _do(obj: KernelObject) -> Step:
    old = obj.initial
    return Add(obj) if old is None else Replace(old, obj)


def undone(obj: KernelObject) -> Step:
    """The step that takes an object away, or gives back what the kernel began with."""
    old = obj.initial
    return Remove(obj) if old is None else Replace(obj, old)


def _inverse(step: Step) -> Step:
    match step:
        case Add(obj):
            return Remove(obj)
        case Remove(obj):
            return Add(obj)
        case Replace(old, obj):
            return Replace(obj, old)
        case missing:
            assert_never(missing)


def _may_stay(old: KernelObject, goal: KernelObject | None) -> bool:
    if goal is None:
        return old.initial == old
    return old == goal or old.changes_into(goal)


def _base(obj: KernelObject, wanted: bool) -> Key:
    """The key to remove for an object; an object that is added again may require the removal of more."""
    return obj.rebuilt_with if wanted else obj.key


def _mac_dependents(there: dict[Key, KernelObject], wanted: dict[Key, KernelObject]) -> set[Key]:
    """The link-layer addresses that change: the kernel then removes what requires them."""
    return {
        end
        for key, old in there.items()
        for end, mac in old.macs.items()
        if (goal := wanted.get(key)) and goal.macs.get(end, mac) != mac
    }


def _with_all_on_top(unwanted: set[Key], there: dict[Key, KernelObject]) -> set[Key]:
    """The keys that go with `unwanted`, because the kernel cascades. Ascending rank visits requirements first.

    An object that outlives what it requires is useless (a container without its pause): it goes and is added again.
    """
    gone = set(unwanted)
    providers = Counter(key for obj in there.values() for key in obj.provides)
    for key, obj in sorted(there.items(), key=lambda entry: entry[1].rank):
        requires = obj.requires
        orphaned = obj.outlives and not all(below in there for below in requires)
        if orphaned or key in gone or not gone.isdisjoint(requires) or not gone.isdisjoint(obj.ends_with):
            provides = obj.provides
            providers.subtract(provides)
            gone |= {key for key in provides if not providers[key]}
    return gone
