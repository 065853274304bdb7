"""Which nslab this is: what git says of a clone, or what was written down when it was built.

A release is a tag `v1.2.3`. Between two of them a version says what came before, and which commit it is.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

UNKNOWN = "0+unknown"
"""Of files that nobody can say the origin of, as PEP 440 wants it."""

_ROOT = Path(__file__).parents[1]
_DESCRIBED = re.compile(r"v(\d[\w.]*?)(?:-(\d+)-g([0-9a-f]+))?(-dirty)?")
_COMMIT = re.compile(r"([0-9a-f]+)(-dirty)?")


def version() -> str:
    """What `nslab --version` says: of a clone what git says now, of an installed package what it was built as."""
    in_clone = (_ROOT / "pyproject.toml").exists()
    return (in_clone and of_sources(_ROOT)) or _installed()


def of_sources(root: Path) -> str | None:
    """What a source tree is, if git or `git archive` can say; None for any other (an sdist has it in PKG-INFO)."""
    # Asked only where the tree is a repository of its own: git would go up and find somebody else's.
    if (root / ".git").exists() and (tag := _git(root, "describe", "--tags", "--dirty", "--always", "--match=v[0-9]*")):
        return public(tag, _git(root, "rev-list", "--count", "HEAD"))
    archived = root / ".git_archival.txt"
    if archived.exists():
        texts = [line.partition(": ")[2] for line in archived.read_text().splitlines()]
        # In a clone, and by an old git, a line is not filled in; without any tag the first is empty.
        return next((public(text) for text in texts if text and not re.search("[$%]", text)), None)
    return None


def built() -> str:
    """The version that a build writes down."""
    return of_sources(_ROOT) or UNKNOWN


def public(described: str, commits: str = "") -> str:
    """The version (PEP 440) for what `git describe --always` said.

    A tag is the release; commits after it lead to the next: v0.1.0-5-gabc1234 is 0.1.1.dev5+gabc1234. Without any tag
    there is no release before, and the number of commits counts from the first.
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
    """The next release after one: its last number grows."""
    return re.sub(r"\d+$", lambda last: str(int(last[0]) + 1), release)


def _git(root: Path, *arguments: str) -> str:
    """What git says, or nothing where there is no git, or it will not speak (of somebody else's clone, to root)."""
    # A clone that is only asked is not to be written to, not even its index.
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
