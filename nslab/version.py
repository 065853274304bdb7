"""The version of nslab: from git in a clone, else as recorded by the build.

A release is a tag `v1.2.3`. A version between two releases contains the one before and the commit.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

UNKNOWN = "0+unknown"
"""The version of files of unknown origin, valid by PEP 440."""

_ROOT = Path(__file__).parents[1]
_DESCRIBED = re.compile(r"v(\d[\w.]*?)(?:-(\d+)-g([0-9a-f]+))?(-dirty)?")
_COMMIT = re.compile(r"([0-9a-f]+)(-dirty)?")


def version() -> str:
    """The version that `nslab --version` prints: git's present one in a clone, else that of the installed package."""
    in_clone = (_ROOT / "pyproject.toml").exists()
    return (in_clone and of_sources(_ROOT)) or _installed()


def of_sources(root: Path) -> str | None:
    """The version of a source tree by git or `git archive`; None for others (an sdist has it in PKG-INFO)."""
    # Only for a tree that is itself a repository: git would find a repository in a parent folder.
    if (root / ".git").exists() and (tag := _git(root, "describe", "--tags", "--dirty", "--always", "--match=v[0-9]*")):
        return public(tag, _git(root, "rev-list", "--count", "HEAD"))
    archived = root / ".git_archival.txt"
    if archived.exists():
        texts = [line.partition(": ")[2] for line in archived.read_text().splitlines()]
        # A clone, and an old git, leave lines unexpanded; without any tag the first is empty.
        return next((public(text) for text in texts if text and not re.search("[$%]", text)), None)
    return None


def built() -> str:
    """The version that a build records."""
    return of_sources(_ROOT) or UNKNOWN


def public(described: str, commits: str = "") -> str:
    """The version (PEP 440) for an output of `git describe --always`.

    A tag is a release; commits after it precede the next one: v0.1.0-5-gabc1234 is 0.1.1.dev5+gabc1234. Without any
    tag, the number of commits counts from the first.
    """
    if tagged := _DESCRIBED.fullmatch(described):
        release, since, commit, dirty = tagged.groups()
        if not since and not dirty:
            return release
        local = ".".join(filter(None, [commit and f"g{commit}", dirty and "dirty"]))
        return f"{_after(release)}.dev{since or 0}+{local}"
    if plain := _COMMIT.fullmatch(described):
        return f"0.dev{commits or 0}+g{plain[1]}{'.dirty' if plain[2] else ''}"
    return UNKNOWN


def _after(release: str) -> str:
    """The next release: its last number plus one."""
    return re.sub(r"\d+$", lambda last: str(int(last[0]) + 1), release)


def _git(root: Path, *arguments: str) -> str:
    """git's output; "" without git, or if it refuses (for root in another user's clone)."""
    # A query must not write to the clone, not even to its index.
    argv = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    try:
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def _installed() -> str:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as of_package

    try:
        return of_package("nslab")
    except PackageNotFoundError:
        return UNKNOWN
