"""A plan is done whole or not at all, whichever step the kernel refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab import engine
from nslab.admission.load import load
from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.errors import Refused
from nslab.objects.fake.kernel import FakeKernel
from nslab.objects.namespaces import Netns
from nslab.objects.needs import HostFeatures
from nslab.objects.plan import Plan, Step, Transaction, diff, transactions
from nslab.objects.script import command
from nslab.objects.sysctl import Sysctl

if TYPE_CHECKING:
    from nslab.objects.base import KernelObject, State

LABS = Path(__file__).parents[2] / "labs"


def state_of(lab: str) -> State:
    return compile_lab(assign_addresses(load(LABS / lab / "lab.yaml")), HostFeatures(ipip=False))


class Refusing:
    """A kernel that refuses one step, the way the unit does it that the step is in; and keeps what else is refused."""

    def __init__(self, step: Step) -> None:
        self.kernel, self.step, self.refusals = FakeKernel(), step, list[Refused]()

    def run(self, transaction: Transaction) -> None:
        try:
            if self.step in transaction.steps:
                raise Refused(command(self.step), "refused by the test", self.rest(transaction))
            self.kernel.run(transaction)
        except Refused as refused:
            self.refusals.append(refused)
            raise

    def rest(self, transaction: Transaction) -> Plan:
        """What of the unit is done all the same."""
        steps, at = transaction.steps, transaction.steps.index(self.step)
        left = {"netlink": (*steps[:at], *steps[at + 1 :]), "iptables": ()}.get(transaction.unit, steps[:at])
        try:
            if left:
                self.kernel.run(replace(transaction, steps=left))
        except Refused as refused:
            return refused.done  # type: ignore[return-value]
        return left


def left_behind(kernel: FakeKernel) -> list[KernelObject]:
    return [obj for obj in kernel.state() if not (isinstance(obj, Sysctl) and obj.value == obj.default)]


@pytest.mark.parametrize("lab", ["calico-two-node", "kubenet-two-node", "pause-pod"])
def test_whichever_step_is_refused_all_is_taken_back(lab: str) -> None:
    plan = diff((), state_of(lab))
    for step in plan:
        kernel = Refusing(step)
        with pytest.raises(Refused, match="refused by the test"):
            engine.apply(kernel, plan)
        assert left_behind(kernel.kernel) == [], command(step)
        # Only what was done was undone: the kernel had nothing to say against it.
        assert [refused.line for refused in kernel.refusals] == [command(step)]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, ValueError])
def test_whatever_interrupts_between_two_units_all_is_taken_back(stop: type[BaseException]) -> None:
    plan = diff((), state_of("calico-two-node"))
    for unit in transactions(plan):
        kernel = FakeKernel()

        def before(transaction: Transaction, unit: Transaction = unit) -> None:
            if transaction == unit:
                raise stop

        with pytest.raises(stop):
            engine.apply(kernel, plan, before)
        assert left_behind(kernel) == []


def test_a_plan_that_is_not_refused_is_done_in_its_units() -> None:
    want, kernel, shown = state_of("calico-two-node"), FakeKernel(), list[Transaction]()
    engine.apply(kernel, diff((), want), shown.append)
    assert set(kernel.state()) == set(want)
    assert tuple(shown) == transactions(diff((), want))


def test_what_is_gone_already_does_not_stop_the_rest() -> None:
    plan = diff((), (Netns("a"), Netns("b")))
    kernel = FakeKernel((Netns("b"),))
    assert engine.rollback(kernel, plan) == []
    assert kernel.state() == ()


def test_what_cannot_be_taken_back_is_told() -> None:
    want = state_of("kubenet-two-node")
    kernel = FakeKernel(want)
    address = next(step for step in diff((), want) if "addr add" in command(step))
    engine.rollback(kernel, (address,))
    (refused,) = engine.rollback(kernel, (address,))
    assert "Cannot assign requested address" in str(refused)
