"""Sets and their members as commands, for whoever writes rules that match them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.ruletext.items import Item, Items


def made(items: Items) -> Iterator[str]:
    """Lines for `ipset restore`: new sets, then their members."""
    for item, body in items.items():
        if item[0] == "ipset":
            yield f"create {item[1]} {' '.join(body)}"
    yield from (f"add {item[1]} {item[2]}" for item in items if item[0] == "member")


def ended(items: Iterable[Item]) -> Iterator[str]:
    """Lines for `ipset restore`: deletes members, and sets together with their members."""
    items = list(items)
    sets = [item[1] for item in items if item[0] == "ipset"]
    yield from (f"del {item[1]} {item[2]}" for item in items if item[0] == "member" and item[1] not in sets)
    yield from (f"destroy {name}" for name in sets)
