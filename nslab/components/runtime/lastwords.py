"""The last error of a component: a sentence for its client, and a traceback in its log."""

from __future__ import annotations

import contextlib
import json
import os

LOG = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


def text(error: BaseException) -> str:
    """An error in one line: the kernel's text, with the file name if there is one."""
    if isinstance(error, OSError) and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}" if error.filename else error.strerror
    message = " ".join(str(error).split())
    return message if message and isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {message}"


def last_words(who: str, error: BaseException, log: str, client: int) -> None:
    """Write an error to the log, never to a terminal, and to the socket of a waiting client (-1: none)."""
    import traceback

    with contextlib.suppress(OSError):
        descriptor = os.open(log, LOG, 0o600)
        os.write(descriptor, "".join(traceback.format_exception(error)).encode())
    if client >= 0:
        complain(client, f"{who}: {text(error)}")


def complain(client: int, message: str) -> None:
    """Send an error to the client at a socket."""
    with contextlib.suppress(OSError):
        os.write(client, json.dumps({"error": message}).encode() + b"\n")
