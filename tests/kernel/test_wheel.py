"""The wheel as somebody gets it: in an environment of its own, with the clone out of sight, it does the main job.

The environment holds the wheel, and of what is installed here what the wheel says that it needs; with NSLAB_SLOW set,
what the registry gives instead. Labs live in a world of their own, so they have the names that they are shipped with.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab.cli.complete import SHELLS
from nslab.cli.docs import topics
from nslab.exercises.types import Language
from nslab.lab.find import names
from tests.kernel.labkit import until
from tests.package import ROOT, Built, build

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.importorskip("hatchling")

LAB = "calico-two-node"
SETUP = {
    "bash": (("bash", "--norc", "--noprofile", "-i"), "source {prefix}/{place}"),
    "zsh": (("zsh", "-f", "-i"), "fpath=({prefix}/{folder} $fpath); autoload -Uz compinit; compinit -D -u"),
    "fish": (("fish", "-i"), "true"),
}
"""How each shell is started, and what a person has in its start-up file. Fish looks where XDG_DATA_DIRS says."""
FIRST_LETTERS = {
    "up calico-t": f"up {LAB}",
    "down cal": f"down {LAB}",
    f"exec {LAB}/pod-d": f"exec {LAB}/pod-d",
    f"exec {LAB}/cl": f"exec {LAB}/client",
    "compl": "completion",
    "docs sec": "docs security",
    "up --proxy": "up --proxy-mode",
}


class World:
    """Where no clone is, and no other lab: mounts and processes of its own, with which all of it ends."""

    def __init__(self, prefix: Path, folder: Path) -> None:
        self.prefix, self.folder = prefix, folder
        script = f"mount -t tmpfs none /run && mount -t tmpfs none {ROOT} && echo ready && exec sleep infinity"
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", script],
            stdout=subprocess.PIPE, text=True, cwd="/",
        )  # fmt: skip
        assert self.holder.stdout
        assert self.holder.stdout.readline() == "ready\n"
        self.first = Path(f"/proc/{self.holder.pid}/task/{self.holder.pid}/children").read_text().strip()
        self.enter = ("nsenter", "--target", self.first, "--mount", "--pid", f"--wdns={folder}", "--")
        self.environment = {
            "PATH": f"{prefix}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(folder),
            "LC_ALL": "C.UTF-8",
            "TERM": "vt100",
            "XDG_DATA_DIRS": f"{prefix}/share:/usr/share",
            "NSLAB_TIMEOUT_FACTOR": os.environ.get("NSLAB_TIMEOUT_FACTOR", "1"),
        }

    def run(self, line: str) -> str:
        """One line of bash, which must succeed; what it printed."""
        argv = [*self.enter, "bash", "-c", line]
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def each(self, verb: str, loop: str) -> list[str]:
        """What a verb's function prints each time, in one process: a call of the command line takes as long as all."""
        imports = (
            "from nslab.cli.docs import docs, topics; from nslab.cli.look import show; "
            "from nslab.exercises.types import Language; from nslab.lab.find import names"
        )
        return self.run(f"python -c '{imports}; [({verb}, print(end=chr(12))) {loop}]'").split("\f")[:-1]

    def end(self) -> None:
        """The first process of its process numbers goes, and with it all others."""
        os.kill(int(self.first), signal.SIGKILL)
        self.holder.wait(30)
        assert self.holder.stdout
        self.holder.stdout.close()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def prefix(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that holds the wheel and what it needs, and nothing else."""
    made = tmp_path_factory.mktemp("installed") / "venv"
    # This environment's python is a link that lies in the clone.
    subprocess.run([Path(sys.executable).resolve(), "-m", "venv", "--without-pip", made], check=True)
    pip = [sys.executable, "-m", "pip", "--python", made / "bin/python", "--disable-pip-version-check"]
    options = ["--quiet", "--root-user-action=ignore"]
    if os.environ.get("NSLAB_SLOW"):
        subprocess.run([*pip, "install", *options, f"nslab[pytest] @ file://{built.wheel}"], check=True)
    else:
        (site,) = made.glob("lib/python*/site-packages")
        lend(next(iter(importlib.metadata.distributions(path=[str(built.wheel)]))), site)
        subprocess.run([*pip, "install", *options, "--no-index", "--no-deps", built.wheel], check=True)
    subprocess.run([*pip, "check"], check=True, stdout=subprocess.DEVNULL)
    return made


def lend(distribution: importlib.metadata.Distribution, site: Path) -> None:
    """Copy what a distribution asks for, and what those ask for, out of this environment."""
    from packaging.requirements import Requirement

    for need in map(Requirement, distribution.requires or ()):
        wanted = need.marker is None or need.marker.evaluate({"extra": "pytest"})
        if not wanted or list(site.glob(f"{need.name.replace('-', '_')}-*.dist-info")):
            continue
        found = importlib.metadata.distribution(need.name)
        for file in found.files or ():
            if ".." not in file.parts and "__pycache__" not in file.parts:  # programs are made anew
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(found.locate_file(file)), site / file)
        lend(found, site)


@pytest.fixture(scope="module")
def world(prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(prefix, tmp_path_factory.mktemp("home"))
    yield made
    made.end()


@pytest.fixture(scope="module")
def running(world: World) -> Iterator[str]:
    """The lab, up."""
    assert f"{LAB}: calico, IPIP" in world.run(f"nslab up {LAB}")
    yield LAB
    world.run(f"nslab down {LAB}")


def test_the_clone_is_out_of_sight(world: World, prefix: Path) -> None:
    assert world.run(f"ls -A {ROOT}") == ""
    paths = world.run("python -c 'import sys, nslab; print(nslab.__file__, *sys.path, sep=chr(10))'").split()
    assert paths[0].startswith(f"{prefix}/lib/")
    assert [path for path in paths if path.startswith(f"{ROOT}/")] == []


def test_it_says_which_it_is(world: World, built: Built) -> None:
    assert world.run("nslab --version") == f"nslab {built.version}\n"


def test_labs_and_their_guides_and_the_schema_are_in_it(world: World) -> None:
    assert [lab["name"] for lab in json.loads(world.run("nslab labs -o json"))] == names()
    shown = world.each("show(lab, guide=True, lang=lang)", "for lab in names() for lang in Language")
    assert len(shown) == len(names()) * len(Language)
    assert [text for text in shown if len(text.splitlines()) <= 20] == []
    assert "192.168.59.22" in world.run(f"nslab show {LAB} --guide")
    assert "192.168.59.22" in world.run(f"nslab show {LAB} --guide --lang ko")
    assert json.loads(world.run("nslab schema"))["title"]


def test_the_documents_are_in_it(world: World) -> None:
    assert [row["topic"] for row in json.loads(world.run("nslab docs -o json"))] == topics()
    shown = world.each("docs(topic)", "for topic in topics()")
    assert len(shown) == len(topics())
    assert [text for text in shown if len(text.splitlines()) <= 15] == []
    assert "nslab scale" in world.run("nslab docs commands")


def test_it_does_the_main_job(world: World, running: str) -> None:
    assert "other node  ok           ok" in world.run(f"nslab probe {running}")
    assert world.run(f"nslab exec {running}/pod-d -- curl -s http://svc-b:8080/hostname").strip() == "pod-b"
    world.run(f"nslab diff {running}")
    world.run(f"nslab set {running} encapsulation=VXLAN && nslab probe {running} && nslab up {running}")


def test_what_is_up_goes_down(world: World) -> None:
    world.run("nslab up pause-pod && nslab down pause-pod")
    assert "pause-pod" not in world.run("nslab ps; ip netns list")


def test_pytest_finds_its_plugin(world: World) -> None:
    (world.folder / "test_mine.py").write_text(
        f"import pytest\n\n@pytest.mark.lab({LAB!r})\n"
        "def test_it(lab):\n    assert lab.pod('pod-d').http('svc-b:8080/hostname').text == 'pod-b'\n"
    )
    shipped = f"{world.prefix}/lib/python*/site-packages/nslab/labs/pause-pod"
    output = world.run(f"python -m pytest -q -p no:cacheprovider test_mine.py {shipped}")
    assert re.search(r"^[2-9] passed", output, re.MULTILINE), output


def test_the_manual_is_where_man_looks(world: World) -> None:
    if shutil.which("man") is None:
        pytest.skip("man is not installed")
    # It goes from PATH: beside a folder `bin` of it there may be a `share/man`.
    assert "NSLAB(1)" in world.run("man nslab | head -1")


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes(shell: str, world: World, running: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    argv, setup = SETUP[shell]
    place = SHELLS[shell]
    setup = setup.format(prefix=world.prefix, place=place, folder=place.rpartition("/")[0])
    terminal = Terminal((*world.enter, *argv), world.environment)
    try:
        terminal.type(f"{setup}\r")
        for letters, line in FIRST_LETTERS.items():
            answer = world.folder / f"answer-{shell}"
            # The line is not to be run but to be seen: to its beginning, echo; to its end, where to.
            terminal.type(f"nslab {letters}\t\x01echo \x05 > {answer}\r")
            until(lambda answer=answer: answer.exists() and answer.read_text().endswith("\n"), 30)
            assert answer.read_text().split() == f"nslab {line}".split()
            answer.unlink()
    finally:
        terminal.close()


class Terminal:
    """A program that believes it talks to a person."""

    def __init__(self, argv: tuple[str, ...], environment: dict[str, str]) -> None:
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.execvpe(argv[0], argv, environment)

    def type(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())

    def close(self) -> None:
        os.close(self.descriptor)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
