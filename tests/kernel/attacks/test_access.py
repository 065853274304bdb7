"""Another user of the machine: what of a lab he sees, reads, connects to, holds; however careless root's shell was."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nslab.linux import owned
from tests.kernel.labkit import IN_A_WORLD_OF_ITS_OWN, IP_NETNS, NSLAB, ROOT, RUN, OwnLab, nslab, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOMEBODY = 65533
"""A user whom no machine has."""


def as_somebody(*argv: str, **options: object) -> subprocess.CompletedProcess[str]:
    """A command of an ordinary user."""
    listed = {
        "user": SOMEBODY,
        "group": SOMEBODY,
        "extra_groups": [],
        "capture_output": True,
        "text": True,
        "timeout": 60,
    }
    return subprocess.run(argv, **{**listed, "cwd": ROOT, **options})


def python(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of an ordinary user."""
    return as_somebody(sys.executable, "-I", "-S", "-c", text, *arguments)


@pytest.fixture(params=["000", "022", "077"])
def lab(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[OwnLab]:
    """A lab that somebody with this umask brought up, and whose every part ran again."""
    made = OwnLab(tmp_path)
    before = os.umask(int(request.param, 8))
    try:
        made.up()
        nodes = {pid for who, pid in made.pids().items() if who.endswith((" node", " control"))}
        for pid in nodes:
            os.kill(pid, 9)
        until(lambda: not nodes & {*made.pids().values()})
        made.up()
        nslab("set", made.name, "proxy-mode=nftables")
    finally:
        os.umask(before)
    yield made
    made.clear()


def test_modes(lab: OwnLab) -> None:
    assert stat.S_IMODE(RUN.stat().st_mode) == 0o755, "names of labs are no secret"
    assert stat.S_IMODE(IP_NETNS.stat().st_mode) == 0o755, "it is everybody's"
    here = RUN / lab.name
    assert (here.stat().st_uid, stat.S_IMODE(here.stat().st_mode)) == (0, 0o700)
    shown = {"hosts", "hostname", "resolv.conf"}
    for path in here.rglob("*"):
        status = path.lstat()
        inside = path.relative_to(here).parts
        if inside[0] == "pods" or inside[0] == "ns" or "var-lib" in inside or stat.S_ISLNK(status.st_mode):
            continue  # what is mounted into containers, and what programs in nodes made
        assert status.st_uid == 0
        assert not status.st_mode & 0o077 or (path.is_dir() and path != here), f"{path} {status.st_mode:o}"
    for path in (path for path in (here / "pods").rglob("*") if path.name in shown):
        assert stat.S_IMODE(path.stat().st_mode) == 0o644, "a container's user need not be root"


def test_somebody_sees_names_and_nothing_else(lab: OwnLab) -> None:
    text = (
        "import os, sys\n"
        "for path in sys.argv[1:]:\n"
        "  try: os.listdir(path) if os.path.isdir(path) else open(path).read()\n"
        "  except OSError: print(path)"
    )
    here = RUN / lab.name
    secret = [str(here), *(str(here / name) for name in ("lab.yaml", "control.sock", "nodes/node1.journal", "ns"))]
    assert python(text, *secret).stdout.split() == secret
    labs = as_somebody(*NSLAB, "ps")
    assert labs.returncode == 4
    completed = as_somebody(
        *NSLAB, env={"_NSLAB_COMPLETE": "complete_bash", "COMP_WORDS": "nslab exec ", "COMP_CWORD": "2"}
    )
    assert f"{lab.name}/node1" in completed.stdout.split()
    for verb in ("down", "check"):
        words = {"_NSLAB_COMPLETE": "complete_bash", "COMP_WORDS": f"nslab {verb} ", "COMP_CWORD": "2"}
        completed = as_somebody(*NSLAB, env=words)
        assert (lab.name in completed.stdout.split(), completed.stderr) == (True, "")
    plan = as_somebody(*NSLAB, "plan", lab.name)
    assert (plan.returncode, plan.stderr.count("\n")) == (2, 1)
    assert "put sudo before it" in plan.stderr
    assert as_somebody(*NSLAB, "labs").returncode == 0


def test_whoever_comes_through_an_open_door_is_not_heard(lab: OwnLab) -> None:
    here = RUN / lab.name
    doors = [here / "control.sock", *(here / "nodes").glob("*.sock")]
    assert len(doors) == 4
    for path in (here, here / "nodes", *doors):
        path.chmod(0o777)  # as careless as can be
    request = json.dumps({"op": "get"}) + "\n" + json.dumps({"op": "stop"}) + "\n"
    text = (
        "import socket, sys\n"
        "for path in sys.argv[2:]:\n"
        "  s = socket.socket(socket.AF_UNIX); s.settimeout(10); s.connect(path)\n"
        "  try: s.sendall(sys.argv[1].encode()); said = s.recv(1)\n"
        "  except (BrokenPipeError, ConnectionResetError): said = b''\n"
        "  print(repr(said))"
    )
    before = lab.pids()
    heard = python(text, request, *map(str, doors))
    assert (heard.stdout.split(), heard.stderr) == (["b''"] * len(doors), "")
    assert lab.pids() == before
    for door in doors[:1]:  # root is
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(door))
            sock.sendall(request.encode().splitlines(keepends=True)[0])
            assert sock.recv(5) == b'{"ok"'


