"""What differs between the releases of Calico: bits of the mark, comments, keys of policies, the name of a set."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nslab.policy import names
from nslab.policy.model import NFTABLES

if TYPE_CHECKING:
    from nslab.policy.model import Direction, FelixNode, NetworkPolicy

ACCEPT, PASS = 0x10000, 0x20000
"""Bits of the mark: a policy accepted the packet; a policy leaves it to the next tier."""
FELIX_BITS = 0xFFFF0000
"""The bits of the mark that Felix takes for itself (IptablesMarkMask)."""
TIER = "default"


class Release(NamedTuple):
    """A release. `scratch`: the bit that collects the parts of a rule; `block`: the bit of one part of several.

    `tier_start`, `tier_end`: comments. `pools`: the set of all pools. `key`: how it writes the key of a policy.
    `nftables`: it writes for nft, where names may be long.
    """

    version: str
    scratch: int
    block: int
    tier_start: str
    tier_end: str
    pools: str
    key: str
    nftables: bool = False

    def chain(self, prefix: str, key: str) -> str:
        """The name of a chain."""
        return names.chain(prefix, key, names.NFT_CHAIN if self.nftables else names.CHAIN)

    @property
    def all_bits(self) -> int:
        """The bits that base chains clear."""
        return ACCEPT | PASS | self.scratch | self.block

    @property
    def endpoint_bits(self) -> int:
        """The bits that number pods beside IPVS: all above the others."""
        return FELIX_BITS & -(self.block << 1)


RELEASES = {
    "3.28": Release(
        "3.28", 0x40000, 0x80000, "Start of policies", "Drop if no policies passed packet", "all-ipam-pools",
        "{namespace}/knp.default.{name}",
    ),
    "3.30": Release(
        "3.30", 0x80000, 0x100000, f"Start of tier {TIER}", f"End of tier {TIER}. Drop if no policies passed packet",
        "all-ipam-pools", f"{TIER}/{{namespace}}/knp.default.{{name}}",
    ),
    "3.32": Release(
        "3.32", 0x80000, 0x100000, f"Start of tier {TIER}", f"End of tier {TIER}. Drop if no policies passed packet",
        "network-ip-pools", "knp/{namespace}/{name}",
    ),
}  # fmt: skip


def node_release(node: FelixNode) -> Release:
    """What the Felix of a node writes by."""
    return RELEASES[node.version]._replace(nftables=node.dataplane == NFTABLES)


def key(release: Release, policy: NetworkPolicy) -> str:
    """A policy's key, of which the names of its chains are made."""
    return release.key.format(namespace=policy.namespace, name=policy.name)


def comment(release: Release, policy: NetworkPolicy, direction: Direction) -> str:
    """What the first rule of a policy's chain says."""
    if release.version == "3.32":
        return f"KubernetesNetworkPolicy {policy.namespace}/{policy.name} {direction}"
    return f"Policy {policy.namespace}/knp.default.{policy.name} {direction}"


def group_words(release: Release, policies: list[NetworkPolicy], selector: str, direction: Direction) -> list[str]:
    """What the name of a group of policies is hashed of."""
    bound = "inbound" if direction == "ingress" else "outbound"
    if release.version == "3.32":
        kind = "KubernetesNetworkPolicy"
        ids = [f"{{Name: {one.name}, Namespace: {one.namespace}, Kind: {kind}}}" for one in policies]
        return [selector, bound, str(len(ids)), *ids]
    ids = [f"{one.namespace}/knp.default.{one.name}" for one in policies]
    return [TIER, selector, bound, str(len(ids)), *ids]
