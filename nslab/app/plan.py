"""What a lab needs of this machine, and the steps that `up` would take. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.dataclass import replace
from nslab.errors import Missing
from nslab.linux.cni.plugins import find_programs
from nslab.linux.netns import Namespaces
from nslab.linux.observe.host import likely_host, read_host
from nslab.objects.needs import needs
from nslab.objects.plan import diff
from nslab.runtime import cgroups

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.app.listener import Listener
    from nslab.lab.types import Lab
    from nslab.objects.needs import HostFeatures
    from nslab.objects.plan import Plan


def plan(lab: Lab, listener: Listener) -> Plan:
    """Return every step of a lab, for this machine as far as an unprivileged user can know it."""
    host = likely_host()
    try:
        host = replace(host, programs=find_programs(lab))
    except Missing as missing:  # a plan is useful without its plugins
        listener.warning(f"nslab: {missing}")
    return diff((), compile_lab(assign_addresses(lab), host))


def beyond(lab: Lab) -> Iterator[str]:
    """Yield a sentence if the lab file allows more memory than this machine has."""
    total = cgroups.machine_memory()
    limits = [(container.limits.memory, pod.name, container.name) for pod in lab.pods for container in pod.containers]
    if more := [f"{pod}/{container}" for memory, pod, container in limits if memory > total]:
        others = f" and {len(more) - 1} more" if len(more) > 1 else ""
        yield f"the memory limit of {more[0]}{others} is more than this machine has ({total / 2**30:.1f}Gi)"


def needed(lab: Lab) -> set[str]:
    """Return the kernel primitives that a lab needs here, with the stand-ins that it would use. Needs root."""
    with Namespaces() as spaces:
        return _needed(lab, replace(read_host(spaces), programs=find_programs(lab)))


def likely_needed(lab: Lab) -> set[str]:
    """Like `needed`, but without trying anything: works without root."""
    return _needed(lab, likely_host())


def _needed(lab: Lab, host: HostFeatures) -> set[str]:
    return needs(compile_lab(assign_addresses(lab), host))
