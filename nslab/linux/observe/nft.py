"""The tables of nftables that a lab makes, listed; and listed once more as they should be, where nobody sees it."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from nslab.errors import Refused
from nslab.linux.rules import restore
from nslab.objects import nft_listing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.linux.netns import Namespaces
    from nslab.objects.base import KernelObject

_OF_IPTABLES = {f"table {family} {name}" for family in ("ip", "ip6") for name in ("raw", "mangle", "nat", "filter")}
"""Where iptables-nft keeps its rules."""


def tables(spaces: Namespaces, ns: str, known: Sequence[KernelObject]) -> tuple[list[KernelObject], list[str]]:
    """What there is of our tables, as far as possible in the words of `known`; the names of other people's tables."""
    names = nft_listing.tables(known)
    if not names:
        return [], []
    spaces.enter(ns)
    there = _nft("list", "tables").splitlines()
    listed = {name: _nft("list", "table", "ip", name) for name in names if f"table ip {name}" in there}
    ours = {f"table ip {name}" for name in names} | _OF_IPTABLES
    unmanaged = [f"nft {name}" for name in there if name not in ours]
    if not listed:
        return [], unmanaged
    with spaces.throwaway():
        _nft("-f", "-", text=nft_listing.reworded(known))
        wanted = {name: _nft("list", "table", "ip", name) for name in listed}
    return [obj for name in listed for obj in nft_listing.seen(name, listed[name], wanted[name], known)], unmanaged


def _nft(*arguments: str, text: str = "") -> str:
    argv = [restore.program("nft"), *arguments]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, env=restore.environment(), check=False)
    if done.returncode:
        raise Refused(f"nft {' '.join(arguments)}", done.stderr.partition("\n")[0])
    return done.stdout
