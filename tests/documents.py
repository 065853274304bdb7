"""README.md and the documents of nslab/docs, as the tests read them: chapters, fences, commands and files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
FILES = {"README": ROOT / "README.md", **{file.stem: file for file in sorted((ROOT / "nslab/docs").glob("*.md"))}}
TEXTS = {name: file.read_text() for name, file in FILES.items()}
"""By topic, as `nslab docs` calls them, and README."""

EXEMPT = {
    "scripts/test": "it is what runs these tests",
    "cd vagrant && vagrant up && vagrant ssh -c 'sudo nslab up calico-two-node'": "scripts/vagrant-test does it",
    "vagrant plugin install vagrant-qemu && vagrant up --provider qemu": "it takes a Mac",
}
"""Lines that are shown and not run here, and why."""


class Fence(NamedTuple):
    """What stands between two lines of backticks."""

    kind: str
    text: str


class Shown(NamedTuple):
    """A command that is shown, the status that its comment promises, and the lines that are shown below it."""

    line: str
    status: int
    output: tuple[str, ...] = ()


def fences(text: str) -> list[Fence]:
    """All of a document, in order."""
    return [Fence(*found) for found in re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


def shown(text: str) -> Iterator[Shown]:
    """All commands of a document, in order, but for those that are exempt."""
    for kind, block in fences(text):
        if kind not in ("sh", "console"):
            continue
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:] if kind == "console" else block.splitlines():
            line, *output = part.splitlines()
            promised = re.search(r"# exits with (\d+)", line)
            if line not in EXEMPT:
                yield Shown(line, int(promised[1]) if promised else 0, tuple(output))


def files(text: str) -> dict[str, str]:
    """The files that a document shows: YAML whose first line is a comment with the name.

    That line stays, as with a reader who copies the block: problems are told with their line.
    """
    blocks = [block for kind, block in fences(text) if kind == "yaml"]
    return {block.splitlines()[0].removeprefix("# "): block for block in blocks}


def section(topic: str, title: str) -> str:
    """What stands under a heading of a document."""
    found = TEXTS[topic].partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, f"there is no section {title} in {topic}"
    return found
