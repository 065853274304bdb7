"""Read containers' log files, in CRI format, where the node's process writes them."""

from __future__ import annotations

import os
import select
import stat
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nslab import rundir
from nslab.errors import NslabError, error_text
from nslab.linux.folder_watch import FolderWatch
from nslab.runtime.trust import beneath
from nslab.wire import cri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_CHECK_AGAIN = 1.0
"""Seconds after which a follower checks the file without an inotify event."""


class Entry(NamedTuple):
    """One line of a container's output. `timestamp` as in the file: RFC 3339 in UTC, with nanoseconds."""

    timestamp: str
    stream: str
    text: str


def folder(run: Path, node: str, pod: str, container: str) -> Path:
    """The folder of a container's logs, by a descriptor that stays open: root in a node can plant symlinks."""
    place = Path(rundir.container_logs(node, pod, container))
    lab = os.open(run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return Path(f"/proc/self/fd/{beneath(lab, str(place))}")
    except FileNotFoundError:
        return run / place
    except OSError as error:
        raise NslabError(f"{run / place}: {error_text(error)}") from error
    finally:
        os.close(lab)


def read(
    path: Path,
    *,
    follow: bool = False,
    tail: int | None = None,
    since: str = "",
    going: Callable[[], bool] = lambda: True,
) -> Iterator[Entry]:
    """Yield the lines of a log that are not older than `since` (a timestamp as in the file); of these the last `tail`.

    With `follow`, wait for more until the file is removed, or until `going()` is false when no line has come.
    """
    joiner = _Joiner()
    file = _LogFile(path)
    try:
        with _Watch(path) if follow else _NoWatch() as watch:
            existing = (entry for entry in joiner.join(file.lines()) if entry.timestamp >= since)
            yield from existing if tail is None else deque(existing, maxlen=tail)
            while follow:
                came = False
                for entry in joiner.join(file.lines()):
                    came = True
                    yield entry
                if not came and not (going() and path.exists()):
                    break
                if not came:
                    watch.wait()
            yield from joiner.join(file.lines())
    finally:
        file.close()


def attempts(folder: Path) -> list[Path]:
    """The logs of a container's last runs, the newest first; their names are the runs' numbers."""
    found = [file for file in folder.glob("*.log") if file.stem.isdigit()] if folder.is_dir() else []
    return sorted(found, key=lambda file: int(file.stem), reverse=True)


class _LogFile:
    """A growing file, which may be replaced by a new one (rotated)."""

    def __init__(self, path: Path) -> None:
        self._path, self._rest = path, b""
        self._fd = _open(path)

    def lines(self) -> Iterator[bytes]:
        """Yield the complete lines that it has not yielded yet."""
        yield from self._rest_of_file()
        try:
            renewed = os.lstat(self._path).st_ino != os.fstat(self._fd).st_ino
        except FileNotFoundError:
            return
        if renewed:
            yield from self._rest_of_file()  # written between the read and the rotation
            self.close()
            self._fd, self._rest = _open(self._path), b""
            yield from self._rest_of_file()

    def _rest_of_file(self) -> Iterator[bytes]:
        while block := os.read(self._fd, 1 << 16):
            *whole, self._rest = (self._rest + block).split(b"\n")
            yield from whole

    def close(self) -> None:
        os.close(self._fd)


def _open(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise NslabError(f"{path.name} among the logs is not a regular file")


class _Joiner:
    """Joins the partial lines (tag P) of a long line; its timestamp is the first part's."""

    def __init__(self) -> None:
        self._pieces: dict[str, list[tuple[str, str]]] = {}

    def join(self, lines: Iterable[bytes]) -> Iterator[Entry]:
        for line in lines:
            match cri.parse(line):
                case timestamp, stream, False, text:
                    self._pieces.setdefault(stream, []).append((timestamp, text))
                case timestamp, stream, True, text:
                    pieces = [*self._pieces.pop(stream, []), (timestamp, text)]
                    yield Entry(pieces[0][0], stream, "".join(text for _, text in pieces))


class _NoWatch:
    def __enter__(self) -> _NoWatch:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self) -> None:
        """Return at once."""


class _Watch(_NoWatch):
    """Watches the log's folder: its file is written, rotated, removed."""

    def __init__(self, path: Path) -> None:
        self._folder = FolderWatch(path.parent)

    def __exit__(self, *_: object) -> None:
        self._folder.__exit__()

    def wait(self) -> None:
        """Return at the next event, or after a while."""
        heard = [self._folder.descriptor] if self._folder.descriptor >= 0 else []
        if select.select(heard, [], [], _CHECK_AGAIN)[0]:
            self._folder.drain()
