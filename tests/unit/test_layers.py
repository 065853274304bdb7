"""Imports go only to a lower line of design.md's layout, never along one. Inside a package they go in no circle."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]

LINES = (
    ("cli", "pytest_plugin"),
    ("app",),
    ("views", "exercises"),
    ("linux",),
    ("trace",),
    ("probes",),
    ("compiler", "engine"),
    ("components",),
    ("objects", "lab"),
    ("proxy", "cni", "api"),
    ("ruletext",),
    ("runtime", "wire"),
    ("syscall", "errors", "quote", "version", "korean"),
    ("dataclass", "rundir"),
)
HEIGHT = {part: -line for line, parts in enumerate(LINES) for part in parts}
TOP = ("__init__", "__main__")
"""The package's own files: the second may call the cli."""


def part_of(path: Path) -> str:
    """The wall that a file stands behind: its folder under nslab/, or its own name."""
    return path.relative_to(ROOT / "nslab").with_suffix("").parts[0]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """What a file imports of nslab, anywhere in it and if only for types: dotted names with their lines."""
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
        yield from ((node.lineno, name) for name in dotted if name.startswith("nslab.") and "__" not in name)


FILES = sorted((ROOT / "nslab").rglob("*.py"))
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


def module_of(name: str) -> str:
    """The module that an imported name is, or is taken from."""
    return name if name in MODULES else name.rpartition(".")[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path: Path) -> None:
    here = part_of(path)
    if here in TOP:
        return
    assert here in HEIGHT, f"{here} has no place in the layout (design.md)"
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {here} imports {there}"
        for line, name in imports(path)
        for there in [name.split(".")[1]]
        if there != here and HEIGHT.get(there, 1) >= HEIGHT[here]
    ]
    assert not wrong, "\n".join(wrong)


def test_no_imports_go_in_a_circle() -> None:
    graph = {name: {module_of(found) for _, found in imports(path)} for name, path in MODULES.items()}
    assert graph["nslab.proxy.sync"] >= {"nslab.ruletext.items", "nslab.proxy.model"}, "one of them is for types alone"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle: {' <- '.join(error.args[1])}")
