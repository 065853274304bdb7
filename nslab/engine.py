"""Runs plans, and rolls them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from nslab.errors import NslabError, Refused
from nslab.objects.plan import invert, transactions

if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.objects.plan import Plan, Step, Transaction


class Kernel(Protocol):
    """LinuxKernel and FakeKernel: whatever one refuses, the other refuses."""

    def run(self, transaction: Transaction) -> None:
        """Run one transaction, or raise Refused with the step, the kernel's message, and the steps done anyway."""


def apply(
    kernel: Kernel, plan: Plan, before: Callable[[Transaction], None] = lambda _: None, *, undo: bool = True
) -> None:
    """Run a plan. If a transaction is refused, or `before` raises, roll back the steps done and re-raise.

    Without `undo` there is no rollback: for a caller that then removes everything at once.
    """
    done: list[Step] = []
    try:
        for transaction in transactions(plan):
            before(transaction)
            kernel.run(transaction)
            done += transaction.steps
    except BaseException as error:
        if isinstance(error, Refused):
            done += error.done  # type: ignore[arg-type]  # errors know nothing of steps
        if undo:
            rollback(kernel, tuple(done))
        raise


def rollback(kernel: Kernel, done: Plan) -> list[NslabError]:
    """Undo steps, last first, even after refusals: an object that is already gone need not be removed."""
    return best_effort(kernel, invert(done))


def best_effort(kernel: Kernel, plan: Plan) -> list[NslabError]:
    """Run all transactions of a plan, even after refusals; returns the refusals."""
    refusals: list[NslabError] = []
    for transaction in transactions(plan):
        try:
            kernel.run(transaction)
        except NslabError as refusal:
            refusals.append(refusal)
    return refusals
