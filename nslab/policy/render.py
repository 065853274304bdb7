"""Felix's chains and sets as text, to read and to apply: it needs no root and no kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.policy.in_nft import TABLE
from nslab.ruletext.ipset import made
from nslab.ruletext.iptables import saved_text
from nslab.ruletext.nft import nft_text

if TYPE_CHECKING:
    from nslab.ruletext.items import Items


def render(items: Items) -> str:
    """The input of each program after a comment with its name: ipset and iptables-restore, or nft."""
    if ("nft-table", TABLE) in items:
        return f"# nft -f -\n{nft_text(TABLE, {}, items)}"
    return f"# ipset restore\n{sets_text(items)}\n# iptables-restore --noflush\n{saved_text(items)}"


def sets_text(items: Items) -> str:
    """The sets, then their members."""
    return "".join(f"{line}\n" for line in made(items))