def test_nobody_else_can_hold_a_lock() -> None:
    name, before = f"t{os.getpid()}lock", os.umask(0)
    try:
        with owned.locked(name, "up", lambda _: None):
            held = python("import sys; open(sys.argv[1])", str(RUN / f"{name}.lock"))
            assert "PermissionError" in held.stderr
    finally:
        os.umask(before)


@pytest.mark.parametrize(
    "made",
    [
        "ln -s /tmp/theirs /run/nslab",
        "mkdir -m 777 /run/nslab",
        "mkdir /run/nslab; chown 65533 /run/nslab",
        "touch /run/nslab",
    ],
)
@pytest.mark.parametrize("verb", ["up calico-two-node", "down calico-two-node"])
def test_a_folder_that_is_not_root_s_alone_is_not_used(made: str, verb: str) -> None:
    script = (
        f"mount -t tmpfs t /run; mount -t tmpfs t /tmp; mkdir -m 777 /tmp/theirs /tmp/theirs/calico-two-node\n{made}\n"
        f"before=$(find /tmp /run -ls); {' '.join(NSLAB)} {verb} >&2 && exit 9\n"
        '[ "$before" = "$(find /tmp /run -ls)" ] || exit 8'
    )
    done = subprocess.run([*IN_A_WORLD_OF_ITS_OWN, script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("nslab: /run/nslab is ")
    assert done.stderr.count("\n") == 1


def test_labs_in_somebody_else_s_folder_are_not_taken_down() -> None:
    script = (
        "mount -t tmpfs t /run; mount -t tmpfs t /tmp; mkdir -m 777 /tmp/theirs /tmp/theirs/calico-two-node\n"
        "ln -s /tmp/theirs /run/nslab; touch /tmp/theirs/x.lock; before=$(find /tmp /run -ls)\n"
        f"{' '.join(NSLAB)} down --all && exit 9\n"
        '[ "$before" = "$(find /tmp /run -ls)" ] || exit 8'
    )
    done = subprocess.run([*IN_A_WORLD_OF_ITS_OWN, script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    output = "nslab: /run/nslab is not a folder; nslab keeps its labs there: remove it by hand\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", output)


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_what_runs_in_a_lab_has_the_usual_umask(tmp_path: Path, umask: int) -> None:
    lab = OwnLab(tmp_path, "kubenet-two-node")
    text = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: prints}\nspec: {nodeName: node1, containers: [{name: app, "
    lab.write(lab.file.read_text() + text + "command: [sh, -c, umask; exec sleep 1000]}]}\n")
    before = os.umask(umask)
    try:
        lab.up()
        until(lambda: nslab("logs", f"{lab.name}/prints").stdout == "0022\n")
        for host in ("prints", "pod-a", "node1", "client", "switch"):
            assert nslab("exec", f"{lab.name}/{host}", "--", "sh", "-c", "umask").stdout == "0022\n"
    finally:
        os.umask(before)
        lab.clear()
