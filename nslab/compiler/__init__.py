"""From the wish to the kernel's objects: the table of contents. Each pass is one idea and a module of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.compiler.networks import network
from nslab.compiler.pods import pods
from nslab.compiler.services import api_server, services
from nslab.compiler.underlay import underlay
from nslab.compiler.written_by import WrittenBy

if TYPE_CHECKING:
    from nslab.lab.types import Lab
    from nslab.objects.base import State
    from nslab.objects.needs import Host


def compile_lab(lab: Lab, host: Host, written_by: WrittenBy = WrittenBy.NSLAB) -> State:
    """Everything that must exist in the kernel, in the order in which we tell it.

    The lab's pods have addresses already (see `nslab.compiler.placement`). What components write themselves
    (`written_by`) is left out. Each object comes after those that
    it lies on, so the order is also one in which the kernel takes them.
    """
    return (
        *api_server(lab),
        *underlay(lab, host),
        *network(lab).objects(lab, host),
        *services(lab, host, written_by),
        *pods(lab),
    )
