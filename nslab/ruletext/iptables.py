"""Chains, jumps and sysctls as commands, for every mode that writes iptables rules.

A restore is one kernel transaction for each COMMIT. `--noflush` keeps the chains that it does not declare: it declares
(and so flushes) nslab's chains and fills them; the built-in chains, which others use too, gain and lose single rules.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from nslab.ruletext.items import NodeCommand

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from nslab.ruletext.items import Body, Item, Items

    _Chains: TypeAlias = Sequence[tuple[str, Body]]

_TARGET = re.compile(r"(?:^|\s)-[jg] (\S+)")
TABLES = ("filter", "nat", "mangle", "raw")
"""The tables in the order of the text: filter before nat, as kube-proxy writes them."""
BLOCK = 300
"""The maximum number of chains in a transaction of iptables-nft. It keeps names in a sorted list, and walks that for
each line: 30,000 chains in one transaction take two minutes, in a hundred transactions three seconds."""


def iptables_commands(old: Items, new: Items, variant: str) -> tuple[NodeCommand, ...]:
    """One `iptables-restore` for all chains and jumps that differ; empty if none does."""
    text = iptables_text(old, new, block(variant))
    return (NodeCommand((f"{variant}-restore", "--noflush", "--wait"), text),) if text else ()


def block(program: str) -> int:
    """The maximum number of chains in a transaction of an iptables program, by its full name or path; 0: no limit."""
    return BLOCK if "-nft" in program else 0


def sysctl_commands(old: Items, new: Items) -> tuple[NodeCommand, ...]:
    """One `sysctl` for all settings that differ; a removed one gets its default back."""
    values = {path: default for kind, path, *default in _of("sysctl", old)}
    values |= {item[1]: list(new[item]) for item in _of("sysctl", new)}
    words = [f"{path}={value}" for path, (value,) in values.items()]
    return (NodeCommand(("sysctl", "-qw", *words), ""),) if words else ()


def iptables_text(old: Items, new: Items, block: int = 0, moved: Collection[Item] = ()) -> str:
    """Input for `iptables-restore --noflush` that turns `old` into `new`.

    A table with more than `block` chains is written in several transactions: a chain after those that it jumps to. So
    each packet meets a Service's old rules or its new ones. `moved`: jumps of `new` that are there, elsewhere.
    """
    changed, gone = _chains(new.items()), _chains((item, body) for item, body in old.items() if item not in new)
    jumps = _jumps({**old, **dict.fromkeys(moved, ())}, new, moved)
    policies = _policies(new)
    lines: list[str] = []
    for table in TABLES:
        chains, stale = changed.get(table, []), [name for name, _ in gone.get(table, ())]
        if block and len(chains) + len(stale) > block:
            chains = _leaves_first(chains)
            if table in policies:
                lines += _transaction(table, policies=policies[table])
            for start in range(0, len(chains), block):
                lines += _transaction(table, chains[start : start + block])
            lines += _transaction(table, jumps=jumps.get(table, ()))
            # All are flushed before the first is deleted: they may jump to each other.
            for start in range(0, len(stale), block):
                lines += _transaction(table, [(name, ()) for name in stale[start : start + block]])
            for start in range(0, len(stale), block):
                lines += _transaction(table, deleted=stale[start : start + block])
        elif chains or stale or table in jumps or table in policies:
            chains = [*chains, *((name, ()) for name in stale)]
            lines += _transaction(table, chains, jumps.get(table, ()), stale, policies.get(table, ()))
    return "\n".join([*lines, ""]) if lines else ""


def _transaction(
    table: str,
    chains: _Chains = (),
    jumps: Iterable[str] = (),
    deleted: Iterable[str] = (),
    policies: Iterable[tuple[str, str]] = (),
) -> list[str]:
    """One transaction: policies, chains with their rules (or flushed), jumps, and deleted chains without references."""
    return [
        f"*{table}",
        *[f":{name} {policy} [0:0]" for name, policy in policies],
        *[f":{name} - [0:0]" for name, _ in chains],
        *[f"-A {name} {rule}" for name, rules in chains for rule in rules],
        *jumps,
        *[f"-X {name}" for name in deleted],
        "COMMIT",
    ]


def _policies(items: Items) -> dict[str, list[tuple[str, str]]]:
    """Built-in chains and their policies, by table. With `--noflush`, a chain's rules stay."""
    found: dict[str, list[tuple[str, str]]] = {}
    for _, table, chain, policy in _of("policy", items):
        found.setdefault(table, []).append((chain, policy))
    return found


def _leaves_first(chains: _Chains) -> list[tuple[str, Body]]:
    """Each chain after those that it jumps to."""
    rules = dict(chains)
    ordered: dict[str, Body] = {}
    visited: set[str] = set()
    todo = [*reversed(rules)]
    while todo:
        name = todo[-1]
        ahead = [] if name in visited else [to for to in _targets(rules[name]) if to in rules and to not in visited]
        visited.add(name)
        if not ahead:
            ordered[todo.pop()] = rules[name]
        todo += ahead
    return [*ordered.items()]


def _targets(rules: Body) -> Iterator[str]:
    """Where rules lead, chains among it."""
    for rule in rules:
        yield from (found.group(1) for found in _TARGET.finditer(rule))


def saved_text(items: Items) -> str:
    """All chains and jumps in the format of `iptables-save`: jumps from top to bottom, as in their chains."""
    chains, jumps = _chains(items.items()), _of("jump", items)
    ordered = [
        *(jump for jump in reversed(jumps) if jump[4] == "first"),
        *(jump for jump in jumps if jump[4] == "last"),
    ]
    lines: list[str] = []
    for table in TABLES:
        if table in chains:
            lines += [f"*{table}", *(f":{name} - [0:0]" for name, _ in chains[table])]
            lines += [f"-A {chain} {rule}" for _, where, chain, rule, _ in ordered if where == table]
            lines += [f"-A {name} {rule}" for name, rules in chains[table] for rule in rules]
            lines.append("COMMIT")
    return "\n".join([*lines, ""])


def _chains(items: Iterable[tuple[Item, Body]]) -> dict[str, list[tuple[str, Body]]]:
    found: dict[str, list[tuple[str, Body]]] = {}
    for item, body in items:
        if item[0] == "chain":
            found.setdefault(item[1], []).append((item[2], body))
    return found


def _jumps(old: Items, new: Items, moved: Collection[Item]) -> dict[str, list[str]]:
    """Commands by table. `-I CHAIN 1` inserts before all existing rules, so the last one written is first."""
    found: dict[str, list[str]] = {}
    for _, table, chain, rule, place in _of("jump", old):
        item = ("jump", table, chain, rule, place)
        if item in moved or item not in new:
            found.setdefault(table, []).append(f"-D {chain} {rule}")
    for _, table, chain, rule, place in _of("jump", new):
        item = ("jump", table, chain, rule, place)
        if item in moved or item not in old:
            where = f"-I {chain} 1" if place == "first" else f"-A {chain}"
            found.setdefault(table, []).append(f"{where} {rule}")
    return found


def _of(kind: str, items: Items) -> list[Item]:
    return [item for item in items if item[0] == kind]
