"""What `iptables-save` prints, read back: the lab's chains, jumps and policies, and what is not the lab's."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from nslab.dataclass import replace
from nslab.objects.chain_policy import ACCEPT, ChainPolicy
from nslab.objects.iptables import Chain, InTable, for_shell
from nslab.objects.unmanaged import Unmanaged
from nslab.quote import quote
from nslab.ruletext.iptables import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.objects.base import KernelObject
    from nslab.objects.iptables import Table
    from nslab.objects.keys import Key

_INCOMPATIBLE = re.compile(r"^# Table `(\w+)' (?:is|contains) incompatible", re.MULTILINE)
NOT_BUILT_IN = "-"
"""What stands in place of a policy at a chain that somebody made."""


class SavedChain(NamedTuple):
    """One chain as `iptables-save` prints it. `rules`: without `-A CHAIN`."""

    table: Table
    name: str
    policy: str
    rules: list[str]

    @property
    def policy_changed(self) -> bool:
        """Whether it is built in, and somebody set its policy."""
        return self.policy not in (NOT_BUILT_IN, ACCEPT)


def saved_chains(saved: str) -> list[SavedChain]:
    """The chains in the output of `iptables-save`."""
    found: dict[tuple[str, str], SavedChain] = {}
    table: Any = ""
    for line in saved.splitlines():
        match line[:1], line.split(maxsplit=2):
            case "*", _:
                table = line[1:]
            case ":", [chain, policy, *_]:
                found[table, chain[1:]] = SavedChain(table, chain[1:], policy, [])
            case "-", ["-A", chain, rule]:
                found[table, chain].rules.append(rule)
    return [*found.values()]


def incompatible(ns: str, saved: str, family: str) -> list[Unmanaged]:
    """Tables of a family into which somebody wrote by nft what iptables cannot list: `up` makes the lab's part anew."""
    return [
        Unmanaged(
            ns,
            f"nft rules in table {family} {table} that iptables cannot list",
            (f"nft delete table {family} {table}",),
        )
        for table in _INCOMPATIBLE.findall(saved)
    ]


def seen(ns: str, chains: Iterable[SavedChain], known: Iterable[KernelObject]) -> Iterator[InTable]:
    """Our chains and jumps as they are; and the policies that somebody changed."""
    ours = _by_key(known)
    for chain in chains:
        if chain.policy_changed and chain.table in TABLES:
            yield ChainPolicy(ns, chain.table, chain.name, chain.policy)
        mine = ours.get(("Chain", ns, chain.table, chain.name))
        if isinstance(mine, Chain):
            yield replace(mine, rules=tuple(chain.rules))
            continue
        for rule in dict.fromkeys(chain.rules):
            if jump := ours.get(("Jump", ns, chain.table, chain.name, rule)):
                yield jump


def unmanaged(ns: str, chains: Iterable[SavedChain], known: Iterable[KernelObject], program: str) -> list[Unmanaged]:
    """Everybody else's rules, then their chains, as the commands of `program` that made them."""
    ours = _by_key(known)
    rules: list[Unmanaged] = []
    made: list[Unmanaged] = []
    for chain in chains:
        if ("Chain", ns, chain.table, chain.name) in ours:
            continue
        tool, name = f"{program} -t {chain.table}", quote(chain.name)
        for rule in dict.fromkeys(chain.rules):
            if ("Jump", ns, chain.table, chain.name, rule) not in ours:
                take_away = f"{tool} -D {name} {for_shell(rule)}"
                times = chain.rules.count(rule)
                rules.append(Unmanaged(ns, f"{tool} -A {chain.name} {rule}", (take_away,) * times))
        if chain.policy == NOT_BUILT_IN:
            made.append(Unmanaged(ns, f"{tool} -N {chain.name}", (f"{tool} -F {name}", f"{tool} -X {name}")))
    return [*rules, *made]


def changed_policies(ns: str, chains: Iterable[SavedChain], program: str) -> list[Unmanaged]:
    """The policies that somebody set where the lab has no rules: in another family's tables, or another variant's."""
    return [
        Unmanaged(
            ns,
            f"{program} -t {chain.table} -P {chain.name} {chain.policy}",
            (f"{program} -t {chain.table} -P {quote(chain.name)} {ACCEPT}",),
        )
        for chain in chains
        if chain.policy_changed
    ]


def _by_key(known: Iterable[KernelObject]) -> dict[Key, InTable]:
    return {obj.key: obj for obj in known if isinstance(obj, InTable)}
