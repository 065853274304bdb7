"""The proxy modes by name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from nslab.proxy.mode import Mode

MODES = ("iptables", "ipvs", "nftables", "userspace")


def mode(name: str) -> Mode:
    """The module of a mode, imported on first use."""
    return cast("Mode", import_module(f"nslab.proxy.{name}"))
