from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))

from nodebench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def bench() -> Iterator[Bench]:
    """An empty lab."""
    made = Bench()
    try:
        yield made
    finally:
        made.close()
