"""A container's log in the format of the Container Runtime Interface: TIME STREAM TAG TEXT (bytes only).

2026-11-22T05:34:25.123456789Z stdout F a whole line
2026-11-22T05:34:25.123456790Z stderr P a piece of a long line that goes on
"""

from __future__ import annotations

FULL, PARTIAL = b"F", b"P"
"""Tags: a line or its last piece; and a piece before another one."""


def prefix(time: bytes, stream: bytes, tag: bytes) -> bytes:
    """The part before the text. `time`: RFC 3339 in UTC, with nanoseconds."""
    return b"%s %s %s " % (time, stream, tag)


def parse(line: bytes) -> tuple[str, str, bool, str] | None:
    """Time, stream, whether the line ends here, and text; None for a line in another format."""
    parts = line.decode("utf-8", "replace").split(" ", 3)
    if len(parts) != 4:
        return None
    time, stream, tag, text = parts
    return time, stream, tag != PARTIAL.decode(), text
