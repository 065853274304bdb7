"""Labs side by side, calls side by side: none takes what is another's, and `down` takes all that is its own."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab.linux import owned
from nslab.linux.owned import MOMENT
from nslab.syscall import umount
from tests.kernel.labkit import (
    ENDED,
    IN_A_WORLD_OF_ITS_OWN,
    IP_NETNS,
    NAMESPACES,
    NSLAB,
    PROCESSES,
    ROOT,
    RUN,
    OwnLab,
    parent,
    processes,
    until,
)
from tests.slow import SLOW, often

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.root


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnLab]:
    lab = OwnLab(tmp_path)
    try:
        yield lab
    finally:
        lab.clear()
    assert lab.left() == []


@pytest.fixture
def other(tmp_path: Path, own: OwnLab) -> Iterator[OwnLab]:
    """The same lab, with the same addresses; its name begins with the other's."""
    lab = OwnLab(tmp_path, name=f"{own.name}-2")
    try:
        yield lab
    finally:
        lab.clear()
    assert lab.left() == []


def call(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*NSLAB, *map(str, arguments)], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_two_labs_with_the_same_addresses(own: OwnLab, other: OwnLab) -> None:
    both = [call("up", own.file), call("up", other.file)]
    assert [up.wait(30) for up in both] == [0, 0]
    for up in both:
        up.communicate()
    for lab in (own, other):
        assert lab.talks("pod-a", "20.109.131.3")
        assert lab.talks("client", "192.168.59.23", 31080), "a Service's node port"
        assert lab.differences() == []
    own.down()
    assert own.left() == []
    assert other.differences() == []
    assert other.talks("pod-a", "20.109.131.3")
    assert other.talks("pod-c", "10.103.9.116"), "a Service"
    own.up()
    other.down()
    assert own.talks("pod-a", "20.109.131.3")


def test_two_ups_at_once(own: OwnLab) -> None:
    first, second = call("up", own.file), call("up", own.file)
    output = [up.communicate(timeout=30) for up in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert sorted("as it should be" in out for out, _ in output) == [False, True]
    (waited,) = [err for out, err in output if "as it should be" in out]
    assert f"waiting for nslab up {own.name} (process " in waited or "waiting" not in waited
    assert own.differences() == []


def test_who_is_waited_for_is_named_and_waiting_can_be_ended(own: OwnLab) -> None:
    RUN.mkdir(exist_ok=True)
    lock = RUN / f"{own.name}.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        held.write(f"nslab up {own.name} (process 1)")
        held.flush()
        for verb, what in (("up", own.file), ("down", own.name)):
            with call(verb, what) as waiting:
                assert waiting.stderr
                assert waiting.stderr.readline() == f"waiting for nslab up {own.name} (process 1)\n"
                waiting.terminate()
                assert waiting.wait(5) == 143
                assert waiting.stderr.read() == "nslab: terminated\n"
        assert processes(own.name) == []
    lock.unlink()


def test_who_has_the_lock_for_a_moment_is_not_told_of(own: OwnLab) -> None:
    """As the controllers of a lab have it whenever they act."""
    RUN.mkdir(exist_ok=True)
    lock = RUN / f"{own.name}.lock"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        letting_go = threading.Timer(MOMENT / 3, fcntl.flock, (held, fcntl.LOCK_UN))
        letting_go.start()
        with owned.locked(own.name, "up", pytest.fail):
            letting_go.join()


def test_set_keeps_what_another_call_changed_while_it_waited(own: OwnLab) -> None:
    own.up()
    lock, wish = RUN / f"{own.name}.lock", RUN / own.name / "lab.yaml"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with call("set", own.name, "encapsulation=VXLAN") as waiting:
            assert waiting.stderr
            assert waiting.stderr.readline().startswith("waiting for ")
            wish.write_text(wish.read_text().replace("31080", "31081"))
            fcntl.flock(held, fcntl.LOCK_UN)
            assert waiting.wait(30) == 0, waiting.stderr.read()
    assert own.talks("client", "192.168.59.23", 31081)
    assert "vxlan.calico" in own.sh("node1", "ip route")


def test_up_and_down_at_once(own: OwnLab) -> None:
    for _ in range(often(8)):
        calls = [call("up", own.file), call("down", own.file), call("up", own.file), call("down", own.file)]
        for one in calls:
            _, output = one.communicate(timeout=30)
            assert one.returncode == 0, output
        assert own.left() == [] or own.differences() == []
    own.down()


def test_down_twice_and_of_what_never_was(own: OwnLab) -> None:
    own.up()
    assert re.fullmatch(f"{own.name} is down: {ENDED}\n", own.down())
    assert own.left() == []
    assert own.down() == f"{own.name} is not there\n"


def test_down_with_people_inside(own: OwnLab) -> None:
    own.up()
    long = str(10**6 + os.getpid())  # seconds; nobody else sleeps as long
    inside = [
        subprocess.Popen(["ip", "netns", "exec", own.ns("pod-b"), "sleep", long]),
        call("exec", f"{own.name}/pod-b", "--", "sleep", long),
        call("exec", f"{own.name}/node1", "--", "sh", "-c", f"sleep {long} & sleep {long}"),
        # It went into a namespace of its own, and gave up the mark; its parent is still inside.
        subprocess.Popen(
            ["ip", "netns", "exec", own.ns("node1"), "sh", "-c", f"env -i /usr/bin/unshare --net sleep {long}; true"]
        ),
        # It ignores what can be ignored.
        subprocess.Popen(
            [
                "ip",
                "netns",
                "exec",
                own.ns("client"),
                "sh",
                "-c",
                f"trap '' TERM HUP INT; sleep {long}; sleep {long}",
            ]
        ),
    ]
    until(lambda: sleepers(long) == 6)  # a call of `exec` that still starts when the lab goes ends by itself
    people = own_descendants(inside)
    own.down()
    assert own.left() == []
    for process in inside:
        process.wait(5)
        process.communicate()
    until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in people))


