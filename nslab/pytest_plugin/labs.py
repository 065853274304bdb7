"""The labs of this process's tests: each has a unique name, and is removed whatever happens."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import threading
from typing import TYPE_CHECKING, Never

import pytest

from nslab.app.down import down
from nslab.app.up import up
from nslab.dataclass import replace
from nslab.errors import Missing, NslabError, Refused
from nslab.pytest_plugin.interrupted import interrupted
from nslab.pytest_plugin.leaks import Watch
from nslab.pytest_plugin.owner import Owner, sweep
from nslab.pytest_plugin.running import RunningLab
from nslab.pytest_plugin.wanted import goals, wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import TypeAlias

    from nslab.errors import FieldError
    from nslab.lab.types import Lab

    BringUp: TypeAlias = Callable[[str, Path, str | None, str | None], RunningLab]
    """Takes the arguments of `wanted`."""

NO_ROOT = (
    "labs need root for the kernel's network: put sudo before pytest, or use a kernel of your own: nslab vm -- pytest …"
)


class Labs:
    """The labs of one pytest process. With `keep`, the lab of a failed test stays up.

    With `require`, a test whose lab this machine cannot bring up fails, and is not skipped.
    """

    def __init__(self, *, keep: bool, require: bool) -> None:
        self.live: list[RunningLab] = []
        self._keep, self._require = keep, require
        self._handler: object = None
        self._owned: dict[str, Owner] = {}
        self._swept = False

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[BringUp]:
        """Yield a function that brings labs up; remove them at the end, and fail if anything outlives its lab."""
        mine: list[RunningLab] = []

        def up(source: str, beside: Path, proxy_mode: str | None, encapsulation: str | None) -> RunningLab:
            if os.geteuid() != 0:
                self._impossible(NO_ROOT)
            named, warnings, check = _named(source, beside, proxy_mode, encapsulation)
            lab = RunningLab(named.name, beside, tuple(map(str, warnings)))
            self._up(lab, named, check, mine)
            _complain(lab.late)
            return lab

        try:
            yield up
        finally:
            left = [line for lab in reversed(mine) for line in self._over(lab)]
        _complain(left)

    def down_all(self) -> None:
        """Remove all labs that are still up."""
        for lab in reversed([*self.live]):
            self._over(lab)

    def _up(self, lab: RunningLab, named: Lab, check: str, mine: list[RunningLab]) -> None:
        self._prepare()
        self.live.append(lab)
        mine.append(lab)
        try:
            lab.late = self._brought_up(named, check)
            self._owned[lab.name] = Owner(lab.name)
            lab.packets.start()
        except BaseException:
            mine.remove(lab)
            self._forget(lab)
            with contextlib.suppress(NslabError):  # a signal may have come right after it was up
                down(lab.name)
            raise

    def _brought_up(self, lab: Lab, check: str) -> list[str]:
        """Bring a lab up, or skip with what this machine lacks; return the unready containers, a line each."""
        try:
            with interrupted():
                done = up(lab, goals=check)
            return [str(container) for container in done.not_ready]
        except Missing as missing:
            lacking, reason = str(missing), ""
        except (Refused, OSError) as error:
            lacking, reason = _lacking(lab), f"{lab.name} cannot be brought up: {error}"
        except NslabError as error:
            lacking, reason = "", str(error)
        if lacking:
            self._impossible(lacking)
        pytest.fail(reason, pytrace=False)

    def _impossible(self, reason: str) -> Never:
        if self._require:
            pytest.fail(f"--nslab-require: {reason}", pytrace=False)
        pytest.skip(reason)

    def _over(self, lab: RunningLab) -> list[str]:
        """Remove a lab, unless it is kept; return what `down` left behind."""
        if lab not in self.live:
            return []
        lab.packets.close()
        try:
            if self._keep and lab.failed:
                return []
            self._owned.pop(lab.name).release()
            with Watch(lab.name) as watch, interrupted():
                down(lab.name)
                return watch.left()
        except NslabError as error:
            return [str(error)]
        finally:
            self._forget(lab)

    def _forget(self, lab: RunningLab) -> None:
        self.live.remove(lab)
        lab.packets.close()
        if owner := self._owned.pop(lab.name, None):
            owner.release()
        if not self.live and self._handler is not None:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._handler = None

    def _prepare(self) -> None:
        """While there are labs, SIGTERM (a cancelled CI job) ends pytest like Ctrl-C: with everything torn down."""
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


def _named(
    source: str, beside: Path, proxy_mode: str | None, encapsulation: str | None
) -> tuple[Lab, tuple[FieldError, ...], str]:
    """The lab that a test requests, with a unique name; the warnings about its file; its goals."""
    try:
        lab, warnings = wanted(source, beside, proxy_mode, encapsulation)
        # A unique name in each process and test. Equal addresses do not conflict: each lab has its own namespaces.
        named = replace(lab, name=f"{lab.name[:24].rstrip('-')}-{secrets.token_hex(4)}")
        return named, warnings, goals(source, beside, lab)
    except NslabError as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)


def _lacking(lab: Lab) -> str:
    """Doctor's finding on a lab that the kernel refused; "" if everything that it needs works here."""
    from nslab.app.plan import likely_needed
    from nslab.linux.observe import doctor

    wanted_here = likely_needed(lab)
    try:
        for found in doctor.examine():
            if not found.works and found.primitive.name in wanted_here:
                return f"nslab doctor: {found.primitive.name}: {found.word}; way on: {found.advice}"
    except OSError as error:
        return f"nslab doctor: root cannot create network namespaces on this kernel: {error.strerror}"
    return ""
