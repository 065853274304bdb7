"""Control characters in reports: output of containers may be in them, and terminals would interpret it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.quote import visible

if TYPE_CHECKING:
    import pytest


def show_controls(report: pytest.TestReport) -> None:
    """Escape the control characters of nslab's exceptions, in place."""
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
