"""One name, one class: who reads a name knows which one is meant."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2] / "nslab"


def test_no_name_is_of_two_classes() -> None:
    trees = [ast.parse(path.read_text(), str(path)) for path in ROOT.rglob("*.py")]
    names = Counter(node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert [name for name, times in names.items() if times > 1] == []
