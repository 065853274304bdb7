"""The kernel in memory: a set of objects that refuses what Linux refuses and removes what Linux removes.

It is verified: `tests/kernel/test_fake_is_true.py` runs the same plans on it and on the real kernel. Each object
itself declares what it requires, which errors it meets and what goes with it; this module decides how far a
transaction gets.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from typing import TYPE_CHECKING, assert_never

from nslab.errors import Refused
from nslab.objects import script as shell
from nslab.objects.base import Add, Remove, Replace
from nslab.objects.fake.nft import perform
from nslab.objects.ipset import held_back
from nslab.objects.iptables import InTable, by_table, in_turn
from nslab.objects.ipvs import refusals
from nslab.objects.keys import is_object
from nslab.objects.nft_commands import operations

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nslab.objects.base import KernelObject, Plan, State, Step
    from nslab.objects.keys import Key
    from nslab.objects.plan import Transaction


class _Things(dict["Key", "KernelObject"]):
    """The existing objects by key; `given` counts the keys that they provide."""

    def __init__(self, have: Mapping[Key, KernelObject] | None = None) -> None:
        super().__init__(have or {})
        self.given = Counter(key for obj in self.values() for key in obj.provides)

    def __setitem__(self, key: Key, obj: KernelObject) -> None:
        if old := self.get(key):
            self._without(old)
        super().__setitem__(key, obj)
        self.given.update(obj.provides)

    def __delitem__(self, key: Key) -> None:
        self._without(self[key])
        super().__delitem__(key)

    def _without(self, obj: KernelObject) -> None:
        for key in obj.provides:
            self.given[key] -= 1
            if not self.given[key]:
                del self.given[key]


class FakeKernel:
    """Implements `nslab.engine.Kernel` and `nslab.objects.base.There`. Starts with the objects `have`."""

    def __init__(self, have: Iterable[KernelObject] = ()) -> None:
        self._there = _Things()
        self._repeated: list[KernelObject] = []  # objects that the kernel allows twice, in order
        self._had_address: set[str] = set()
        for obj in have:
            self._learn(obj)
            if obj.repeats:
                self._repeated.append(obj)
            else:
                self._there[obj.key] = obj

    def state(self) -> State:
        """All existing objects; the rules of built-in chains are in their order."""
        return (*self._there.values(), *self._repeated)

    def has(self, key: Key) -> bool:
        """Whether something provides this."""
        return key in self._there.given

    def get(self, key: Key) -> KernelObject | None:
        """The object of that key."""
        return self._there.get(key)

    def objects(self) -> Iterable[KernelObject]:
        """All existing objects."""
        return self.state()

    def had_address(self, ns: str) -> bool:
        """Whether a namespace has or had an address."""
        return ns in self._had_address

    def run(self, transaction: Transaction) -> None:
        """Run one transaction, or raise Refused with the step, the kernel's message, and the steps done anyway."""
        match transaction.unit:
            case "netlink":
                self._goes_on(transaction.steps)
            case "iptables":
                self._iptables(transaction.steps)
            case "nft":
                self._nft(transaction.steps)
            case "ipvs":
                self._ipvs(transaction.steps)
            case "ipset":
                self._ipset(transaction.steps)
            case "netns" | "tun" | "sysctl" | "cni" | "process":
                self._stops(transaction.steps)
            case missing:
                assert_never(missing)

    def _goes_on(self, steps: Plan) -> None:
        """A netlink batch: the kernel processes the next message even after it refused one."""
        refused: dict[int, int] = {}
        unknown: set[Key] = set()
        for index, step in enumerate(steps):
            number = self._obstacle(step, unknown)
            if not number:
                self._do(step)
                unknown.difference_update(_devices(step.obj))
                continue
            refused[index] = number
            if isinstance(step, Add) and not self._missing(step.obj, set()):
                # nslab chooses the index of a new interface: later messages of the batch find none with this one.
                unknown.update(_devices(step.obj))
        if refused:
            first = min(refused)
            done = [step for index, step in enumerate(steps) if index not in refused]
            raise _refused(steps[first], refused[first], done)

    def _ipvs(self, steps: Plan) -> None:
        """`ipvsadm -R` continues after a refusal, too; a real server requires its virtual server and goes with it."""
        unit, ns = steps[0].obj.unit, steps[0].obj.ns
        if ("Netns", ns) not in self._there:
            raise _refused(steps[0], errno.ENOENT, ())
        old = [obj for obj in self._there.values() if (obj.unit, obj.ns) == (unit, ns)]
        refused, after = refusals(old, steps, addressed=self.had_address(ns))
        for obj in old:
            del self._there[obj.key]
        for obj in after:
            self._there[obj.key] = obj
        if refused:
            first = min(refused)
            done = [step for index, step in enumerate(steps) if index not in refused]
            raise Refused(shell.command(steps[first]), refused[first], done)

    def _ipset(self, steps: Plan) -> None:
        """An `ipset restore`: it stops at a refused line, and loses its buffered lines if it cannot even parse one."""
        old = dict(self._there)
        try:
            self._stops(steps)
        except Refused as refused:
            done = len(refused.done)
            if ("Netns", steps[0].obj.ns) in self._there and self._missing(steps[done].obj, set()):
                self._lose(steps[:done], old)
            raise

    def _lose(self, steps: Plan, old: Mapping[Key, KernelObject]) -> None:
        for step in held_back(steps):
            key = step.obj.key
            if key in self._there:
                del self._there[key]
            if key in old:
                self._there[key] = old[key]

    def _stops(self, steps: Plan) -> None:
        """One step at a time, up to the first refused one."""
        for index, step in enumerate(steps):
            if number := self._obstacle(step, set()):
                raise _refused(step, number, steps[:index])
            self._do(step)

    def _iptables(self, steps: Plan) -> None:
        """An iptables-restore commits table after table: those before the one that is refused stay."""
        done: set[str] = set()
        for own in by_table(steps):
            try:
                self._all_or_nothing(own)
            except Refused as refused:
                refused.done = tuple(step for step in steps if isinstance(step.obj, InTable) and step.obj.table in done)
                raise
            done.update(step.obj.table for step in own if isinstance(step.obj, InTable))

    def _all_or_nothing(self, steps: Plan) -> None:
        """The restore of one table: chains are declared (and so flushed), then rules change, then chains go."""
        there, repeated = dict(self._there), list(self._repeated)
        declared, ordered = in_turn(steps)
        for chain in declared:
            self._there[chain.key] = chain
        for step in ordered:
            if number := self._obstacle(step, set()):
                self._there, self._repeated = _Things(there), repeated
                raise _refused(step, number, ())
            self._do(step)

    def _nft(self, steps: Plan) -> None:
        """One transaction of nft: all or nothing."""
        there = dict(self._there)
        for operation in operations(steps):
            if number := perform(operation, there):
                raise _refused(operation.step, number, ())
        self._there = _Things(there)

    def _obstacle(self, step: Step, unknown: set[Key]) -> int:
        """Linux's errno for a step, or 0. `unknown` interfaces count as missing."""
        obj = step.obj
        match step:
            case Remove():
                if obj.requires and not obj.outlives and ("Netns", obj.ns) not in self._there:
                    return errno.ENOENT
                return errno.ENODEV if unknown & {obj.key, *obj.needs} else obj.error_removing(self)
            case Replace() if obj.repeats and (number := obj.error_removing(self)):
                return number
            case Replace() if _devices(obj) and obj.initial is None and (obj.key in unknown or not self.get(obj.key)):
                return errno.ENODEV
            case Add() if obj.error_if_there and any(map(self.has, filter(is_object, obj.provides))):
                return self._missing(obj, unknown) or obj.error_if_there
        return self._missing(obj, unknown) or obj.error_adding(self)

    def _missing(self, obj: KernelObject, unknown: set[Key]) -> int:
        """The errno for the first missing key of the object's `needs`, or 0."""
        missing = next((key for key in obj.needs if key in unknown or not self.has(key)), None)
        return obj.error_without(missing) if missing else 0

    def _do(self, step: Step) -> None:
        obj = step.obj
        if obj.repeats:
            self._repeat(step)
        elif not isinstance(step, Remove):
            old = self.get(obj.key)
            self._there[obj.key] = obj
            self._learn(obj)
            if old:
                self._cascade({end for end, mac in old.macs.items() if obj.macs.get(end) != mac})
        elif obj.key in self._there:
            del self._there[obj.key]
            self._cascade(set(obj.provides))
        for changed in obj.carried(self._there.values()):
            self._there[changed.key] = changed

    def _repeat(self, step: Step) -> None:
        if not isinstance(step, Add):
            self._repeated.remove(step.obj)
        if not isinstance(step, Remove):
            self._repeated.insert(0 if step.obj.comes_first else len(self._repeated), step.obj)

    def _cascade(self, lost: set[Key]) -> None:
        """Removes the objects that require a lost key, except those that outlive it."""
        while lost := lost - self._there.given.keys():
            gone = [obj for obj in self._there.values() if not obj.outlives and not lost.isdisjoint(obj.requires)]
            self._repeated = [obj for obj in self._repeated if lost.isdisjoint(obj.requires)]
            for obj in gone:
                del self._there[obj.key]
            lost = {key for obj in gone for key in obj.provides}

    def _learn(self, obj: KernelObject) -> None:
        if obj.provides_address:
            self._had_address.add(obj.ns)


def _refused(step: Step, number: int, done: Iterable[Step]) -> Refused:
    return Refused(shell.command(step), os.strerror(number), tuple(done))


def _devices(obj: KernelObject) -> set[Key]:
    return {key for key in obj.provides if key[0] == "Device"}
