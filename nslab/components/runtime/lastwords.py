"""What a component says of what went wrong: a sentence for who asked, and in its log all that there is to know."""

from __future__ import annotations

import contextlib
import json
import os

LOG = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


def text(error: BaseException) -> str:
    """What went wrong, in a line: the kernel's words with the file that they are about."""
    if isinstance(error, OSError) and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}" if error.filename else error.strerror
    message = " ".join(str(error).split())
    return message if message and isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {message}"


def last_words(who: str, error: BaseException, log: str, client: int) -> None:
    """Before the end: to the log, never to a terminal; and to the socket of who awaits an answer (-1: nobody does)."""
    import traceback

    with contextlib.suppress(OSError):
        descriptor = os.open(log, LOG, 0o600)
        os.write(descriptor, "".join(traceback.format_exception(error)).encode())
    if client >= 0:
        complain(client, f"{who}: {text(error)}")


def complain(client: int, message: str) -> None:
    """Answer who waits at a socket that nothing comes of it."""
    with contextlib.suppress(OSError):
        os.write(client, json.dumps({"error": message}).encode() + b"\n")