def own_descendants(roots: list[subprocess.Popen[str]]) -> set[int]:
    found = {process.pid for process in roots}
    grown = True
    while grown:
        children = set()
        for entry in filter(str.isdigit, os.listdir("/proc")):
            if parent(int(entry)) in found:
                children.add(int(entry))
        grown = not children <= found
        found |= children
    return found


def sleepers(seconds: str) -> int:
    """How many processes are a `sleep` of so many seconds, and not on their way to be one."""
    return [words(int(pid)) for pid in filter(str.isdigit, os.listdir("/proc"))].count(f"sleep {seconds} ")


def words(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def destroyed_wish(own: OwnLab) -> None:
    (RUN / own.name / "lab.yaml").unlink()


def destroyed_links(own: OwnLab) -> None:
    for link in IP_NETNS.glob(f"nslab.{own.name}.*"):
        link.unlink()


def destroyed_names(own: OwnLab) -> None:
    umount(str(RUN / own.name / "ns"))


def destroyed_some_names(own: OwnLab) -> None:
    for host in ("pod-a", "node1", "switch"):
        subprocess.run(["ip", "netns", "del", own.ns(host)], check=True)
    subprocess.run(["ip", "netns", "add", own.ns("pod-a")], check=True)


def destroyed_folder(own: OwnLab) -> None:
    umount(str(RUN / own.name / "ns"))
    umount(str(RUN / own.name))


def destroyed_all_but_processes(own: OwnLab) -> None:
    destroyed_folder(own)
    destroyed_links(own)
    (RUN / own.name).rmdir()


def added_files(own: OwnLab) -> None:
    (RUN / own.name / "notes").write_text("a user's")
    (RUN / own.name / "ns" / "notes").write_text("a user's")
    (RUN / own.name / "more").mkdir(exist_ok=True)
    (RUN / own.name / "more" / "notes").write_text("a user's")


@pytest.mark.parametrize(
    "destroy",
    [
        destroyed_wish, destroyed_links, destroyed_names, destroyed_some_names, destroyed_folder,
        destroyed_all_but_processes, added_files,
    ],
)  # fmt: skip
def test_up_and_down_of_what_was_partly_destroyed(own: OwnLab, destroy: Callable[[OwnLab], None]) -> None:
    own.up()
    destroy(own)
    own.up()
    assert own.differences() == []
    assert own.talks("pod-a", "20.109.131.3")
    names = subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
    assert names.count(f"nslab.{own.name}.") == NAMESPACES
    # Without a folder it looks like a lab that never was: then what runs is left to `down`.
    runs = PROCESSES if destroy is not destroyed_all_but_processes else 2 * PROCESSES
    until(lambda: len(processes(own.name)) == runs)  # what a kube-proxy is about to run bears its mark for a moment
    destroy(own)
    own.down()
    assert own.left() == []


def test_down_of_what_was_mounted_over(own: OwnLab) -> None:
    own.up()
    subprocess.run(["mount", "-t", "tmpfs", "again", RUN / own.name], check=True)
    own.down()
    assert own.left() == []
    own.up()
    assert own.talks("pod-a", "20.109.131.3")


def test_the_node_does_not_take_its_own_lab_down(own: OwnLab) -> None:
    own.up()
    done = subprocess.run(
        ["ip", "netns", "exec", own.ns("node1"), *NSLAB, "down", own.name], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (2, f"nslab: this runs inside lab {own.name}; leave it first\n")
    assert own.differences() == []


def test_down_all(own: OwnLab, other: OwnLab) -> None:
    # Elsewhere it would take away the labs of whoever works on this machine meanwhile.
    script = f"""
        mount -t tmpfs none /run
        python() {{ {sys.executable} "$@"; }}
        python -m nslab up {own.file} > /dev/null 2>&1
        python -m nslab up {other.file} > /dev/null 2>&1
        touch /run/nslab/third.lock
        mkdir -p /run/netns && touch /run/netns/nslab.fourth.pod /run/netns/somebody
        python -m nslab down --all
        ls -A /run/nslab /run/netns 2>&1 || true
        ls -d /proc/[0-9]* | wc -l
        python -m nslab down --all
    """
    done = subprocess.run([*IN_A_WORLD_OF_ITS_OWN, script], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "fourth is not there"
    assert re.fullmatch(f"{own.name} is down: {ENDED}", lines[1])
    assert "somebody" in lines
    assert not [line for line in lines[4:] if "nslab." in line]
    assert lines[-1] == "no lab is up"


def test_another_lab_may_end_while_names_are_given() -> None:
    """It takes the folder of `ip netns` away when that is empty, whenever that is."""
    script = f"""
        mount -t tmpfs none /run
        {sys.executable} -c 'from nslab.linux.netns import link_name; link_name("nslab.one.node1")'
        ls -ld /run/netns | cut -c1-10
        readlink /run/netns/*
    """
    done = subprocess.run([*IN_A_WORLD_OF_ITS_OWN, script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["drwxr-xr-x", "/run/nslab/one/ns/nslab.one.node1"], done.stderr


def test_a_full_run_does_not_matter(own: OwnLab) -> None:
    # Folders, mount points and short links of a tmpfs take none of its blocks; what is written is in one of our own.
    script = f"""
        mount -t tmpfs -o size=16k none /run
        dd if=/dev/zero of=/run/full bs=1k 2> /dev/null || true
        {sys.executable} -m nslab up {own.file} > /dev/null 2>&1
        {sys.executable} -m nslab diff {own.name}
        {sys.executable} -m nslab down {own.name}
        ls -A /run
    """
    done = subprocess.run([*IN_A_WORLD_OF_ITS_OWN, script], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    up, down, *left = done.stdout.splitlines()
    assert up == f"{own.name} is as it should be"
    assert re.fullmatch(f"{own.name} is down: {ENDED}", down)
    assert left == ["full"]


def test_no_inode_left_in_run(own: OwnLab) -> None:
    for inodes in range(2, 12, 1 if SLOW else 3):
        script = f"""
            mount -t tmpfs -o nr_inodes={inodes} none /run
            status=0; {sys.executable} -m nslab up {own.file} || status=$?
            echo $status; ls -AR /run; grep {own.name} /proc/self/mounts || true
        """
        done = subprocess.run([*IN_A_WORLD_OF_ITS_OWN, script], cwd=ROOT, capture_output=True, text=True)
        assert done.stdout == "3\n/run:\n", done.stdout + done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.endswith("No space left on device\n")
