"""The name of a program's package on this distribution, from nslab/packages.conf (scripts/packages reads it, too)."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

_TABLE = Path(__file__).parents[1] / "packages.conf"
_DEBIAN = 0
"""The column of Debian: the default for distributions that the table does not know."""


def how_to_install(program: str) -> str:
    """How to install a program on this machine's distribution, for the end of a sentence: `on Fedora Linux: dnf …`."""
    return _advice(program, *_distribution())


def advice(program: str) -> str:
    """Return how to install a program that the table knows; "" for any other."""
    return how_to_install(program) if program in _rows() else ""


def _advice(program: str, name: str, ids: tuple[str, ...]) -> str:
    rows = _rows()
    families = [family.split(",") for family in rows["like"]]
    index = next((index for wanted in ids for index, family in enumerate(families) if wanted in family), _DEBIAN)
    # iptables-restore and iptables-nft come with iptables.
    package = next((rows[known][index] for known in (program, program.partition("-")[0]) if known in rows), program)
    known = any(wanted in families[index] for wanted in ids)
    return f"on {name if known else 'Debian'}: {rows['manager'][index]} {rows['verb'][index]} {package}"


@cache
def _rows() -> dict[str, list[str]]:
    """The table's rows by program; the first three by their use (`like`, `manager`, `verb`)."""
    lines = [line.split() for line in _TABLE.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    return {(use if wanted == "-" else wanted): packages for use, wanted, *packages in lines}


def _distribution() -> tuple[str, tuple[str, ...]]:
    """The name of this machine's distribution, and its IDs: its own (ID) first, then those it resembles (ID_LIKE)."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return "Debian", ()
    return release.get("NAME", "Debian"), (release.get("ID", ""), *release.get("ID_LIKE", "").split())
