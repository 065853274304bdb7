"""What all tests of the clone share: among whom they are dealt out (see `tests/workers.py`), and a folder for files."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.slow import waits_for_slow
from tests.workers import VM, share, turn, workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xdist.remote import Producer
    from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[1]


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """A folder for this run alone: in /tmp anybody may lay a link where a name is known beforehand."""
    # A shell has what it runs in the background ignore ^C, and programs that tests interrupt would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.basetemp is not None:
        return  # told; or a worker, whose folder lies in the one that was made here
    folder = tempfile.mkdtemp(prefix="nslab-test-")
    config.add_cleanup(lambda: _remove(folder))
    config.option.basetemp = f"{folder}/t"
    # What root writes would stay in a clone that is not root's.
    if ROOT.stat().st_uid != os.geteuid():
        os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", f"{folder}/hypothesis")


def _remove(folder: str) -> None:
    """Not if a test left a mount in there: what would be removed is the machine's."""
    if f" {folder}/" not in Path("/proc/self/mountinfo").read_text():
        shutil.rmtree(folder, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """For `-n auto`."""
    return workers(config.args, len(os.sched_getaffinity(0)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """For `--dist loadfile`: it deals out whole shares."""
    from xdist.scheduler import LoadScopeScheduling

    class Shares(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return share(nodeid)

    return Shares(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """What is collected lives as long as the run: to look through it for garbage costs each worker seconds."""
    gc.disable()
    collected = yield
    gc.freeze()
    gc.enable()
    return collected


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Among workers, those come first who are waited for longest; else the VM's last: it boots beside the rest."""
    for item in items:
        if waits_for_slow(item.nodeid):
            item.add_marker(pytest.mark.skip(reason="others ask the same, and more quickly: NSLAB_SLOW=1"))
    among_workers = hasattr(config, "workerinput")
    items.sort(key=lambda item: turn(item.nodeid) if among_workers else share(item.nodeid) == VM)
