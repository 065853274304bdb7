"""Chromium without a window and without a network, driven over a pipe by its DevTools protocol."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
_SECONDS = 30 * float(os.environ.get("NSLAB_TIMEOUT_FACTOR", "1"))
_WITH_PIPES = """\
import fcntl, os, sys
high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for place, number in zip((3, 4), high):
    os.dup2(number, place)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Executes a program with two descriptors as 3 and 4, where the browser looks for its pipe."""
_OPTIONS = (
    *("--headless", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--lang=en-US"),
)


def chromium() -> str | None:
    """The browser's path, if there is one; NSLAB_CHROMIUM names another one."""
    return os.environ.get("NSLAB_CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """A browser with one page."""

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._number, self._rest, self._session = 0, b"", ""
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method and return its result; events on the way are kept."""
        self._number += 1
        call = {"id": self._number, "method": method, "params": parameters}
        os.write(
            self._write, json.dumps(call | ({"sessionId": self._session} if self._session else {})).encode() + b"\0"
        )
        while (answer := self._message()).get("id") != self._number:
            self.events.append(answer)
        assert "result" in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _message(self) -> dict[str, Any]:
        deadline = time.monotonic() + _SECONDS
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(deadline - time.monotonic(), 0))
            more = os.read(self._read, 1 << 20) if ready else b""
            assert more, "the browser has ended" if ready else f"no answer within {_SECONDS:.0f} s"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def open(self, file: Path, query: str = "", *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Show a file in a window of that size, once it has loaded; it prefers no motion."""
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        media = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
        self.ask("Emulation.setEmulatedMedia", features=[{"name": name, "value": media[name]} for name in media])
        self.events.clear()
        self.ask("Page.navigate", url=f"{file.as_uri()}{query}")
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._message())

    def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise's result."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key, and release it."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        code = {"Enter": 13, " ": 32, "Home": 36, "End": 35, "ArrowLeft": 37, "ArrowRight": 39, "Tab": 9}[key]
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    def complaints(self) -> list[dict[str, Any]]:
        """What the console has of errors and warnings, and exceptions, since the page was opened."""
        self.run("0")
        bad = ("Runtime.exceptionThrown", "Log.entryAdded")
        return [
            event
            for event in self.events
            if event["method"] in bad
            or (event["method"] == "Runtime.consoleAPICalled" and event["params"]["type"] in ("error", "warning"))
        ]


@contextmanager
def browser(program: str, folder: Path) -> Iterator[Browser]:
    """A browser with `folder` as its home and profile, in a network namespace of its own if this is root."""
    root = os.geteuid() == 0
    ours, theirs = os.pipe(), os.pipe()
    alone = ["unshare", "--net"] if root else []
    options = [*_OPTIONS, f"--user-data-dir={folder / 'profile'}", *(["--no-sandbox"] if root else [])]
    argv = [*alone, sys.executable, "-Sc", _WITH_PIPES, str(ours[0]), str(theirs[1]), program, *options]
    process = subprocess.Popen(
        argv, pass_fds=(ours[0], theirs[1]), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    os.close(ours[0])
    os.close(theirs[1])
    try:
        yield Browser(ours[1], theirs[0])
    finally:
        os.close(ours[1])  # it ends when its pipe does
        os.close(theirs[0])
        try:
            process.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
