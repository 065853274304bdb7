"""The fake kernel against the real one: the same plans, the same refusals, the same state at the end."""

from __future__ import annotations

import os
import random
import sys
from dataclasses import replace
from itertools import permutations

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from dumps import NETWORKS, real, seen, shown, state_of

from nslab.errors import Refused
from nslab.objects.fake.kernel import FakeKernel
from nslab.objects.namespaces import Netns
from nslab.objects.plan import Add, Plan, Remove, Step, diff, invert, transactions
from nslab.objects.process import Process
from nslab.objects.script import command
from tests.slow import SLOW, often

LAB = f"fake{os.getpid()}"
CHANGES = [*permutations(NETWORKS, 2)]
"""From each network to each other; one in three, or all with NSLAB_SLOW set."""


def refusal(kernel: object, transaction: object) -> tuple[str, ...]:
    """What a kernel says to a transaction: nothing, or the first refusal and what was done all the same."""
    try:
        kernel.run(transaction)  # type: ignore[attr-defined]
    except Refused as refused:
        return ("refused", *(command(step) for step in refused.done))  # type: ignore[arg-type]
    return ()


def both(plan: Plan) -> None:
    """Drive both kernels with a plan; compare what they say to each transaction, and what there is at the end."""
    fake = FakeKernel()
    with real(LAB) as kernel:
        for number, transaction in enumerate(transactions(plan)):
            lines = [command(step) for step in transaction.steps]
            assert refusal(fake, transaction) == refusal(kernel, transaction), (number, transaction.unit, lines)
        state = fake.state()
        assert seen(LAB, state) == shown(state)


@pytest.mark.parametrize("network", NETWORKS)
def test_what_a_lab_needs_is_done(network: str) -> None:
    both(diff((), state_of(network, LAB)))


@pytest.mark.parametrize("network", NETWORKS)
def test_what_was_done_is_taken_back(network: str) -> None:
    plan = diff((), state_of(network, LAB))
    both((*plan, *invert(plan)))


@pytest.mark.parametrize(("before", "after"), CHANGES if SLOW else CHANGES[::3])
def test_one_network_becomes_another(before: str, after: str) -> None:
    have, want = state_of(before, LAB), state_of(after, LAB)
    both((*diff((), have), *diff(have, want)))


@pytest.mark.parametrize("seed", range(int(os.environ.get("NSLAB_SEEDS", often(40)))))
def test_they_refuse_the_same_and_end_up_the_same(seed: int) -> None:
    both(muddled(random.Random(seed)))


def muddled(chance: random.Random) -> Plan:
    """A plan with steps left out, doubled, taken back, put elsewhere. Namespaces stay: their end takes its time."""
    state = state_of(chance.choice(NETWORKS), LAB)
    steps: list[Step] = list(diff((), state))
    for _ in range(chance.randrange(1, 40)):
        place = chance.randrange(len(steps))
        match chance.randrange(5):
            case 0:
                del steps[place]
            case 1:
                steps.insert(chance.randrange(len(steps)), replace(steps[place]))
            case 2:
                (undo,) = invert((steps[place],))
                steps.insert(chance.randrange(place, len(steps)), undo)
            case 3:
                steps.insert(chance.randrange(len(steps)), steps.pop(place))
            case 4:
                # A run of steps the other way round: everything before what it lies on.
                end = min(len(steps), place + chance.randrange(12))
                steps[place:end] = steps[place:end][::-1]
    return tuple(
        step
        for step in steps
        if not isinstance(step.obj, Process) and not (isinstance(step, Remove) and isinstance(step.obj, Netns))
    )


def test_a_muddled_plan_is_refused_somewhere() -> None:
    fake = FakeKernel()
    refused = [refusal(fake, unit) for seed in range(3) for unit in transactions(muddled(random.Random(seed)))]
    assert any(refused)
    assert Add in {type(step) for step in muddled(random.Random(1))}
