from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))

from nodebench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    """An empty lab."""
    made = Bench()
    try:
        yield made
    finally:
        made.close()
