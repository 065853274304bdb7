"""Plans are done here, and taken back."""

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
        """Do one transaction, or raise Refused with the step, the kernel's words, and what was done all the same."""


def apply(
    kernel: Kernel, plan: Plan, before: Callable[[Transaction], None] = lambda _: None, *, undo: bool = True
) -> None:
    """Do a plan; if a transaction is refused, or `before` it something raises, take back what was done and raise on.

    Without `undo` nothing is taken back: for a caller that will take away everything at once.
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
    """Undo steps, last first. A refusal stops nothing: what is already gone need not be removed."""
    return best_effort(kernel, invert(done))


def best_effort(kernel: Kernel, plan: Plan) -> list[NslabError]:
    """Do of a plan what can be done; what was refused."""
    refusals: list[NslabError] = []
    for transaction in transactions(plan):
        try:
            kernel.run(transaction)
        except NslabError as refusal:
            refusals.append(refusal)
    return refusals
