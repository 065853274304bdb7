"""An interpreter that is not below /usr: containers see nothing of where it lies, and what is built in works there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab.linux.processes import status
from tests.kernel.labkit import ROOT, OwnLab, until

if TYPE_CHECKING:
    from collections.abc import Iterator

CALL = (
    "import sys; sys.path += sys.argv[1].split(':'); from nslab.__main__ import main; sys.argv[:2] = ['nslab']; main()"
)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path)
    yield made
    made.clear()


def test_an_interpreter_outside_usr(own: OwnLab, tmp_path: Path) -> None:
    place = tmp_path / "python"
    library = Path(sysconfig.get_path("stdlib"))
    (place / "bin").mkdir(parents=True)
    shutil.copy(Path(sys.executable).resolve(), place / "bin")
    ignored = shutil.ignore_patterns("dist-packages", "site-packages", "test", "__pycache__", "ensurepip", "idlelib")
    shutil.copytree(library, place / "lib" / library.name, ignore=ignored, symlinks=True)
    program = place / "bin" / Path(sys.executable).resolve().name
    path = ":".join([str(ROOT), sysconfig.get_path("purelib")])

    def nslab(*arguments: object) -> subprocess.CompletedProcess[str]:
        argv = [program, "-I", "-S", "-c", CALL, path, *map(str, arguments)]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60)

    done = nslab("up", own.file)
    assert done.returncode == 0, done.stderr
    assert own.talks("pod-d", "20.111.156.7")
    assert all(pod["ready"] for pod in status.read_status(own.name).values())
    node = own.pids()["node1 node"]
    assert Path(f"/proc/{node}/exe").samefile(program)
    done = nslab("exec", f"{own.name}/pod-b", "--", "ls", place)
    assert done.returncode != 0
    assert "No such file or directory" in done.stderr
    # What is imported only later: kube-proxy's part, of another mode.
    assert nslab("set", own.name, "proxy-mode=userspace").returncode == 0
    until(lambda: own.talks("node2", "10.103.9.116"))
