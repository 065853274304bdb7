"""What of an ordinary user's call gets to root through sudo, by scripts/nslab and scripts/test: his arguments as they
are, of his environment what is listed here, and an interpreter that looks nowhere else for modules."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SUDO = """#!/usr/bin/python3 -IS
# A sudo that resets nothing, as sudoers may have it. It writes down what it has, and has Python say what reaches it.
import json, os, sys
words = sys.argv[1:]
with open(os.path.join(os.path.dirname(__file__), "told"), "w") as file:
    json.dump(dict(os.environ), file)
at = words.index("-m")
words[at : at + 2] = ["-c", '''
import json, os, sys
flags = {name: bool(getattr(sys.flags, name)) for name in ("isolated", "safe_path", "dont_write_bytecode")}
print(json.dumps([sys.argv[1:], dict(os.environ), flags]))
''']
os.execvp(words[0], words)
"""
TRAP = "import pathlib; pathlib.Path(__file__).with_name('sprung').touch()\n"
WORDS = [
    *("a b", "it's", '"', "two\nlines", "-x", "--", "-i", "--block-signal=INT", "A=b", "PATH=/tmp", "$(id)", "`id`"),
    *("*", "\\", "", "~", "&", "\x1b[2J", "é", "\udcff"),
]
TERMINAL = {"TERM": "vt100", "COLORTERM": "a b", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "NO_COLOR": "1\n-i"}
TOLD = {"NSLAB_TIMEOUT_FACTOR": "2.5", "NSLAB_PATIENCE": "3"}
CALLER = {"SUDO_UID": "1000"}
NOT_TOLD = {
    **dict.fromkeys(("NSLAB", "NSLAB_VM", "NSLAB_GOLDEN", "NSLAB_SEEDS", "NSLAB_OTHER", "_NSLAB_COMPLETE"), "1"),
    **dict.fromkeys(("LD_LIBRARY_PATH", "HOME", "USER", "TMPDIR", "PYTEST_ADDOPTS", "COLUMNS"), "/nowhere"),
}
PYTHONS = ("PATH", "HOME", "STARTUP", "USERBASE", "PYCACHEPREFIX", "PLATLIBDIR", "EXECUTABLE", "WARNINGS", "INSPECT")
ROOTS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def put(file: Path, text: str) -> None:
    """A program."""
    file.write_text(text)
    file.chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The first folder of a user's PATH: his `sudo`, and an `id` that says that he is not root; modules as well."""
    for name, text in (("sudo", SUDO), ("id", "#!/bin/sh\necho 1000\n")):
        put(tmp_path / name, text)
    for module in ("sitecustomize", "usercustomize", "encodings", "yaml", "pytest", "json"):
        (tmp_path / f"{module}.py").write_text(TRAP)
    return tmp_path


def crossed(programs: Path, script: str, *words: str, **variables: str) -> tuple[list[str], dict[str, str], Any]:
    """What Python says that root has it run: its arguments, its environment, its flags."""
    argv = [str(ROOT / "scripts" / script), *words]
    environment = {"PATH": f"{programs}:/usr/bin:/bin", **variables}
    done = subprocess.run(argv, cwd=programs, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    reset_by_nobody = json.loads((programs / "told").read_text())
    assert environment.items() <= reset_by_nobody.items(), "it is no sudo that keeps variables from root"
    assert not (programs / "sprung").exists()
    arguments, theirs, flags = json.loads(done.stdout)
    theirs.pop("LC_CTYPE", None)  # Python's own, where there is no locale
    return arguments, theirs, flags


def users(programs: Path) -> dict[str, str]:
    """All that a user may have in his environment."""
    return {**TERMINAL, **TOLD, **NOT_TOLD, **{f"PYTHON{name}": str(programs) for name in PYTHONS}}


def test_of_his_environment_nslab_gets_what_it_and_the_terminal_are_told(programs: Path) -> None:
    _, theirs, flags = crossed(programs, "nslab", "ps", **users(programs))
    assert theirs == {**TERMINAL, **TOLD, **CALLER}
    assert flags == {"isolated": True, "safe_path": True, "dont_write_bytecode": True}


def test_of_his_environment_the_tests_get_little_more(programs: Path) -> None:
    theirs_too = {"CI": "true", "NSLAB_SLOW": "1"}
    _, theirs, flags = crossed(programs, "test", **users(programs), **theirs_too)
    terminal = {name: value for name, value in TERMINAL.items() if name != "COLORTERM"}
    roots = {"PATH": ROOTS_PATH, "HOME": "/root", "PYTHONDONTWRITEBYTECODE": "1"}
    assert theirs == {**terminal, **TOLD, **theirs_too, **roots}
    assert (flags["safe_path"], flags["dont_write_bytecode"]) == (True, True)


def test_a_picture_takes_root_only_of_a_running_lab(programs: Path) -> None:
    arguments, _, _ = crossed(programs, "nslab", "graph", "calico-two-node", "--live")
    assert arguments == ["graph", "calico-two-node", "--live"]
    (programs / "told").unlink()
    argv = [str(ROOT / "scripts/nslab"), "graph", "calico-two-node"]
    environment = {"PATH": f"{programs}:/usr/bin:/bin"}
    done = subprocess.run(argv, cwd=programs, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.partition(":")[0]) == (0, "calico-two-node")
    assert not (programs / "told").exists(), "it asked sudo"


@pytest.mark.parametrize(
    ("script", "own"), [("nslab", {"SUDO_UID"}), ("test", {"PATH", "HOME", "PYTHONDONTWRITEBYTECODE"})]
)
def test_what_is_not_set_does_not_become_set(programs: Path, script: str, own: set[str]) -> None:
    _, theirs, _ = crossed(programs, script, "ps")
    assert {*theirs} == {*own}


@pytest.mark.parametrize("script", ["nslab", "test"])
def test_root_looks_for_nothing_on_his_path(programs: Path, script: str) -> None:
    """Where sudo has no path of its own (`secure_path`), what it is to run is looked for on his."""
    for name in ("env", "python", "python3", "sh"):
        put(programs / name, "#!/bin/sh\ntouch ${0%/*}/sprung\nexit 9\n")
    crossed(programs, script, "ps")


@pytest.mark.parametrize("verb", ["exec", "ps", "down", "no-such-verb"])
def test_arguments_of_nslab_arrive_as_they_are(programs: Path, verb: str) -> None:
    arguments, _, _ = crossed(programs, "nslab", verb, *WORDS)
    assert arguments == [verb, *WORDS]


def test_arguments_of_pytest_arrive_as_they_are(programs: Path) -> None:
    arguments, _, _ = crossed(programs, "test", *WORDS)
    assert arguments[-len(WORDS) :] == WORDS
