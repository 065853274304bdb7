"""Compiles a lab to kernel objects: the table of contents. Each pass is one idea and has its own module."""

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
    from nslab.objects.needs import HostFeatures


def compile_lab(lab: Lab, host: HostFeatures, written_by: WrittenBy = WrittenBy.NSLAB) -> State:
    """Everything that must exist in the kernel, in creation order.

    The lab's pods already have addresses (see `nslab.compiler.placement`). Objects that components write themselves
    (`written_by`) are left out. Each object comes after those it requires, so the kernel accepts this order.
    """
    return (
        *api_server(lab),
        *underlay(lab, host),
        *network(lab).objects(lab, host),
        *services(lab, host, written_by),
        *pods(lab),
    )
