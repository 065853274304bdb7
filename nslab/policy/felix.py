"""What the Felix of a node writes: its own chains, those of the node's pods, and of the policies that select them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.policy import base, endpoint_marks, in_iptables, in_nft, names, selectors
from nslab.policy.converted import converted
from nslab.policy.model import DIRECTIONS
from nslab.policy.policy_chain import chain_name, group_name, group_rules, groups, policy_rules
from nslab.policy.release import node_release
from nslab.policy.workload import CHAIN, PROFILE, profile_rule, profiles, workload_body

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from nslab.policy.converted import Members
    from nslab.policy.model import Cluster, Direction, FelixNode, NetworkPolicy, WorkloadEndpoint
    from nslab.policy.release import Release
    from nslab.policy.rule import FelixRule
    from nslab.ruletext.items import Items

    _Set: TypeAlias = tuple[str, str, Collection[str]]
    """A name, a kind of ipset, and members."""

FORMS = {"iptables": in_iptables, "nftables": in_nft}
"""By dataplane: how chains, what leads to them, and sets are written."""


def items(cluster: Cluster, node: FelixNode) -> Items:
    """All chains, sets and members of a node, and what leads to them."""
    form, release = FORMS[node.dataplane], node_release(node)
    here = [one for one in cluster.workloads if one.node == node.name and one.ip]
    policies = sorted(cluster.policies, key=lambda one: (one.namespace, one.name))
    found: Items = {}
    for direction in DIRECTIONS:
        isolating = {one: _isolating(policies, one, direction) for one in here}
        chains = _policy_chains(release, isolating.values(), direction)
        found.update(form.chain("filter", name, rules) for name, rules in chains)
        profile_chains = _profile_chains(release, here, direction)
        found.update(form.chain("filter", name, rules) for name, rules in profile_chains)
        for pod, some in isolating.items():
            item, _ = form.chain("filter", CHAIN[direction] + pod.interface, ())
            body = workload_body(release, pod.interface, direction, _jumps(release, some, direction), profiles(pod))
            found[item] = ("", *body) if release.nftables else body
        found.update(form.dispatched([pod.interface for pod in here], direction))
    if node.ipvs:
        marking = endpoint_marks.chains(release, [pod.interface for pod in here])
        found.update(form.chain("filter", name, rules) for name, rules in marking)
    found.update(form.chain(table, name, rules) for table, name, rules in base.chains(node))
    sets = [*_fixed_sets(cluster, node), *_policy_sets(cluster, policies, here)]
    return {**{key: body for one in sets for key, body in form.ipset(*one).items()}, **found, **form.frame()}


def _jumps(release: Release, policies: Sequence[NetworkPolicy], direction: Direction) -> tuple[str, ...]:
    return tuple(group_name(release, group, direction) for group in groups(policies))


def _isolating(policies: Iterable[NetworkPolicy], pod: WorkloadEndpoint, direction: Direction) -> list[NetworkPolicy]:
    """The policies that isolate a pod in a direction, in their order."""
    return [one for one in policies if one.rules(direction) is not None and selectors.selects(one, pod)]


def _policy_chains(
    release: Release, isolating: Iterable[Sequence[NetworkPolicy]], direction: Direction
) -> Iterator[tuple[str, list[FelixRule]]]:
    """The chains of the policies that select pods of the node, and of their groups."""
    grouped = {group_name(release, one, direction): one for some in isolating for one in groups(some)}
    active = {one: None for group in grouped.values() for one in group}
    for one in active:
        yield chain_name(release, one, direction), policy_rules(release, one, direction)
    for name, group in grouped.items():
        if len(group) > 1:
            yield name, [*group_rules(release, group, direction)]


def _profile_chains(
    release: Release, here: Iterable[WorkloadEndpoint], direction: Direction
) -> Iterator[tuple[str, list[FelixRule]]]:
    for profile in dict.fromkeys(name for pod in here for name in profiles(pod)):
        yield release.chain(PROFILE[direction], profile), [profile_rule(profile, direction)]


def _fixed_sets(cluster: Cluster, node: FelixNode) -> Iterator[_Set]:
    """The sets of pools, of the node's addresses, and of those from which it takes encapsulated packets."""
    peers = {base.IPIP: base.ALL_HOSTS, base.VXLAN: base.ALL_VXLAN}
    yield names.ipset(node_release(node).pools), "hash:net", cluster.pools
    yield base.MASQUERADED, "hash:net", cluster.pools
    if node.tunnel:
        yield peers[node.tunnel], "hash:net", node.tunnel_peers
    yield base.THIS_HOST, "hash:ip", ("127.0.0.1", *node.addresses)


def _policy_sets(
    cluster: Cluster, policies: Iterable[NetworkPolicy], here: Sequence[WorkloadEndpoint]
) -> Iterator[_Set]:
    """The sets that the rules of active policies ask."""
    labels = selectors.namespace_labels(cluster)
    asked: dict[str, Members] = {}
    for policy in policies:
        if any(selectors.selects(policy, pod) for pod in here):
            for allowed in (one for direction in DIRECTIONS for one in converted(policy, direction)):
                asked |= {set_id: what for set_id, what in allowed.sets.items() if set_id not in asked}
    for set_id, what in asked.items():
        kind = "hash:ip,port" if what.port else "hash:net"
        yield names.ipset(set_id), kind, dict.fromkeys(_members(what, cluster, labels))


def _members(what: Members, cluster: Cluster, labels: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    if what.peer is None:
        pods: Iterable[WorkloadEndpoint] = cluster.workloads
    else:
        pods = selectors.members(what.peer, what.namespace, cluster, labels)
    for pod in pods:
        if pod.ip and not what.port:
            yield pod.ip
        elif pod.ip:
            for port in pod.ports:
                if (port.name, port.protocol.lower()) == (what.port, what.protocol):
                    yield f"{pod.ip},{what.protocol}:{port.port}"
