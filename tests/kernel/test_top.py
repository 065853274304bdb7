"""`top` in a real terminal (tmux's), with 80 columns and 24 lines, without colour."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import NSLAB, ROOT, OwnLab, nslab, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path_factory.mktemp("top"))
    made.up()
    yield made
    made.clear()


class Terminal:
    """A terminal of tmux, whose server is its own."""

    def __init__(self, folder: Path, command: str) -> None:
        self._socket = folder / "tmux"
        environment = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", command, env=environment)

    def tmux(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        argv = ["tmux", "-S", str(self._socket), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, env=env, check=True).stdout

    def screen(self, *options: str) -> str:
        return self.tmux("capture-pane", "-p", *options)


@pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")
def test_the_page_lives_and_q_leaves(lab: OwnLab, tmp_path: Path) -> None:
    pytest.importorskip("textual", reason="textual is not installed (nslab[top])")
    status = tmp_path / "status"
    terminal = Terminal(tmp_path, f"{' '.join(NSLAB)} top {lab.name}; echo $? >{status}; sleep 60")
    try:
        until(lambda: "switch:" in terminal.screen(), 20)
        assert lab.talks("pod-d", "10.103.9.116")
        until(lambda: "   1 100% pod-b 20.111.156.7:8080" in terminal.screen())
        screen = terminal.screen("-e")
        assert "connection new: tcp pod-d" in screen
        assert "node2" in screen.splitlines()[0]
        assert re.findall(r"\x1b\[(?:\d+;)*(?:3[0-8]|4[0-8]|9\d|10\d)[;m]", screen) == []  # no colour
        terminal.tmux("send-keys", "q")
        until(status.exists)
        until(lambda: status.read_text() == "0\n")
    finally:
        terminal.tmux("kill-server")


def test_without_a_terminal_it_says_what_to_do(lab: OwnLab) -> None:
    done = nslab("top", lab.name)
    assert (done.returncode, "`nslab events LAB -o json`" in done.stderr) == (2, True)


def test_without_textual_it_names_the_package(lab: OwnLab, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['textual'] = None; sys.modules['textual.app'] = None;"
        f"from nslab.__main__ import main; sys.argv = ['nslab', 'top', {lab.name!r}]; main()"
    )
    argv = ["script", "-qec", f'{sys.executable} -P -c "{code}"', "/dev/null"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 4, done.stdout
    assert "top needs textual: pip install 'nslab[top]'" in done.stdout
