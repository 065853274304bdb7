"""What doctor asks the file system, and no program."""

from __future__ import annotations

from pathlib import Path

from nslab.linux.observe.doctor import _tried
from nslab.objects.needs import PRIMITIVES, Primitive


def test_a_path_is_looked_for(tmp_path: Path) -> None:
    there, absent = tmp_path, tmp_path / "absent"
    assert _tried(Primitive("x", "y", (), (f"{absent} {there}",))).works
    finding = _tried(Primitive("x", "y", (), (f"{absent} /nonexistent",), "make one"))
    assert (finding.works, finding.word, finding.advice) == (
        False,
        f"there is no {absent} and no /nonexistent",
        "make one",
    )


def test_no_trial_calls_a_program_that_is_called_like_ours() -> None:
    """Whoever has scripts/ on his PATH has our `test` and `install` there."""
    ours = {file.name for file in (Path(__file__).parents[2] / "scripts").iterdir()} - {"nslab"}
    assert "test" in ours
    assert not {trial.split()[0] for primitive in PRIMITIVES for trial in primitive.trial} & ours
