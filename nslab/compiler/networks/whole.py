"""For plugins that nslab implements completely: it manages everything in a lab's network; and without an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.lab.types import Lab, Node
    from nslab.objects.base import KernelObject, State
    from nslab.objects.needs import HostFeatures
    from nslab.ruletext.items import Items


AGENT = ""


def agent_rules(_lab: Lab) -> Mapping[str, Items]:
    """None: no agent keeps rules."""
    return {}


def agent(_lab: Lab, _host: HostFeatures, _node: Node) -> Iterator[KernelObject]:
    """None: there is no agent."""
    return iter(())


def snapshot(_lab: Lab) -> dict[str, Any] | None:
    """None: there is no agent."""
    return None


def sort_out(_lab: Lab, have: Iterable[KernelObject], _known: State) -> tuple[list[KernelObject], list[KernelObject]]:
    """All objects are managed."""
    return [*have], []


def is_its_own(_line: str) -> bool:
    """False: the plugin writes no rules of its own."""
    return False
