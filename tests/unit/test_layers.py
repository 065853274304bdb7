"""Imports go only to a lower line of design.md's layout, never along one. Inside a package anything goes."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

LINES = (
    ("cli", "plugin"),
    ("views", "linux", "node", "exercise"),
    ("path",),
    ("probes",),
    ("compiler", "engine"),
    ("lab", "net"),
    ("proxy", "cni", "api"),
    ("trust", "cgroups", "mounts"),
    ("syscall", "errors", "quote", "version"),
    ("dataclass",),
)
HEIGHT = {part: -line for line, parts in enumerate(LINES) for part in parts}
TOP = ("__init__", "__main__")
"""The package's own files: the second may call the cli."""


def part_of(path: Path) -> str:
    """The wall that a file stands behind: its folder under nslab/, or its own name."""
    return path.relative_to(ROOT / "nslab").with_suffix("").parts[0]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """The parts of nslab that a file imports, anywhere in it, with their lines. Relative imports count too."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        match node:
            case ast.Import(names):
                dotted = [alias.name for alias in names]
            case ast.ImportFrom(module, names, level):
                base = [*package[: len(package) - level + 1], module] if level else [module]
                dotted = [".".join([*filter(None, base), alias.name]) for alias in names]
            case _:
                continue
        for name in dotted:
            head, _, rest = name.partition(".")
            if head == "nslab" and rest and not rest.startswith("__"):
                yield node.lineno, rest.partition(".")[0]


FILES = sorted((ROOT / "nslab").rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    here = part_of(path)
    if here in TOP:
        return
    assert here in HEIGHT, f"{here} has no place in the layout (design.md)"
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {here} imports {there}"
        for line, there in imports(path)
        if there != here and HEIGHT.get(there, 1) >= HEIGHT[here]
    ]
    assert not wrong, "\n".join(wrong)
