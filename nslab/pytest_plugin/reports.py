"""Control characters in reports: output of containers may be in them, and terminals would interpret it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nslab.quote import visible

if TYPE_CHECKING:
    import pytest

_OURS = Path(__file__).parents[1]


def show_controls(report: pytest.TestReport, error: pytest.ExceptionInfo[BaseException]) -> None:
    """Escape the control characters of nslab's exceptions, in place. Other failures keep pytest's colours."""
    if not any(Path(entry.path).is_relative_to(_OURS) for entry in error.traceback):
        return
    match report.longrepr:
        case str(text):
            report.longrepr = visible(text)
        case (path, line, str(reason)):
            report.longrepr = path, line, visible(reason)
        case other:
            for trace, crash, _ in getattr(other, "chain", None) or [_alone(other)]:
                if crash:
                    crash.message = visible(crash.message)
                for entry in getattr(trace, "reprentries", ()):
                    entry.lines = [visible(line) for line in entry.lines]


def _alone(other: Any) -> tuple[Any, Any, None]:
    return getattr(other, "reprtraceback", None), getattr(other, "reprcrash", None), None
