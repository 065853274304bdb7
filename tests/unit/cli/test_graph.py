"""`graph` and `trace -o html`: what goes where, and whose the files are."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nslab.cli.commands import build
from nslab.errors import Missing, UsageError
from nslab.linux import handed_over

ROOT = Path(__file__).parents[3]
PREDICTED = ("trace", "calico-two-node", "pod-d", "svc-b", "--predict")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def said(*words: str) -> str:
    done = CliRunner().invoke(build(), list(words))
    assert done.exit_code == 0, done.output
    return done.output


def refused(*words: str) -> str:
    done = CliRunner().invoke(build(), list(words))
    assert isinstance(done.exception, UsageError), done.output
    return str(done.exception)


@pytest.mark.parametrize(
    ("output", "begins"),
    [
        ("text", "calico-two-node: calico, IPIP; 2 nodes"),
        ("mermaid", "flowchart TB\n"),
        ("dot", "graph {\n"),
        ("svg", "<svg xmlns="),
        ("html", "<!doctype html>\n"),
    ],
)
def test_each_format_is_printed(output: str, begins: str) -> None:
    shown = said("graph", "calico-two-node", "-o", output)
    assert shown.startswith(begins)
    assert shown.endswith("\n")
    assert not shown.endswith("\n\n")


def test_a_file_a_folder_and_standard_input_are_labs_too(tmp_path: Path) -> None:
    text = (ROOT / "labs/calico-two-node/lab.yaml").read_text()
    (tmp_path / "lab.yaml").write_text(text)
    expected = said("graph", "calico-two-node")
    assert said("graph", str(tmp_path)) == said("graph", str(tmp_path / "lab.yaml")) == expected
    assert CliRunner().invoke(build(), ["graph", "-"], input=text).output == expected


def test_the_options_of_plan_are_its_options() -> None:
    shown = said("graph", "calico-two-node", "--encapsulation", "vxlan", "--proxy-mode", "nftables")
    assert "vxlan.calico (vxlan) 20.111.156.0/32" in shown
    assert "Services (nftables mode)" in shown


def test_a_file_is_written_and_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    file, link = tmp_path / "a.svg", tmp_path / "link.svg"
    for _ in range(2):
        assert said("graph", "pause-pod", "-o", "svg", "-w", str(file)) == ""
        assert file.read_text() == said("graph", "pause-pod", "-o", "svg", "-w", "-")
    link.symlink_to(file)
    assert refused("graph", "pause-pod", "-w", str(link)).startswith(f"{link}: ")
    assert (
        refused("graph", "pause-pod", "-w", str(tmp_path / "no/a.svg"))
        == f"{tmp_path}/no/a.svg: No such file or directory"
    )


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("graph", "pause-pod", "--open", "-o", "dot"), "--open is for html and svg: no browser shows dot"),
        (("graph", "pause-pod", "--open", "-w", "x"), "-w FILE or --open: --open writes a temporary file"),
        ((*PREDICTED, "-o", "json", "--open"), "-w and --open go with -o html"),
        ((*PREDICTED, "-w", "x"), "-w and --open go with -o html"),
    ],
)
def test_what_does_not_go_together_is_refused(words: tuple[str, ...], why: str) -> None:
    assert refused(*words) == why


def test_a_terminal_gets_no_page() -> None:
    outer, inner = pty.openpty()
    argv = [sys.executable, "-P", "-m", "nslab", "graph", "pause-pod", "-o", "html"]
    done = subprocess.run(argv, stdout=inner, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=60, check=False)
    os.close(inner)
    os.close(outer)
    assert done.returncode == 2
    assert done.stderr == "nslab: standard output is a terminal: --open opens the page, -w FILE writes it to a file\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go, and a user without a screen."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SUDO_UID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_open_writes_a_file_that_only_its_owner_reads_and_says_where(folder: Path) -> None:
    shown = said(*PREDICTED, "--open")
    file = Path(shown.removeprefix("wrote ").partition(";")[0])
    assert shown == f"wrote {file}; to see it: xdg-open {file}\n"
    assert (file.suffix, stat.S_IMODE(file.stat().st_mode)) == (".html", 0o600)
    assert file.parent == (Path("/tmp") if os.geteuid() == 0 else folder)
    assert file.read_text().startswith("<!doctype html>")
    file.unlink()


@as_root
@pytest.mark.parametrize(
    ("told", "owner"), [("65534", 65534), ("0", 0), ("-1", 0), ("4294967295", 0), ("1e3", 0), ("", 0), ("²", 0)]
)
def test_what_root_makes_for_who_ran_sudo_is_his(
    folder: Path, monkeypatch: pytest.MonkeyPatch, told: str, owner: int
) -> None:
    monkeypatch.setenv("SUDO_UID", told)
    made = handed_over.temporary("text", ".svg")
    handed_over.written(str(folder / "new"), "text")
    assert (made.stat().st_uid, (folder / "new").stat().st_uid) == (owner, owner)
    made.unlink()


@as_root
def test_a_file_that_was_there_stays_its_owners(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_UID", "65534")
    (folder / "old").write_text("a longer text")
    handed_over.written(str(folder / "old"), "text")
    assert ((folder / "old").stat().st_uid, (folder / "old").read_text()) == (0, "text")


def test_a_prediction_is_a_page_with_all_that_may_come() -> None:
    shown = said("trace", "services-iptables", "box-1", "web", "--predict", "-o", "html")
    assert shown.count('"chance": 0.25') >= 4


def test_a_packet_that_will_be_lost_is_a_page_and_exits_with_1() -> None:
    done = CliRunner().invoke(build(), ["trace", "calico-two-node", "client", "pod-d", "--predict", "-o", "html"])
    assert (done.exit_code, done.output[:15]) == (1, "<!doctype html>")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may")
def test_a_running_lab_takes_root() -> None:
    done = CliRunner().invoke(build(), ["graph", "pause-pod", "--live"])
    assert isinstance(done.exception, Missing)


def test_live_takes_the_lab_as_it_is() -> None:
    if os.geteuid() == 0:
        assert "without --encapsulation" in refused("graph", "pause-pod", "--live", "--encapsulation", "None")
