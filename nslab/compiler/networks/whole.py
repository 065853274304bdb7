"""For plugins that nslab implements completely: it manages everything in a lab's network; and without an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nslab.lab.types import Lab
    from nslab.objects.base import KernelObject, State
    from nslab.ruletext.items import Items


AGENT = ""


def agent_rules(_lab: Lab) -> Mapping[str, Items]:
    """None: no agent keeps rules."""
    return {}


def sort_out(_lab: Lab, have: Iterable[KernelObject], _known: State) -> tuple[list[KernelObject], list[KernelObject]]:
    """All objects are managed."""
    return [*have], []


def is_its_own(_line: str) -> bool:
    """False: the plugin writes no rules of its own."""
    return False
