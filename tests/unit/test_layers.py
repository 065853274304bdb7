"""Imports go only to a lower line of design.md's layout, never along one. Inside a package they go in no circle."""

from __future__ import annotations

import ast
import subprocess
import sys
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
    ("components", "admission"),
    ("controllers",),
    ("objects", "lab"),
    ("policy", "bgp"),
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


EFFECTS = ("app", "linux", "components", "cli", "pytest_plugin")
PURE = (
    "views",
    "exercises",
    "trace",
    "probes",
    "compiler",
    "objects",
    "admission",
    "lab",
    "api",
    "proxy",
    "cni",
    "policy",
    "bgp",
    "ruletext",
    "wire",
)


@pytest.mark.parametrize("room", PURE)
def test_the_pure_core_acts_on_nothing(room: str) -> None:
    """It imports nothing that acts on the kernel, though some of that is below it."""
    files = [path for path in FILES if part_of(path) == room]
    assert files
    assert [f"{path}:{line}" for path in files for line, name in imports(path) if name.split(".")[1] in EFFECTS] == []


PROGRAMS = ("nslab.components.kubelet.grpc_client",)
"""What a node's process executes. Nothing of the components may import it."""


def test_components_import_the_standard_library_alone() -> None:
    """A pause process is a fork of what they import; so nothing of theirs, however far, comes from elsewhere."""
    todo = [name for name, path in MODULES.items() if part_of(path) == "components" and name not in PROGRAMS]
    seen: set[str] = set()
    foreign: set[tuple[str, str]] = set()
    while todo:
        name = todo.pop()
        if name in seen:
            continue
        seen.add(name)
        todo += [module_of(found) for _, found in imports(MODULES[name])]
        foreign |= {(name, top) for top in others(MODULES[name])}
    assert foreign == set()


def others(path: Path) -> Iterator[str]:
    """The packages besides nslab and the standard library that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        match node:
            case ast.Import(names):
                dotted = [alias.name for alias in names]
            case ast.ImportFrom(str(module), _, 0):
                dotted = [module]
            case _:
                continue
        tops = {name.partition(".")[0] for name in dotted}
        yield from tops - {"nslab", "_typeshed"} - sys.stdlib_module_names


def test_what_forks_nodes_imports_little() -> None:
    """Each node's process begins with all that the spawner has imported, and `up` waits until it has."""
    line = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import nslab.components.runtime.spawner; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-IS", "-c", line], capture_output=True, text=True, check=True)
    heavy = {"typing", "dataclasses", "subprocess", "traceback", "asyncio", "ipaddress", "pathlib", "logging", "random"}
    assert heavy & {*done.stdout.split()} == set()
