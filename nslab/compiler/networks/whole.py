"""For plugins that nslab plays whole: nothing in a lab's network is anybody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.lab.types import Lab
    from nslab.objects.base import KernelObject, State


def sort_out(_lab: Lab, have: Iterable[KernelObject], _known: State) -> tuple[list[KernelObject], list[KernelObject]]:
    """All is the lab's."""
    return [*have], []


def is_its_own(_line: str) -> bool:
    """Nothing is."""
    return False
