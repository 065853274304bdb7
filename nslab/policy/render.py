"""Felix's chains and sets as text, to read and to apply: it needs no root and no kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.ruletext.iptables import saved_text

if TYPE_CHECKING:
    from nslab.ruletext.items import Items


def render(items: Items) -> str:
    """The input of `ipset restore`, then of `iptables-restore --noflush`, each after a comment with its program."""
    return f"# ipset restore\n{sets_text(items)}\n# iptables-restore --noflush\n{saved_text(items)}"


def sets_text(items: Items) -> str:
    """The sets, each with its members."""
    lines: dict[str, list[str]] = {}
    for item, body in items.items():
        if item[0] == "ipset":
            lines.setdefault(item[1], []).insert(0, f"create {item[1]} {' '.join(body)}")
        elif item[0] == "member":
            lines.setdefault(item[1], []).append(f"add {item[1]} {item[2]}")
    return "".join(f"{line}\n" for own in lines.values() for line in own)
