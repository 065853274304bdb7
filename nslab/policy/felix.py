"""What the Felix of a node writes: its own chains, those of the node's pods, and of the policies that select them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.policy import base, names, selectors
from nslab.policy.converted import converted
from nslab.policy.model import DIRECTIONS
from nslab.policy.policy_chain import chain_name, group_name, group_rules, groups, policy_rules
from nslab.policy.release import RELEASES
from nslab.policy.rule import signed
from nslab.policy.workload import CHAIN, PROFILE, dispatch, profile_rule, profiles, workload_body

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nslab.policy.converted import Members
    from nslab.policy.model import Cluster, Direction, FelixNode, NetworkPolicy, WorkloadEndpoint
    from nslab.policy.rule import FelixRule
    from nslab.ruletext.items import Body, Items

HASH_OPTIONS = "family inet hashsize 1024 maxelem 1048576"


def items(cluster: Cluster, node: FelixNode) -> Items:
    """All chains, jumps, sets and members of a node."""
    here = [one for one in cluster.workloads if one.node == node.name and one.ip]
    policies = sorted(cluster.policies, key=lambda one: (one.namespace, one.name))
    found: Items = {}
    for direction in DIRECTIONS:
        isolating = {one: _isolating(policies, one, direction) for one in here}
        for name, rules in _policy_chains(node.version, isolating.values(), direction):
            found["chain", "filter", name] = signed(name, rules)
        for name, body in _workload_chains(node.version, isolating, direction):
            found["chain", "filter", name] = body
    for table, name, rules in base.chains(node):
        found["chain", table, name] = signed(name, rules)
    found |= dict.fromkeys(base.jumps(), ())
    return {**_fixed_sets(cluster, node), **_policy_sets(cluster, policies, here), **found}


def _isolating(policies: Iterable[NetworkPolicy], pod: WorkloadEndpoint, direction: Direction) -> list[NetworkPolicy]:
    """The policies that isolate a pod in a direction, in their order."""
    return [one for one in policies if one.rules(direction) is not None and selectors.selects(one, pod)]


def _policy_chains(
    version: str, isolating: Iterable[Sequence[NetworkPolicy]], direction: Direction
) -> Iterator[tuple[str, list[FelixRule]]]:
    """The chains of the policies that select pods of the node, and of their groups."""
    grouped = {group_name(version, one, direction): one for some in isolating for one in groups(some)}
    active = {one: None for group in grouped.values() for one in group}
    for one in active:
        yield chain_name(version, one, direction), policy_rules(version, one, direction)
    for name, group in grouped.items():
        if len(group) > 1:
            yield name, [*group_rules(version, group, direction)]


def _workload_chains(
    version: str, isolating: Mapping[WorkloadEndpoint, Sequence[NetworkPolicy]], direction: Direction
) -> Iterator[tuple[str, Body]]:
    """The chains of profiles, of pods, and those that lead to them."""
    for profile in dict.fromkeys(name for pod in isolating for name in profiles(pod)):
        name = names.chain(PROFILE[direction], profile)
        yield name, signed(name, [profile_rule(profile, direction)])
    for pod, policies in isolating.items():
        jumps = tuple(group_name(version, group, direction) for group in groups(policies))
        yield CHAIN[direction] + pod.interface, workload_body(version, pod.interface, direction, jumps, profiles(pod))
    for name, rules in dispatch([pod.interface for pod in isolating], direction):
        yield name, signed(name, rules)


def _fixed_sets(cluster: Cluster, node: FelixNode) -> Items:
    """The sets of pools, of the node's addresses, and of those from which it takes encapsulated packets."""
    peers = {base.IPIP: base.ALL_HOSTS, base.VXLAN: base.ALL_VXLAN}
    found = _set(names.ipset(RELEASES[node.version].pools), "hash:net", cluster.pools)
    found |= _set(base.MASQUERADED, "hash:net", cluster.pools)
    if node.tunnel:
        found |= _set(peers[node.tunnel], "hash:net", node.tunnel_peers)
    return found | _set(base.THIS_HOST, "hash:ip", ("127.0.0.1", *node.addresses))


def _policy_sets(cluster: Cluster, policies: Iterable[NetworkPolicy], here: Sequence[WorkloadEndpoint]) -> Items:
    """The sets that the rules of active policies ask."""
    labels = selectors.namespace_labels(cluster)
    found: Items = {}
    for policy in policies:
        if any(selectors.selects(policy, pod) for pod in here):
            for direction in DIRECTIONS:
                for allowed in converted(policy, direction):
                    for set_id, what in allowed.sets.items():
                        if ("ipset", name := names.ipset(set_id)) not in found:
                            kind = "hash:ip,port" if what.port else "hash:net"
                            found |= _set(name, kind, _members(what, cluster, labels))
    return found


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


def _set(name: str, kind: str, members: Iterable[str]) -> Items:
    return {("ipset", name): (kind, HASH_OPTIONS), **{("member", name, one): () for one in members}}
