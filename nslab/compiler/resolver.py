"""How a pod resolves names: its resolv.conf and its lines of /etc/hosts, as the kubelet writes them (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.admission.validate_dns import LONGEST_SEARCH, MOST_SEARCHES, MOST_SERVERS
from nslab.lab.dns import DOMAIN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab

OWN_POLICIES = ("Default", "None")
"""Policies without the cluster's DNS. Default is the node's resolv.conf, and nodes here have no name server."""
NDOTS = ("ndots", "5")
LONGEST_NAME = 253
"""Characters of a domain."""


def resolv_conf(lab: Lab, pod: Pod) -> str:
    """The pod's resolv.conf for its dnsPolicy and dnsConfig; "" if neither names a name server."""
    settings = pod.dns
    # With the node's network, only ClusterFirstWithHostNet means the cluster's DNS.
    policy = "Default" if pod.host_network and settings.policy == "ClusterFirst" else settings.policy
    clusters = lab.dns_address is not None and policy not in OWN_POLICIES
    below = f"svc.{DOMAIN}"
    servers = dict.fromkeys((*((str(lab.dns_address),) if clusters else ()), *settings.nameservers))
    searches = dict.fromkeys((*((f"{pod.namespace}.{below}", below, DOMAIN) if clusters else ()), *settings.searches))
    options = dict((*((NDOTS,) if clusters else ()), *settings.options))
    searched = _fitting(searches)
    lines = [f"search {' '.join(searched)}"] if searched else []
    lines += [f"nameserver {server}" for server in (*servers,)[:MOST_SERVERS]]
    listed = (f"{name}:{value}" if value else name for name, value in options.items())
    lines += [f"options {' '.join(listed)}"] if options else []
    return "".join(f"{line}\n" for line in lines)


def _fitting(searches: Iterable[str]) -> list[str]:
    """The search domains that the kubelet writes: the first that fit into a resolver's limits."""
    found = [one for one in (*searches,)[:MOST_SEARCHES] if len(one) <= LONGEST_NAME]
    while len(" ".join(found)) > LONGEST_SEARCH:
        found.pop()
    return found


def domain(pod: Pod) -> str:
    """The domain of the pod's own name in /etc/hosts; "" without a subdomain."""
    return f"{pod.subdomain}.{pod.namespace}.svc.{DOMAIN}" if pod.subdomain else ""


def aliases(pod: Pod) -> str:
    """The lines of /etc/hosts for the pod's hostAliases."""
    lines = "".join(f"{address}\t{_joined(names)}\n" for address, names in pod.host_aliases)
    return f"\n# Entries added by HostAliases.\n{lines}" if lines else ""


def _joined(names: tuple[str, ...]) -> str:
    return "\t".join(names)
