"""The items of a mode in a node's kernel: each has a key, which identifies it, and a body, which may change.

All modes share this vocabulary. `up` converts items to objects of a State (nslab.compiler.services); the node's
kube-proxy process converts changed items to restore files.

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
| nft-table, NAME (of family ip) | (comment,) |
| nft-set, TABLE, NAME | (the text in the braces of its declaration: type, flags, timeout, comment;) |
| nft-map, TABLE, NAME | the same |
| nft-chain, TABLE, NAME | (hook and priority or "", rule, rule, …) |
| nft-element, TABLE, NAME OF SET OR MAP, KEY | (comment or "", verdict or "") |
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Item: TypeAlias = tuple[str, ...]
Body: TypeAlias = tuple[str, ...]
Items: TypeAlias = dict[Item, Body]


class NodeCommand(NamedTuple):
    """A program to run in the node's network namespace, and its standard input."""

    argv: tuple[str, ...]
    text: str
