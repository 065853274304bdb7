"""Each lab's guide, walked as a learner walks it: every command in order, each output held to what is shown.

The Korean guides show the same commands and outputs as the English ones: tests/unit/guide asserts it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nslab.lab.course import guide_file
from nslab.lab.find import folder, names
from tests.learner import Learner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

GUIDES = [name for name in names() if (folder() / name / guide_file("en")).exists()]


@pytest.mark.slow
@pytest.mark.parametrize("shipped", GUIDES)
def test_a_guide_shows_what_is_seen(shipped: str, tmp_path: Path, lab_name: Callable[[], str]) -> None:
    learner = Learner(tmp_path)
    missing = learner.lacks(shipped)
    if missing:
        pytest.skip(missing)
    assert not (wrong := learner.walks(shipped, lab_name())), wrong
