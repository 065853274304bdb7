"""Where nslab is called, and what is in the caller's environment: nothing there is imported, or run, as root."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import ROOT, OwnLab

if TYPE_CHECKING:
    from pathlib import Path

MODULES = (
    "yaml",
    "click",
    "typer",
    "json",
    "enum",
    "signal",
    "sitecustomize",
    "usercustomize",
    "_distutils_hack",
    "re",
)
PROGRAMS = (
    *("ip", "iptables", "iptables-save", "iptables-restore", "iptables-nft", "iptables-legacy", "iptables-nft-restore"),
    *(
        "iptables-legacy-save",
        "iptables-nft-save",
        "ipset",
        "ipvsadm",
        "nft",
        "conntrack",
        "sysctl",
        "tcpdump",
        "bridge",
    ),
    *("sh", "bash", "env", "curl", "modprobe"),
)
CLONE = str(ROOT / "scripts/nslab")
INSTALLED = os.path.join(os.path.dirname(sys.executable), "nslab")


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A folder in which somebody has laid modules and programs that write down that they ran."""
    sprung = tmp_path / "sprung"
    folder = tmp_path / "trap"
    (folder / "nslab/cli").mkdir(parents=True)
    for file in ("nslab/__init__", "nslab/__main__", "nslab/cli/__init__", "nslab/cli/app", *MODULES):
        (folder / f"{file}.py").write_text(f"open({str(sprung)!r}, 'a').write('{file}\\n')\n")
    for name in PROGRAMS:
        (folder / name).write_text(f"#!/bin/sh\necho {name} >>{sprung}\nexec /usr/bin/false\n")
        (folder / name).chmod(0o755)
    return folder


def call(program: str, *arguments: object, cwd: Path, **variables: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **{name: str(value) for name, value in variables.items()}}
    argv = [program, *map(str, arguments)]
    return subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def sprung(trap: Path) -> str:
    """What of the trap ran."""
    file = trap.parent / "sprung"
    return file.read_text() if file.exists() else ""


def test_the_trap_works(trap: Path) -> None:
    call(sys.executable, "-m", "nslab", "labs", cwd=trap)
    assert "nslab/__main__" in sprung(trap), "Python itself looks there first; nothing can be done before it has"


def test_an_installed_one_heeds_the_variables_of_python(trap: Path, tmp_path: Path) -> None:
    """As README says: before it reads a line of ours, Python has imported what they name."""
    call(INSTALLED, "labs", cwd=tmp_path, PYTHONPATH=trap)
    assert sprung(trap) != ""


@pytest.mark.parametrize("program", [CLONE, INSTALLED])
def test_the_current_folder(trap: Path, tmp_path: Path, program: str) -> None:
    lab = OwnLab(tmp_path, "kubenet-two-node")
    try:
        for arguments in (("--help",), ("labs",), ("up", lab.file), ("probe", lab.name), ("down", lab.name)):
            done = call(program, *arguments, cwd=trap)
            assert done.returncode == 0, done.stderr
    finally:
        lab.clear()
    assert sprung(trap) == ""


def test_the_plugin_of_pytest(trap: Path) -> None:
    """A lab's tests are in a folder of their own, to which pytest goes; they are called where the trap is."""
    (trap / "tests").mkdir()
    lines = ("import pytest", "", '@pytest.mark.lab("pause-pod")', "def test_it(lab):", "    assert lab.diff() == []")
    text = "\n".join((*lines, "    lab.probe()", ""))
    (trap / "tests/test_it.py").write_text(text)
    done = call(sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_it.py", cwd=trap)
    assert (done.returncode, sprung(trap)) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("variable", ["PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONINSPECT"])
def test_variables_of_python(trap: Path, variable: str) -> None:
    done = call(CLONE, "ps", cwd=trap, **{variable: trap})
    assert (done.returncode, sprung(trap)) == (0, ""), done.stderr


def test_programs_on_the_caller_s_path(trap: Path, tmp_path: Path) -> None:
    lab = OwnLab(tmp_path, "services-ipvs")
    lab.edit("mode: ipvs", "mode: iptables")
    path = f"{trap}:{os.environ['PATH']}"
    try:
        for arguments in (
            ("up", lab.file), ("set", lab.name, "proxy-mode=nftables"), ("diff", lab.name), ("inspect", lab.name),
            ("exec", f"{lab.name}/switch", "--", "ip", "link"), ("exec", f"{lab.name}/node1", "--", "ip", "link"),
            ("doctor",), ("down", lab.name),
        ):  # fmt: skip
            done = call(INSTALLED, *arguments, cwd=tmp_path, PATH=path)
            assert done.returncode == 0, done.stdout + done.stderr
    finally:
        lab.clear()
    assert sprung(trap) == ""
