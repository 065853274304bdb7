"""Tests of tests/kernel/test_proxy_iptables.py with iptables-legacy, which only the kernel in there has."""

from __future__ import annotations

import sys
from pathlib import Path

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, str(Path(__file__).parents[1] / "kernel"))

from test_proxy_iptables import (
    node,
    test_changes_leave_what_everything_at_once_would,
    test_every_kind_of_rule_is_read_back_as_it_was_written,
    test_rendered_text_is_what_iptables_restore_takes,
    test_the_overall_services_are_read_back_as_they_were_written,
)

__all__ = [
    "node",
    "test_changes_leave_what_everything_at_once_would",
    "test_every_kind_of_rule_is_read_back_as_it_was_written",
    "test_rendered_text_is_what_iptables_restore_takes",
    "test_the_overall_services_are_read_back_as_they_were_written",
]
