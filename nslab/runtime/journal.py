"""The journal of a node's requests, from which the node's next process restarts containers that end or wait.

One request per line; a later line about a container replaces an earlier one.
"""

from __future__ import annotations

import contextlib
import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Request = dict[str, Any]
    Key = tuple[str, str]

MOST = 64
"""The file is rewritten when it has MOST outdated lines, and as many more as there are current ones."""


class Journal:
    """The file, and the number of its current lines."""

    def __init__(self, path: str, later: Callable[[Callable[[], None]], None] = lambda _: None) -> None:
        """`later` calls its argument soon after; the changes until then are written together."""
        self._path, self._later = path, later
        self._lines, self._hold = 0, 0
        # Not written at once: what this process does between two forks takes memory in each child (see sandbox.py).
        self._unwritten: list[Request] = []

    def recall(self) -> dict[Key, Request]:
        """Read the requests of an earlier process of the node, by namespace and container, and rewrite the file."""
        found = self.read()
        if os.path.exists(self._path):
            self._renew(found)  # the last line may be incomplete
        return found

    def read(self) -> dict[Key, Request]:
        """Read the requests by namespace and container, without a change of the file."""
        found: dict[Key, Request] = {}
        with contextlib.suppress(OSError), open(self._path, encoding="utf-8") as file:
            for line in file:
                with contextlib.suppress(ValueError, KeyError):
                    entry = json.loads(line)
                    key = entry["ns"], entry["container"]
                    if entry.pop("op") == "add":
                        found[key] = entry
                    else:
                        found.pop(key, None)
        return found

    def add(self, request: Request) -> None:
        """Record a container to run."""
        self._hold += 1
        self._append({"op": "add", **request})

    def remove(self, ns: str, container: str) -> None:
        """Record the removal of a container."""
        self._hold -= 1
        self._append(_removal(ns, container))

    def _renew(self, requests: dict[Key, Request]) -> None:
        self._lines = self._hold = len(requests)
        new = f"{self._path}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        with contextlib.suppress(OSError):
            _write(new, "".join(json.dumps({"op": "add", **request}) + "\n" for request in requests.values()))
            os.rename(new, self._path)

    def _append(self, entry: Request) -> None:
        if not self._unwritten:
            self._later(self._flush)
        self._unwritten.append(entry)

    def _flush(self) -> None:
        text = "".join(json.dumps(entry) + "\n" for entry in self._unwritten)
        self._lines += len(self._unwritten)
        self._unwritten = []
        # A full file system loses entries, but does not end the node.
        with contextlib.suppress(OSError):
            _write(self._path, text)
        if self._lines > MOST + 2 * self._hold:
            self._renew(self.read())


def forget(path: str, ns: str, container: str) -> None:
    """Record the removal of a container in the journal of a node whose process is dead."""
    _write(path, json.dumps(_removal(ns, container)) + "\n")


def _removal(ns: str, container: str) -> Request:
    return {"op": "remove", "ns": ns, "container": container}


def _write(path: str, text: str) -> None:
    # Mode 0600: the file has containers' environments.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
