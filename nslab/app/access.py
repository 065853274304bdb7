"""Who may reach a pod, and whom it may reach; without root for a lab that is not up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.api.words import shown
from nslab.app.desired import desired
from nslab.app.inside import find_pod
from nslab.errors import UsageError
from nslab.lab.network_rules import RULES
from nslab.linux.observe.host import likely_host
from nslab.objects.names import host_of, pod_host
from nslab.probes.access import access
from nslab.trace.endpoints import way_on

if TYPE_CHECKING:
    from nslab.probes.access import PodAccess


def pod_access(name: str, pod: str) -> PodAccess:
    """The access of a pod (NAME, or NAMESPACE/NAME) of a lab. UsageError if there is none, or no policy counts."""
    lab = desired(name)
    if not RULES[lab.plugin].policies:
        raise UsageError(
            f"{lab.name}: {RULES[lab.plugin].label} nothing that enforces NetworkPolicies; plugin: calico does"
        )
    host = host_of(pod)
    found = find_pod(lab.pods, host)
    if not found:
        known = [pod_host(one.namespace, one.name) for one in lab.pods]
        raise UsageError(f"{lab.name} has no pod {shown(pod)}{way_on(host, known)}")
    if found.host_network:
        raise UsageError(f"pod {shown(pod)} has its node's network (hostNetwork), to which no NetworkPolicy applies")
    return access(lab, likely_host(), host)
