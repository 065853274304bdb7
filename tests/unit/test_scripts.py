"""scripts/test and scripts/packages, called where somebody else has laid files."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRAP = "import pathlib; pathlib.Path(__file__).with_name('sprung').touch()\n"


@pytest.fixture
def trapped(tmp_path: Path) -> Path:
    """A folder full of modules that would be imported from the current one, of links, and with a sudo that is none."""
    for module in ("pytest", "xdist", "yaml", "json", "encodings", "ensurepip", "sitecustomize", "conftest"):
        (tmp_path / f"{module}.py").write_text(TRAP)
    for folder in ("elsewhere", "bin"):
        (tmp_path / folder).mkdir()
    for link in ("pytest-of-root", "pytest-of-nobody", "nslab-hypothesis", "hypothesis"):
        (tmp_path / link).symlink_to(tmp_path / "elsewhere")
    (tmp_path / "bin/sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (tmp_path / "bin/sudo").chmod(0o755)
    return tmp_path


def called(script: str, *arguments: str, cwd: Path) -> str:
    """What a script of the clone says, whose temporary files go where it is called."""
    names = ("HYPOTHESIS_STORAGE_DIRECTORY", "PYTHONPATH", "PYTEST_ADDOPTS")
    shown = {name: value for name, value in os.environ.items() if name not in names}
    environment = {**shown, "TMPDIR": str(cwd), "PATH": f"{cwd}/bin:{os.environ['PATH']}"}
    argv = [ROOT / "scripts" / script, *arguments]
    done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_what_others_laid_is_neither_imported_nor_followed(trapped: Path) -> None:
    before = {*trapped.iterdir()}
    # These make files for themselves, and Hypothesis for them.
    output = called("test", "-q", "tests/unit/objects/test_names.py", "tests/unit/lab/test_labs.py", cwd=trapped)
    assert " passed" in output.splitlines()[-1]
    assert {*trapped.iterdir()} == before, "and what a run made there went with it"
    assert [*(trapped / "elsewhere").iterdir()] == []


def test_arguments_are_pytest_s(trapped: Path) -> None:
    output = called("test", "-n0", "tests/unit/test_timeouts.py", "-v", "-k", "usual", cwd=trapped)
    assert re.findall(r"^(\S+::\S+) PASSED", output, re.MULTILINE) == [
        "tests/unit/test_timeouts.py::test_as_usual_unless_told"
    ]


def test_quick_is_the_unit_tests(trapped: Path) -> None:
    others = f"--ignore-glob={ROOT}/tests/unit/[!c]*"  # all takes long to import
    output = called("test", "--quick", "-q", "--collect-only", others, "-k", "golden or live", cwd=trapped)
    files = {line.partition("::")[0] for line in output.splitlines() if "::" in line}
    assert "tests/unit/compiler/test_golden.py" in files
    assert [file for file in files if not file.startswith("tests/unit/")] == []


def test_whether_a_module_is_there_is_not_asked_of_the_current_folder(trapped: Path) -> None:
    called("packages", "build", cwd=trapped)
    assert not (trapped / "sprung").exists()
