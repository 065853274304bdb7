"""A node's rules and addresses as a State has them: no kernel, no root, no dump (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.objects.chain_policy import ChainPolicy
from nslab.objects.inet import Address
from nslab.objects.ipset import IpSet, SetMember
from nslab.objects.iptables import Chain, Jump
from nslab.objects.nft import NftChain, NftElement, NftSet, NftTable
from nslab.objects.routes import Route
from nslab.ruletext.iptables import TABLES
from nslab.trace.rules import nft_written
from nslab.trace.rules.packet import Addresses
from nslab.trace.rules.ruleset import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from ipaddress import IPv4Address

    from nslab.objects.base import KernelObject
    from nslab.trace.rules.ruleset import NodeRules
    from nslab.trace.topology import Topology


def node_rules(objects: Iterable[KernelObject]) -> NodeRules:
    """The rules among the objects of one namespace, in the places that `up` gives them."""
    own = [*objects]
    return read("\n".join([*_tables(own), ""]), "\n".join([*_sets(own), ""]), listed=[*_nft(own)])


def node_addresses(net: Topology, ns: str) -> Addresses:
    """The addresses and routes of a namespace."""

    def routes(address: IPv4Address, _mark: int) -> Sequence[str]:
        hop = net.lookup(ns, address)
        return (hop.dev,) if isinstance(hop, Route | Address) else ()

    own = net.addresses[ns]
    networks = [(address.address.network, address.dev) for address in own if address.address.network.prefixlen < 31]
    return Addresses(
        {address.address.ip: address.dev for address in own},
        {network.broadcast_address: dev for network, dev in networks},
        routes,
    )


def _tables(objects: Sequence[KernelObject]) -> Iterator[str]:
    """As `iptables-save` prints them. Each jump that comes first was inserted before those that came earlier."""
    for table in TABLES:
        chains = [obj for obj in objects if isinstance(obj, Chain) and obj.table == table]
        jumps = [obj for obj in objects if isinstance(obj, Jump) and obj.table == table]
        policies = [obj for obj in objects if isinstance(obj, ChainPolicy) and obj.table == table]
        ordered = [*(jump for jump in reversed(jumps) if jump.comes_first), *(j for j in jumps if not j.comes_first)]
        if chains or jumps or policies:
            yield f"*{table}"
            yield from (f":{obj.chain} {obj.policy} [0:0]" for obj in policies)
            yield from (f":{chain.name} - [0:0]" for chain in chains)
            yield from (f"-A {jump.chain} {jump.rule}" for jump in ordered)
            yield from (f"-A {chain.name} {rule}" for chain in chains for rule in chain.rules)
            yield "COMMIT"


def _sets(objects: Sequence[KernelObject]) -> Iterator[str]:
    yield from (f"create {obj.name} {obj.type} {obj.options}" for obj in objects if isinstance(obj, IpSet))
    yield from (f"add {obj.set} {obj.member}" for obj in objects if isinstance(obj, SetMember))


def _nft(objects: Sequence[KernelObject]) -> Iterator[dict[str, Any]]:
    """As `nft -j list ruleset` lists them."""
    elements: dict[tuple[str, str], list[Any]] = {}
    for obj in objects:
        if isinstance(obj, NftElement):
            found = nft_written.element(obj.element, obj.verdict, obj.comment)
            elements.setdefault((obj.table, obj.set), []).append(found)
    for obj in objects:
        match obj:
            case NftTable(name=name):
                yield {"table": {"family": "ip", "name": name}}
            case NftSet(table=table, name=name):
                body = {"family": "ip", "table": table, "name": name, "elem": elements.get((table, name), [])}
                yield {"map" if obj.map else "set": body}
            case NftChain(table=table, name=name):
                yield {"chain": {"family": "ip", "table": table, "name": name, **nft_written.hook(obj.hook)}}
    for obj in objects:
        if isinstance(obj, NftChain):
            where = {"family": "ip", "table": obj.table, "chain": obj.name}
            yield from ({"rule": {**where, **nft_written.rule(rule), "text": rule}} for rule in obj.rules)
