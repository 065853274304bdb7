"""What a mode wants in a node's kernel: items, each told apart by a key and with a body that may change.

One vocabulary for all modes. `up` makes objects of a State out of them (nslab.compiler.services); the node's kube-proxy
process makes restore files out of the ones that changed.

| item | body |
|---|---|
| chain, TABLE, NAME | the rules, as iptables-save writes them, without `-A NAME` |
| jump, TABLE, BUILT-IN CHAIN, RULE, first or last | () |
| policy, TABLE, BUILT-IN CHAIN, POLICY | () |
| sysctl, PATH (with slashes), DEFAULT | (value,) |
| ipset, NAME | (type, the options that follow it) |
| member, SET, ENTRY | () |
| dummy, NAME | () |
| address, DEVICE, IP/32 | () |
| virtual, PROTOCOL (lower case), IP:PORT | (scheduler, seconds of persistence or "", flags or "") |
| real, PROTOCOL, IP:PORT of the virtual server, IP:PORT | (weight,) |
| nft-table, ip, NAME | (comment,) |
| nft-set, NAME | (what stands in braces when it is declared: type, flags, timeout, comment;) |
| nft-map, NAME | the same |
| nft-chain, NAME | (hook and priority or "", rule, rule, …) |
| nft-element, NAME OF SET OR MAP, KEY | (comment or "", verdict or "") |
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Item: TypeAlias = tuple[str, ...]
Body: TypeAlias = tuple[str, ...]
Items: TypeAlias = dict[Item, Body]


class Command(NamedTuple):
    """A program to run in the node's network namespace, and what it reads."""

    argv: tuple[str, ...]
    text: str
