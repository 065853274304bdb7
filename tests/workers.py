"""The suite side by side: how many workers (pytest-xdist's), which tests stay together, and who comes first.

Tests of a file share labs and tell one story, so a worker has them all, in their order. Most of them wait for a kernel,
not for a processor: three times as many workers as processors keep these busy. The VM (tests/vm) is one boot, so all
its tests are one worker's: it boots at once, and this worker waits until all is over in there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

UNIT, VM = "tests/unit", "tests/vm"
SINGLE = ("tests/kernel/test_guides.py",)
"""Files whose tests have nothing to do with each other, and take long."""
KERNEL = """
    plugin check cni services docs two_labs corpus nothing_left plans audit_modes healing endpoints wheel
    probe_services probe_evidence probe_pace probe cli habits cross_subnet trace fake_is_true late_writes live
    exec_streams strangers dump cni_refusals termination
"""
LONG = (
    *(f"tests/kernel/test_{name}.py" for name in KERNEL.split()),
    "tests/kernel/attacks/test_forged.py",
    "labs/by-hand-service/test_by_hand_service.py",
    "tests/unit/test_scripts.py",
    "tests/unit/plugin/test_plugin.py",
)
"""Files that take long, beside others: begun last, one of them would be waited for."""

MOST = 12
"""More would have nothing to do: as many long files there are."""


def workers(asked: Sequence[str], processors: int) -> int:
    """How many workers for what pytest was asked to run (none: in one process, as a person looks at a test or two)."""
    files = [path for path in asked if ".py" in path and path not in SINGLE]
    if asked and len(files) == len(asked):
        return 0 if len(files) == 1 else min(len(files), processors)
    if asked and all(path.startswith(UNIT) for path in asked):
        return processors
    return min(3 * processors, MOST)


def share(test: str) -> str:
    """What is one worker's: the folder, the file or the test itself, by a test's id."""
    file = test.partition("::")[0]
    if file.startswith(f"{VM}/"):
        return VM
    return test if file in SINGLE else file


def turn(test: str) -> int:
    """When a test's share is dealt out: the VM, then what takes long, and last what is short and fills gaps."""
    whose = share(test)
    if whose == VM:
        return 0
    return 1 if whose.startswith(LONG) else 2 if whose.startswith(SINGLE) else 4 if whose.startswith(UNIT) else 3
