"""The rules of a host as a tree with counters, what endpoints get as a table, and both as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from nslab.trace.authors import BY_HAND
from nslab.views.table import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.trace.counted.values import (
        ChainBranch,
        CountedChain,
        CountedRule,
        CountedRules,
        RuleCounter,
        ServiceShare,
    )

_DIGITS = 9
"""The room of a counter."""
_ABOVE = " (above)"


class TreeLine(NamedTuple):
    """A line of the tree, and its role: chain, rule, or hand (a rule that is not the lab's)."""

    role: str
    text: str


def tree(rules: CountedRules, service: str = "") -> Iterator[TreeLine]:
    """The chains that hooks call, and below each rule the chain to which it leads, where it is met first.

    `service`: NAMESPACE/NAME, for its rules and those that lead there alone; "" for all.
    """
    drawing = _Drawing(rules.chains, service)
    yield TreeLine("chain", f"{'PACKETS':>{_DIGITS}} {'BYTES':>{_DIGITS}}  RULE")
    for chain in rules.chains:
        if chain.hook and drawing.is_wanted(chain):
            yield from drawing.base(chain)


class _Drawing:
    """Draws chains. A chain that was drawn is named only, when it is met again."""

    def __init__(self, chains: Sequence[CountedChain], service: str) -> None:
        self._chains = {(chain.table, chain.name): chain for chain in chains}
        self._service = service
        self._wanted: dict[tuple[str, str], bool] = {}
        self._drawn: set[tuple[str, str]] = set()

    def is_wanted(self, chain: CountedChain) -> bool:
        """Whether a chain has a rule to draw; of all rules, also whether its policy drops packets."""
        key = chain.table, chain.name
        if key not in self._wanted:
            self._wanted[key] = False  # a loop to which no packet comes
            dropping = not self._service and chain.policy == "DROP"
            self._wanted[key] = dropping or any(self._is_rule_wanted(chain, rule) for rule in chain.rules)
        return self._wanted[key]

    def _is_rule_wanted(self, chain: CountedChain, rule: CountedRule) -> bool:
        return not self._service or self._is_own(rule.service) or any(self._leads_there(chain, rule.branches))

    def _leads_there(self, chain: CountedChain, branches: Sequence[ChainBranch]) -> Iterator[bool]:
        for branch in branches:
            below = self._chains.get((chain.table, branch.chain))
            yield self._is_own(branch.service) or (below is not None and self.is_wanted(below))

    def _is_own(self, service: str) -> bool:
        return service.partition(":")[0] == self._service

    def base(self, chain: CountedChain) -> Iterator[TreeLine]:
        """A base chain, with all below it."""
        policy = f" (policy {chain.policy})" if chain.policy else ""
        yield TreeLine("chain", f"{_counter(chain.counter)}  {chain.table} {chain.name}{policy}")
        yield from self._rules(chain, "", whole=False)

    def _rules(self, chain: CountedChain, stem: str, *, whole: bool, by: str = "") -> Iterator[TreeLine]:
        """The rules of a chain. `whole`: it is the Service's own, so all of it is drawn."""
        self._drawn.add((chain.table, chain.name))
        shown = [rule for rule in chain.rules if whole or self._is_rule_wanted(chain, rule)]
        for rule in shown:
            last = rule is shown[-1]
            branches = [one for one in rule.branches if whole or self._is_branch_wanted(chain, rule, one)]
            above = any(not one.key and self._is_drawn(chain, one) for one in branches)
            yield self._line(rule, f"{stem}{'└─' if last else '├─'} ", by, above=above)
            below = f"{stem}{'   ' if last else '│  '}"
            for branch in branches:
                yield from self._branch(chain, rule, branch, below, whole=whole, end=branch is branches[-1])

    def _is_branch_wanted(self, chain: CountedChain, rule: CountedRule, branch: ChainBranch) -> bool:
        return not self._service or self._is_own(rule.service) or any(self._leads_there(chain, (branch,)))

    def _is_drawn(self, chain: CountedChain, branch: ChainBranch) -> bool:
        below = self._chains.get((chain.table, branch.chain))
        return below is not None and bool(below.rules) and (below.table, below.name) in self._drawn

    def _line(self, rule: CountedRule, stem: str, by: str, *, above: bool) -> TreeLine:
        comment = f"  # {rule.comment}" if rule.comment else ""
        author = f"  [{rule.by}]" if rule.by and rule.by != by else ""
        chance = "" if any(one.key for one in rule.branches) else _chance(rule)
        role = "hand" if rule.by == BY_HAND else "rule"
        return TreeLine(role, f"{_counter(rule.counter)}  {stem}{rule.text}{_ABOVE * above}{chance}{comment}{author}")

    def _branch(
        self, chain: CountedChain, rule: CountedRule, branch: ChainBranch, stem: str, *, whole: bool, end: bool
    ) -> Iterator[TreeLine]:
        if branch.key:
            comment = f"  # {branch.comment}" if branch.comment else ""
            above = _ABOVE * self._is_drawn(chain, branch)
            text = f"{stem}{'└─' if end else '├─'} {branch.key} : {branch.verdict}{above}{_chance(rule)}{comment}"
            yield TreeLine("rule", f"{_counter(None)}  {text}")
            stem += "   " if end else "│  "
        below = self._chains.get((chain.table, branch.chain))
        if not below or self._is_drawn(chain, branch):
            return
        own = whole or self._is_own(branch.service) or self._is_own(rule.service)
        yield from self._rules(below, stem, whole=bool(self._service) and own, by=rule.by)


def _chance(rule: CountedRule) -> str:
    return f"  {rule.chance:.1%}" if rule.chance < 1.0 else ""


def _counter(counter: RuleCounter | None) -> str:
    packets, size = (str(counter.packets), str(counter.bytes)) if counter else ("", "")
    return f"{packets:>{_DIGITS}} {size:>{_DIGITS}}"


def title(rules: CountedRules) -> str:
    """Whose rules these are, in one line."""
    return f"{rules.host}: kube-proxy in {rules.mode} mode" if rules.mode else f"{rules.host} is no node"


def shares_table(rules: CountedRules, service: str = "", columns: int = 0) -> str:
    """A line for each endpoint of each Service: the chance that it is drawn, and what it really got; "" without any."""
    rows = [row for share in _of(rules, service) for row in _rows(share)]
    header = ("SERVICE", "ENDPOINT", "POD", "CHANCE", "CONNECTIONS", "SHARE")
    return table(header, rows, columns) if rows else ""


def _of(rules: CountedRules, service: str) -> list[ServiceShare]:
    return [one for one in rules.services if not service or one.service.partition(":")[0] == service]


def _rows(share: ServiceShare) -> Iterator[list[str]]:
    total = sum(end.hits or 0 for end in share.endpoints)
    name = f"{share.service}/{share.protocol.upper()}"
    local = " (local)" if share.chain.startswith(("KUBE-SVL-", "local-")) else ""
    for end in share.endpoints:
        got = "-" if end.hits is None else str(end.hits)
        part = f"{end.hits / total:.1%}" if total and end.hits is not None else "-"
        yield [f"{name}{local}", end.address, end.pod or "-", f"{end.chance:.1%}", got, part]


def to_json(rules: CountedRules, service: str = "") -> dict[str, Any]:
    """All chains (of `service`: only its rules), and what endpoints get; counters are numbers, null without one."""
    return {
        "host": rules.host,
        "mode": rules.mode,
        "chains": [found for chain in rules.chains if (found := _chain(chain, service))],
        "services": [_share(one) for one in _of(rules, service)],
        "notes": [*rules.notes],
    }


def _chain(chain: CountedChain, service: str) -> dict[str, Any] | None:
    rules = [_rule(rule) for rule in chain.rules if not service or rule.service.partition(":")[0] == service]
    if service and not rules:
        return None
    hook = {"hook": chain.hook, "priority": chain.priority, "policy": chain.policy} if chain.hook else {}
    return {"table": chain.table, "chain": chain.name, **hook, **_counted(chain.counter), "rules": rules}


def _rule(rule: CountedRule) -> dict[str, Any]:
    leads = [{"chain": one.chain, "key": one.key, "service": one.service} for one in rule.branches]
    return {
        **_counted(rule.counter),
        "rule": rule.text,
        "comment": rule.comment,
        "by": rule.by,
        "service": rule.service,
        "chance": rule.chance,
        "leads_to": leads,
    }


def _counted(counter: RuleCounter | None) -> dict[str, int | None]:
    return {"packets": counter.packets, "bytes": counter.bytes} if counter else {"packets": None, "bytes": None}


def _share(share: ServiceShare) -> dict[str, Any]:
    total = sum(end.hits or 0 for end in share.endpoints)
    ends = [
        {
            "address": end.address,
            "pod": end.pod,
            "chance": end.chance,
            "connections": end.hits,
            "share": end.hits / total if total and end.hits is not None else None,
        }
        for end in share.endpoints
    ]
    names = {"service": share.service, "protocol": share.protocol, "chain": share.chain}
    return {**names, "counted_by": share.counted_by, "endpoints": ends}
