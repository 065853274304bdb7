"""From the wish to the kernel's objects: the table of contents. Each pass is one idea and a module of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.compiler.attached import attached
from nslab.compiler.bare import bare
from nslab.compiler.calico import calico
from nslab.compiler.kubenet import kubenet
from nslab.compiler.pods import pods
from nslab.compiler.services import api_server, services
from nslab.compiler.underlay import underlay
from nslab.lab.types import Plugin

if TYPE_CHECKING:
    from nslab.lab.types import Lab
    from nslab.objects.base import State
    from nslab.objects.needs import Host


def compile_lab(lab: Lab, host: Host, *, rules: bool = True) -> State:
    """Everything that must exist in the kernel, in the order in which we tell it.

    The lab's pods have addresses already (see `nslab.compiler.addresses.place`). Each object comes after those that
    it lies on, so the order is also one in which the kernel takes them.
    """
    network = {Plugin.CALICO: calico, Plugin.KUBENET: kubenet, Plugin.NONE: bare, Plugin.EXEC: attached}[lab.plugin]
    return (
        *api_server(lab),
        *underlay(lab, host),
        *network(lab, host),
        *services(lab, host, rules=rules),
        *pods(lab),
    )
