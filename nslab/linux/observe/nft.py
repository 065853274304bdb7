"""List a lab's nftables tables, and the desired ones from a throwaway namespace, in the same words."""

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
"""The tables of iptables-nft."""


def tables(spaces: Namespaces, ns: str, known: Sequence[KernelObject]) -> tuple[list[KernelObject], list[str]]:
    """Return the objects in the lab's tables, equal to those in `known` where possible, and the unmanaged tables."""
    names = nft_listing.tables(known)
    if not names:
        return [], []
    spaces.enter(ns)
    existing = _nft("list", "tables").splitlines()
    listed = {name: _nft("list", "table", "ip", name) for name in names if f"table ip {name}" in existing}
    ours = {f"table ip {name}" for name in names} | _OF_IPTABLES
    unmanaged = [f"nft {name}" for name in existing if name not in ours]
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
