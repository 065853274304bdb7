"""What a program's package is called here: nslab/packages.conf, which scripts/packages reads as well."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

_TABLE = Path(__file__).parents[1] / "packages.conf"
_DEBIAN = 0
"""Its column, for who is of no family that the table knows."""


def how_to_install(program: str) -> str:
    """How this machine's distribution installs a program, as a sentence goes on: `on Fedora Linux: dnf install …`."""
    return _advice(program, *_distribution())


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
    """What stands behind each name of the table; the first three rows go by their use."""
    lines = [line.split() for line in _TABLE.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    return {(use if wanted == "-" else wanted): packages for use, wanted, *packages in lines}


def _distribution() -> tuple[str, tuple[str, ...]]:
    """The name of this machine's distribution, and by what it can be known: itself first, then what it is like."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return "Debian", ()
    return release.get("NAME", "Debian"), (release.get("ID", ""), *release.get("ID_LIKE", "").split())
