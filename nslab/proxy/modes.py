"""The modes by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from nslab.proxy.mode import Mode

MODES = ("iptables", "ipvs", "nftables", "userspace")


def mode(name: str) -> Mode:
    """The module that a mode is; it is imported when it is asked for."""
    return cast("Mode", import_module(f"nslab.proxy.{name}"))
