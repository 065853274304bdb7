"""The rules of nftables with their counters, as `nft -j list ruleset` lists them (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.ruletext.comments import in_words
from nslab.trace.chances import chances
from nslab.trace.counted.values import ChainBranch, CountedChain, CountedRule, RuleCounter
from nslab.trace.rules.nft_dump import listing, nft_tables
from nslab.trace.rules.nft_text import rule_text, value_text
from nslab.trace.rules.ruleset import priority_number

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from nslab.trace.counted.iptables import Writer
    from nslab.trace.counted.names import ServiceNames
    from nslab.trace.rules.nft_dump import ListedChain, NftDump


def nft_chains(text: str, iptables: Collection[str], names: ServiceNames, writer: Writer) -> list[CountedChain]:
    """The chains of a node's tables, but those of iptables (`iptables`: their names), which nft cannot list.

    Raises UsageError for what nft does not print.
    """
    dumps, _ = nft_tables(listing(text), iptables)
    return [_chain(dump, name, chain, names, writer) for dump in dumps for name, chain in dump.chains.items()]


def chain_texts(text: str) -> dict[tuple[str, str], list[str]]:
    """The texts of rules, by table and chain, as `nft_chains` has them."""
    dumps, _ = nft_tables(listing(text), ())
    return {
        (dump.name, name): [rule_text(rule["expr"]) for rule in chain.rules]
        for dump in dumps
        for name, chain in dump.chains.items()
    }


def _chain(dump: NftDump, name: str, chain: ListedChain, names: ServiceNames, writer: Writer) -> CountedChain:
    texts = [rule_text(rule["expr"]) for rule in chain.rules]
    drawn = chances([*enumerate(texts)])
    own = names.of_chain(name)
    rules = []
    for number, (rule, text) in enumerate(zip(chain.rules, texts, strict=True)):
        branches = tuple(_branches(rule["expr"], dump, names))
        comment = in_words(str(rule.get("comment", "")))
        rules.append(
            CountedRule(
                text, comment, _counter(rule["expr"]), branches, writer(dump.name, name, text),
                own or names.in_comment(comment), drawn.get(number, 1.0),
            )
        )  # fmt: skip
    hook = str(chain.body.get("hook", "")).upper()
    level = priority_number(chain.body.get("prio", 0), hook) if hook else 0
    policy = str(chain.body.get("policy", "")).upper() if hook else ""
    return CountedChain(f"{dump.family} {dump.name}", name, tuple(rules), hook, level, policy)


def _counter(expr: Sequence[Any]) -> RuleCounter | None:
    for one in expr:
        match one:
            case {"counter": {"packets": int(packets), "bytes": int(count)}}:
                return RuleCounter(packets, count)
    return None


def _branches(expr: Sequence[Any], dump: NftDump, names: ServiceNames) -> Iterator[ChainBranch]:
    for one in expr:
        match one:
            case {"jump": {"target": str(to)}} | {"goto": {"target": str(to)}}:
                yield ChainBranch(to, service=names.of_chain(to))
            case {"vmap": {"data": {"set": [*entries]}}}:
                yield from _of_map(entries, names)
            case {"vmap": {"data": str(name)}} if name[1:] in dump.sets:
                yield from _of_map(dump.sets[name[1:]].get("elem", []), names)


def _of_map(entries: Sequence[Any], names: ServiceNames) -> Iterator[ChainBranch]:
    """The elements of a verdict map, sorted by their keys; one may lead to no chain."""
    for entry in entries:
        if not (isinstance(entry, list) and len(entry) == 2):
            continue
        key, verdict = entry
        comment = ""
        match key:
            case {"elem": {"comment": str(comment)}}:
                pass
        to = ""
        match verdict:
            case {"jump": {"target": str(to)}} | {"goto": {"target": str(to)}}:
                pass
        service = names.of_chain(to) or names.in_comment(comment)
        yield ChainBranch(to, value_text(key), value_text(verdict), comment, service)
