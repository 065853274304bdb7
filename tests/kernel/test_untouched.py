"""This machine's own network, settings, mounts and files: the same before, during and after every lab."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nslab.lab.types import Encapsulation
from tests.kernel.labkit import ENDED, IN_A_WORLD_OF_ITS_OWN, IP_NETNS, ROOT, RUN, OwnLab, nslabs
from tests.slow import SLOW

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.kernel.conftest import Fingerprint

pytestmark = pytest.mark.root

LABS = [
    *(("calico-two-node", str(encapsulation)) for encapsulation in (Encapsulation if SLOW else [Encapsulation.IPIP])),
    ("kubenet-two-node", ""),
    ("pause-pod", ""),
]


def names() -> set[str]:
    """What lies in /run of any lab."""
    return {str(path) for folder in (RUN, IP_NETNS) if folder.exists() for path in folder.iterdir()}


@pytest.mark.parametrize(("shipped", "encapsulation"), LABS)
def test_before_during_and_after(
    tmp_path: Path, shipped: str, encapsulation: str, fingerprint: Callable[[], Fingerprint]
) -> None:
    own = OwnLab(tmp_path, shipped)
    home = os.stat("/proc/self/ns/net").st_ino
    before = fingerprint()
    try:
        own.up(*(["--encapsulation", encapsulation] if encapsulation else []))
        during = fingerprint()
        own.up(*(["--encapsulation", encapsulation] if encapsulation else []))
        own.differences()
        script = "mount -t tmpfs none /mnt; ip link; echo > /run/x; true"
        hosts = {whose.split(" ")[0] for whose in own.pids()}
        looks = [(verb, own.name) for verb in ("probe", "ps", "inspect")]
        nslabs([*looks, *(("exec", f"{own.name}/{host}", "--", "sh", "-c", script) for host in hosts)])
        while_used = fingerprint()
    finally:
        own.down()
    assert during.since(before) == []
    assert while_used.since(before) == []
    assert fingerprint().since(before) == []
    assert own.left() == []
    assert not [name for name in names() if own.name in name]
    assert os.stat("/proc/self/ns/net").st_ino == home


def test_run_is_as_it_was(tmp_path: Path) -> None:
    # In a /run of its own, since other labs may come and go in the machine's.
    own = OwnLab(tmp_path)
    script = f"""
        mount -t tmpfs none /run; before=$(ls -AlR /run | grep -v "^d")
        {sys.executable} -m nslab up {own.file} > /dev/null 2>&1
        {sys.executable} -m nslab down {own.name}
        [ "$before" = "$(ls -AlR /run | grep -v "^d")" ]; ls -A /run
    """
    done = subprocess.run([*IN_A_WORLD_OF_ITS_OWN, script], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(f"{own.name} is down: {ENDED}\n", done.stdout)
