"""The labs that are up for tests of this process: each under a name of its own, and taken down whatever happens."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Never, TypeVar

import pytest

from nslab.errors import Missing, NslabError, Refused, Stopped, UsageError
from nslab.lab.find import find, names
from nslab.lab.load import load_with_warnings
from nslab.lab.types import Encapsulation, ProxyMode
from nslab.lab.words import did_you_mean, shown
from nslab.linux import lifecycle
from nslab.plugin.lab import RunningLab
from nslab.plugin.leaks import Watch
from nslab.plugin.owner import Owner, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from enum import StrEnum
    from pathlib import Path

    from nslab.errors import Problem
    from nslab.lab.types import Lab
    from nslab.plugin import Wish

NO_ROOT = (
    "labs are made of the kernel's network, which takes root: put sudo before pytest, "
    "or use a kernel of your own: nslab vm -- pytest …"
)
_E = TypeVar("_E", bound="StrEnum")


class Labs:
    """The labs of one pytest process. With `keep`, that of a failed test stays when the test is over."""

    def __init__(self, *, keep: bool) -> None:
        self.live: list[RunningLab] = []
        self._keep = keep
        self._handler: object = None
        self._owned: dict[str, Owner] = {}
        self._swept = False

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[Callable[[Wish, Path], RunningLab]]:
        """Brings labs up, and takes them down at the end; fails if something is left of one."""
        mine: list[RunningLab] = []

        def up(wish: Wish, beside: Path) -> RunningLab:
            lab = self._up(wish, beside, mine)
            _complain(lab.late)
            return lab

        try:
            yield up
        finally:
            left = [line for lab in reversed(mine) for line in self._over(lab)]
        _complain(left)

    def down_all(self) -> None:
        """Take down whatever is still up."""
        for lab in reversed([*self.live]):
            self._over(lab)

    def _up(self, wish: Wish, beside: Path, mine: list[RunningLab]) -> RunningLab:
        if os.geteuid() != 0:
            pytest.skip(NO_ROOT)
        wanted, warnings = _wanted(wish, beside)
        # Its own name in each process and test: equal addresses do not meet, they are in other namespaces.
        wanted = replace(wanted, name=f"{wanted.name[:24].rstrip('-')}-{secrets.token_hex(4)}")
        self._prepare()
        lab = RunningLab(wanted.name, beside, tuple(map(str, warnings)))
        self.live.append(lab)
        mine.append(lab)
        try:
            lab.late = _brought_up(wanted)
            self._owned[lab.name] = Owner(lab.name)
        except BaseException:
            mine.remove(lab)
            self._forget(lab)
            with contextlib.suppress(NslabError):  # a signal may have come when it was just up
                lifecycle.down(lab.name, lambda _: None)
            raise
        return lab

    def _over(self, lab: RunningLab) -> list[str]:
        """Take a lab down, unless it is to be kept; what is left of it that should not be."""
        if lab not in self.live:
            return []
        try:
            if self._keep and lab.failed:
                return []
            self._owned.pop(lab.name).release()
            with Watch(lab.name) as watch, _interrupted():
                lifecycle.down(lab.name, lambda _: None)
                return watch.left()
        except NslabError as error:
            return [str(error)]
        finally:
            self._forget(lab)

    def _forget(self, lab: RunningLab) -> None:
        self.live.remove(lab)
        if owner := self._owned.pop(lab.name, None):
            owner.release()
        if not self.live and self._handler is not None:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._handler = None

    def _prepare(self) -> None:
        """While there are labs, SIGTERM (a CI that cancels) ends pytest as Ctrl-C does: with everything torn down."""
        if not self._swept:
            self._swept = True
            sweep()
        here = threading.current_thread() is threading.main_thread()
        if here and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._handler = signal.signal(signal.SIGTERM, _terminated)


def _terminated(*_: object) -> Never:
    pytest.exit("terminated", returncode=143)


def _complain(lines: list[str]) -> None:
    if lines:
        pytest.fail("\n".join(lines), pytrace=False)


def _wanted(wish: Wish, beside: Path) -> tuple[Lab, tuple[Problem, ...]]:
    """The lab that a test wants, and what in its file is probably not meant."""
    try:
        return load_with_warnings(
            _file(wish.source, beside),
            _one_of(Encapsulation, wish.encapsulation),
            _one_of(ProxyMode, wish.proxy_mode),
        )
    except NslabError as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)


def _file(source: str, beside: Path) -> Path:
    """Where a lab is. As on the command line, a name goes before a path; that begins where the test is."""
    if source in names():
        return find(source)
    if (beside / source).exists():
        return find(str(beside / source))
    advice = did_you_mean(source, names()) or "; `nslab labs` lists what there is"
    raise UsageError(f"there is no lab {shown(source)}, and no file or folder of that name beside the test{advice}")


def _one_of(kind: type[_E], word: str | None) -> _E | None:
    """A setting by its word."""
    if word is None or word in [*kind]:
        return None if word is None else kind(word)
    raise UsageError(f"there is no {kind.__name__} {word!r}; there are {', '.join(kind)}")


def _brought_up(wanted: Lab) -> list[str]:
    """Bring it up, or skip with what this machine lacks; the containers that are not ready, a line each."""
    try:
        with _interrupted():
            done = lifecycle.up(wanted, lambda _: None, lambda *_: None)
        return [str(container) for container in done.not_ready]
    except Missing as missing:
        lacking, reason = str(missing), ""
    except (Refused, OSError) as error:
        lacking, reason = _lacking(wanted), f"{wanted.name} cannot be brought up: {error}"
    except NslabError as error:
        lacking, reason = "", str(error)
    if lacking:
        pytest.skip(lacking)
    pytest.fail(reason, pytrace=False)


def _lacking(wanted: Lab) -> str:
    """What doctor says of a lab that the kernel refused; nothing if all that it needs works here."""
    from nslab.compiler import compile_lab
    from nslab.compiler.addresses import place
    from nslab.linux import doctor
    from nslab.linux.host import likely_host
    from nslab.net.needs import needs

    wanted_here = needs(compile_lab(place(wanted), likely_host()))
    try:
        for found in doctor.examine():
            if not found.works and found.primitive.name in wanted_here:
                return f"nslab doctor: {found.primitive.name}: {found.word}; way on: {found.advice}"
    except OSError as error:
        return f"nslab doctor: this kernel gives root no network namespaces: {error.strerror}"
    return ""


@contextlib.contextmanager
def _interrupted() -> Iterator[None]:
    """What nslab makes of a signal is what pytest makes of it."""
    try:
        yield
    except Stopped as stopped:
        if stopped.code == 128 + signal.SIGINT:
            raise KeyboardInterrupt from stopped
        pytest.exit("terminated", returncode=stopped.code)
