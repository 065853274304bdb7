"""From what Felix wrote to what it should have written: the commands for what differs, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.policy.in_nft import TABLE
from nslab.ruletext.ipset import ended, made
from nslab.ruletext.iptables import iptables_commands
from nslab.ruletext.items import NodeCommand
from nslab.ruletext.nft import nft_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.ruletext.items import Items


def commands(old: Items, new: Items, variant: str, *, anew: bool = False) -> tuple[NodeCommand, ...]:
    """The commands that turn `old` into `new`; `variant`: the iptables program of the machine.

    `anew`: what nft's table has is not in `old`; another one takes its place, in one transaction. A set exists, with
    its new members, before rules match it, and is destroyed after none does. Established connections stay: conntrack's
    entries are not touched, and each pod's chain first accepts what belongs to one.
    """
    gone, come = _differing(old, new), _differing(new, old)
    return (
        *_ipset(made(come)),
        *iptables_commands(gone, come, variant),
        *_nft(old, new, anew=anew),
        *_ipset(ended(item for item in gone if item not in new)),
    )


def _differing(items: Items, others: Items) -> Items:
    """Those that are not among the others, or are there with another body."""
    return {item: body for item, body in items.items() if others.get(item) != body}


def _ipset(lines: Iterable[str]) -> tuple[NodeCommand, ...]:
    text = "".join(f"{line}\n" for line in lines)
    return (NodeCommand(("ipset", "-exist", "restore"), text),) if text else ()


def _nft(old: Items, new: Items, *, anew: bool) -> tuple[NodeCommand, ...]:
    there, wanted = ({item: body for item, body in items.items() if item[0].startswith("nft-")} for items in (old, new))
    if anew and wanted:
        # `add` first, so that `delete` does not fail without the table.
        text = f"add table ip {TABLE}\ndelete table ip {TABLE}\n{nft_text(TABLE, {}, wanted)}"
    else:
        text = nft_text(TABLE, there, wanted)
    return (NodeCommand(("nft", "-f", "-"), text),) if text else ()
