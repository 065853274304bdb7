"""Chains, jumps and settings as commands: what every mode needs that writes rules of iptables.

One restore is one transaction of the kernel for each table. `--noflush` leaves what it does not name: our chains are
named (and so emptied) and filled in one go; the built-in chains, which have other owners, gain and lose single rules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.proxy.items import Command

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.proxy.items import Body, Item, Items

TABLES = ("filter", "nat", "mangle", "raw")
"""In the order of the text: filter before nat, as kube-proxy writes them."""
_KUBELETS = ("KUBE-KUBELET-CANARY", "KUBE-IPTABLES-HINT")


def iptables_commands(old: Items, new: Items, variant: str) -> tuple[Command, ...]:
    """One `iptables-restore` for all chains and jumps that differ; nothing, if none does."""
    text = iptables_text(old, new)
    return (Command((f"{variant}-restore", "--noflush", "--wait"), text),) if text else ()


def sysctl_commands(old: Items, new: Items) -> tuple[Command, ...]:
    """One `sysctl` for all settings that differ; one that is not wanted any more gets its default back."""
    values = {path: default for kind, path, *default in _of("sysctl", old)}
    values |= {item[1]: list(new[item]) for item in _of("sysctl", new)}
    words = [f"{path}={value}" for path, (value,) in values.items()]
    return (Command(("sysctl", "-qw", *words), ""),) if words else ()


def iptables_text(old: Items, new: Items) -> str:
    """What `iptables-restore --noflush` reads to turn `old` into `new`."""
    changed, gone = _chains(new.items()), _chains((item, body) for item, body in old.items() if item not in new)
    jumps = _jumps(old, new)
    lines: list[str] = []
    for table in TABLES:
        mine, stale = changed.get(table, []), [name for name, _ in gone.get(table, ())]
        if not (mine or stale or table in jumps):
            continue
        lines.append(f"*{table}")
        lines += [f":{name} - [0:0]" for name, _ in mine]
        lines += [f":{name} - [0:0]" for name in stale]
        for name, rules in mine:
            lines += [f"-A {name} {rule}" for rule in rules]
        lines += jumps.get(table, ())
        # A chain can be deleted when nothing jumps to it: all that did was emptied or filled anew above.
        lines += [f"-X {name}" for name in stale]
        lines.append("COMMIT")
    return "\n".join([*lines, ""]) if lines else ""


def saved_text(items: Items) -> str:
    """All chains and jumps in the words of `iptables-save`: jumps from top to bottom, as they stand in their chains."""
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


def saved_items(saved: str, wanted: Items) -> Items:
    """The chains named KUBE-, and the jumps to them, in the output of `iptables-save`: what a kube-proxy finds there.

    Not what kubelet keeps. Whether a jump was put first or last cannot be seen: it is taken as in `wanted`.
    """
    chains: dict[Item, list[str]] = {}
    jumps: list[Item] = []
    table = ""
    for line in saved.splitlines():
        match line[:1], line.split(maxsplit=2):
            case "*", _:
                table = line[1:]
            case ":", [name, *_] if name.startswith(":KUBE-") and name[1:] not in _KUBELETS:
                chains["chain", table, name[1:]] = []
            case "-", ["-A", name, rule]:
                if (item := ("chain", table, name)) in chains:
                    chains[item].append(rule)
                elif rule.rpartition("-j ")[2].startswith("KUBE-") and not name.startswith("KUBE-"):
                    last: Item = ("jump", table, name, rule, "last")
                    jumps.append(last if last in wanted else (*last[:4], "first"))
    return {item: tuple(rules) for item, rules in chains.items()} | dict.fromkeys(reversed(jumps), ())


def _chains(items: Iterable[tuple[Item, Body]]) -> dict[str, list[tuple[str, Body]]]:
    found: dict[str, list[tuple[str, Body]]] = {}
    for item, body in items:
        if item[0] == "chain":
            found.setdefault(item[1], []).append((item[2], body))
    return found


def _jumps(old: Items, new: Items) -> dict[str, list[str]]:
    """Commands by table. `-I` puts a jump before those that are there, so the last one told ends up first."""
    found: dict[str, list[str]] = {}
    for _, table, chain, rule, place in _of("jump", old):
        if ("jump", table, chain, rule, place) not in new:
            found.setdefault(table, []).append(f"-D {chain} {rule}")
    for _, table, chain, rule, place in _of("jump", new):
        if ("jump", table, chain, rule, place) not in old:
            where = f"-I {chain} 1" if place == "first" else f"-A {chain}"
            found.setdefault(table, []).append(f"{where} {rule}")
    return found


def _of(kind: str, items: Items) -> list[Item]:
    return [item for item in items if item[0] == kind]
