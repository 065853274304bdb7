"""Tests that repeat themselves do so a few times; with NSLAB_SLOW set, as often as is worth it before a release."""

from __future__ import annotations

import os

SLOW = bool(os.environ.get("NSLAB_SLOW"))


def often(number: int) -> int:
    """How often: `number` times with NSLAB_SLOW, else a quarter as often."""
    return number if SLOW else number // 4


REPEATED = (
    "labs/by-hand-cni/test_by_hand_cni.py::test_a_bridge_on_each_node",
    "labs/by-hand-service/test_by_hand_service.py::test_the_rules_of_a_kube_proxy_by_hand",
    "tests/kernel/test_audit_modes.py::test_each_mode_to_each_other",
    "tests/kernel/test_nothing_left.py::test_every_transaction_refused_in_turn",
    "tests/kernel/test_plans.py::test_a_script_makes_what_the_executor_makes[IPIPCrossSubnet]",
    "tests/kernel/test_plans.py::test_a_script_makes_what_the_executor_makes[VXLAN",
    "tests/kernel/test_wheel.py::test_a_shell_completes[fish]",
    "tests/kernel/test_wheel.py::test_a_shell_completes[zsh]",
)
"""What quicker tests ask, too: the guides walk the exercises' solutions; one encapsulation stands for the others."""


def waits_for_slow(test: str) -> bool:
    """Whether a test (its id) is left to NSLAB_SLOW."""
    return not SLOW and test.startswith(REPEATED)
