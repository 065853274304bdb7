"""Converts Items to a text for `nft -f`: one transaction, in a valid order, fast with 10,000 Services."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.ruletext.items import Body, Item, Items

_NAMED = re.compile(r"@(\S+)")
_SMALL = "firewall-ips"
"""A map that always exists and rarely has many elements."""
_SHORT = "reject-chain"
"""A chain that always exists, with one rule."""


def nft_text(table: str, old: Items, new: Items, shared: Items | None = None, *, narrows: bool = False) -> str:
    """Input for `nft -f` that turns `old` into `new`. `shared`: kube-proxy's sets and maps for any Services.

    The first sync (`old` has no table) flushes an existing table, except its sets with a time-out, so that clients keep
    their endpoints; unused chains stay, empty. `narrows`: this nft reads only the objects that the listings at the end
    of a text name (`nft_narrows`), so that it need not read every chain.
    """
    item = ("nft-table", table)
    if item in old and item not in new:
        # `add` first, so that `delete` does not fail if the table is already gone.
        return f"add table ip {table}\ndelete table ip {table}\n"
    gone = {item: body for item, body in old.items() if new.get(item) != body}
    come = {item: body for item, body in new.items() if old.get(item) != body}
    lines = [*_lines(f"ip {table}", gone, come, first=item in come)]
    if shared is not None and item not in come:
        lines = _short_cut(f"ip {table}", lines, gone, come, shared)
        if narrows and lines and lines[-1].startswith("list map"):
            lines.insert(-1, f"list chain ip {table} {_SHORT}")
    return "".join(f"{line}\n" for line in lines)


def nft_narrows(version: str) -> bool:
    """Whether consecutive listings together narrow what nft reads; `version`: the output of `nft --version`.

    1.1.1 and later consider only the last listing, and read all rules for that of a chain.
    """
    found = re.search(r"v(\d+)\.(\d+)\.(\d+)", version)
    return found is not None and (1, 0, 6) <= tuple(map(int, found.groups())) < (1, 1, 1)


def _lines(place: str, gone: Items, come: Items, *, first: bool) -> Iterator[str]:
    """Removals from top to bottom, then additions from bottom to top. No packet sees an intermediate state."""
    yield from (f"flush chain {place} {item[2]}" for item in gone if item[0] == "nft-chain")
    yield from (f"delete element {place} {item[2]} {{ {item[3]} }}" for item in gone if item[0] == "nft-element")
    lost = [item for item in gone if item not in come]
    yield from (f"delete chain {place} {item[2]}" for item in lost if item[0] == "nft-chain")
    yield from (f"delete {_kind(item)} {place} {item[2]}" for item in lost if _is_set(item))
    for item, (comment, *_) in come.items():
        if item[0] == "nft-table":
            yield f"add table {place}" + (f' {{ comment "{comment}" ; }}' if comment else "")
            yield f"flush table {place}"  # deletes rules only: sets and chains stay
    for item, body in come.items():
        if _is_set(item):
            # With another time-out, this updates the existing set (since Linux 6.3; before, it has no effect).
            yield _declared(place, item, body)
            if first and "timeout" not in body[0]:
                yield f"flush {_kind(item)} {place} {item[2]}"
    for item, (braces, *_) in come.items():
        if item[0] == "nft-chain" and item not in gone:
            yield f"add chain {place} {item[2]}" + (f" {{ {braces} }}" if braces else "")
            if not first:
                yield f"flush chain {place} {item[2]}"  # as in kube-proxy: the chain may exist with the same rules
    for item, (_, *rules) in come.items():
        if item[0] == "nft-chain":
            yield from (f"add rule {place} {item[2]} {rule}" for rule in rules)
    for item, body in come.items():
        if item[0] == "nft-element":
            comment, verdict = body
            found = (item[3], f' comment "{comment}"' if comment else "", f" : {verdict}" if verdict else "")
            yield f"add element {place} {item[2]} {{ {''.join(found)} }}"


def _short_cut(place: str, lines: list[str], gone: Items, come: Items, shared: Items) -> list[str]:
    """The same lines so that nft does not read the whole table first (10,000 anonymous maps: 0.2 s and 100 MB).

    nft reads what the commands of a text may need; with a listing of one set as the last command, it reads only that
    set. The other sets are declared again, which changes nothing but makes them known to nft.
    """
    named = {name for line in lines for name in _NAMED.findall(line)}
    named |= {item[2] for item in (*gone, *come) if item[0] == "nft-element"}
    named -= {item[2] for item in come if _is_set(item)}
    declared = {item[2]: _declared(place, item, body) for item, body in shared.items()}
    if not lines or not named <= declared.keys() or any(_is_set(item) and item not in come for item in gone):
        return lines
    return [*(declared[name] for name in sorted(named)), *lines, f"list map {place} {_SMALL}"]


def _declared(place: str, item: Item, body: Body) -> str:
    return f"add {_kind(item)} {place} {item[2]} {{ {body[0]} }}"


def _is_set(item: Item) -> bool:
    return item[0] in ("nft-set", "nft-map")


def _kind(item: Item) -> str:
    return item[0].removeprefix("nft-")
