"""Tell control what a lab has become, and wait until kube-proxies and Felixes have followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.app.published import published
from nslab.compiler.networks import network
from nslab.lab.types import ProxyMode
from nslab.objects.plan import Remove
from nslab.objects.process import Felix

if TYPE_CHECKING:
    from collections.abc import Collection

    from nslab.app.drift import Drift
    from nslab.linux.processes.control import ControlClient


def announce(
    line: ControlClient, drift: Drift, dead: Collection[tuple[str, str]], *, fresh: bool, writes: bool
) -> tuple[tuple[str, str], ...]:
    """Put all that the lab's components watch; returns those that are late, (component, node).

    `dead`: those that nobody waits for. `fresh`: the lab is new. `writes`: nslab has written the components' rules.
    """
    lab, plugin = drift.lab, network(drift.lab)
    nodes = [node.name for node in lab.nodes]
    proxies = nodes if lab.proxy_mode is not ProxyMode.NONE else []
    felixes = nodes if plugin.AGENT else []
    # The kube-proxies of a fresh lab take over the rules that nslab wrote, so nobody waits for them; but in userspace
    # mode they carry the traffic themselves. One that starts later writes all rules again, as the real kube-proxy does.
    taken_over = proxies if fresh and lab.proxy_mode is not ProxyMode.USERSPACE else []
    # Felixes that run take over, too; one that comes back may find what it has missed.
    back = {step.obj.host for step in drift.plan if isinstance(step.obj, Felix) and not isinstance(step, Remove)}
    with_rules = [node for node in nodes if writes and (fresh or node not in back)]
    return line.put(
        published(lab),
        expect={
            "kube-proxy": [node for node in proxies if ("kube-proxy", node) not in dead],
            "felix": [node for node in felixes if node not in with_rules and ("felix", node) not in dead],
        },
        written=taken_over if writes else None,
        # Where components write, Felixes have had it since the pods came.
        policy=plugin.snapshot(lab) if writes else None, policy_written=with_rules,
    )  # fmt: skip
