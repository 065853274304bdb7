"""Links, mounts and strange names among a lab's files and names: none leads to what is somebody else's."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab.pytest_plugin.owner import Owner, abandoned
from tests.kernel.attacks.forgekit import (
    SLEEP,
    Small,
    pod,
    process,
    runs,
    sentence,
    somebody,
    treasure,
    tree,
    world,
)
from tests.kernel.labkit import IP_NETNS, NSLAB, ROOT, RUN, nslab, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="takes root")]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Small]:
    made = Small(tmp_path, pod("one"))
    yield made
    made.clear()
    assert made.left() == []


def mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)


def test_ps_lists_labs_beside_one_that_is_mounted_over(lab: Small) -> None:
    lab.up()
    mount("-t", "tmpfs", "again", RUN / lab.name)
    done = nslab("ps", "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    holds = {row["lab"]: row["holds"] for row in json.loads(done.stdout)}
    assert holds[lab.name] == f"what is mounted at {RUN / lab.name} is not nslab's; unmount it by hand"


WAYS = ("link", "file", "owned", "open", "sticky", "group")


def act_run(folder: str) -> None:
    """RUN itself is not what it should be."""
    lab = Small(Path(folder))
    for way in WAYS:
        dear = treasure(Path(folder, way))
        _lay(way, dear, lab.name)
        before = tree(Path("/run")), tree(dear)
        calls: list[tuple[object, ...]] = [("down", lab.name)]
        if way in ("link", "open"):
            calls += [("up", lab.file), ("down", "--all"), ("diff", lab.name), ("ps",)]
        for call in calls:
            done = nslab(*call)
            assert done.stderr.count("\n") == 1, (way, call, done)
            assert done.returncode or call[0] == "ps", (way, call)
            assert (tree(Path("/run")), tree(dear)) == before, (way, call)
        subprocess.run(["rm", "-r", RUN], check=True)


def _lay(way: str, dear: Path, lab: str) -> None:
    if way == "link":
        RUN.symlink_to(dear)
    elif way == "file":
        RUN.write_text("dear, too\n")
    else:
        treasure(RUN)
        (RUN / lab).mkdir()
        (RUN / lab / "file").write_text("dear, too\n")
        os.chown(RUN, somebody() if way == "owned" else 0, 0)
        RUN.chmod({"open": 0o777, "sticky": 0o1777, "group": 0o775}.get(way, 0o755))


def test_labs_are_kept_in_a_folder_of_roots_alone(tmp_path: Path) -> None:
    world(act_run, tmp_path)


def act_folders(folder: str) -> None:
    """A lab's folder leads elsewhere: as a link, and as a mount of a folder of the same and of other file systems."""
    dear = treasure(Path(folder, "dear"))
    for name in ("near", "memory"):
        Path("/run", name).mkdir()
    mount("-t", "tmpfs", "tmpfs", "/run/memory")
    near, memory = treasure(Path("/run/near/dear")), treasure(Path("/run/memory/dear"))
    RUN.mkdir(0o755)
    labs = {}
    for name, place in (("disk", dear), ("near", near), ("memory", memory)):
        labs[f"link{name}"], labs[f"bound{name}"] = place, place
        (RUN / f"link{name}").symlink_to(place)
        (RUN / f"bound{name}").mkdir()
        mount("--bind", place, RUN / f"bound{name}")
    (RUN / "inner" / "ns").mkdir(parents=True)
    mount("--bind", dear, RUN / "inner" / "ns")
    (RUN / "looped").symlink_to("looped")
    labs |= {"inner": dear, "looped": dear}
    before = [tree(place) for place in (dear, near, memory)]
    for name in labs:
        lab = Small(Path(folder))
        lab.write(lab.file.read_text().replace(lab.name, name))
        for call in (
            (("up", lab.file), ("down", name)) if name in ("linkdisk", "boundnear", "inner") else (("down", name),)
        ):
            done = nslab(*call)
            assert "Traceback" not in done.stderr, (name, call, done.stderr)
            assert done.stderr.count("\n") <= 1, (name, call, done.stderr)
            assert [tree(place) for place in (dear, near, memory)] == before, (name, call, done.stderr)
            assert call[0] != "up" or done.returncode
    nslab("down", "--all")
    assert [tree(place) for place in (dear, near, memory)] == before


def test_down_removes_nothing_of_what_a_labs_folder_leads_to(tmp_path: Path) -> None:
    world(act_folders, tmp_path)


SWAP = """
import contextlib, os, sys
os.chdir("/run/nslab")
while True:
    with contextlib.suppress(OSError):
        os.makedirs("plain/ns")
    for name in ("link", "plain"):
        with contextlib.suppress(OSError):
            os.rename(name, "swapped")
            os.rename("swapped", name)
"""


def act_swapped(folder: str) -> None:
    """A lab's folder is now a folder, now a link to somebody's, while `down` looks at it and acts."""
    dear = treasure(Path(folder, "dear"))
    RUN.mkdir(0o755)
    (RUN / "link").symlink_to(dear)
    before = tree(dear)
    with subprocess.Popen([sys.executable, "-c", SWAP], stderr=subprocess.DEVNULL) as swapper:
        for _ in range(4):
            assert "Traceback" not in nslab("down", "swapped").stderr
            assert tree(dear) == before
        assert swapper.poll() is None
        swapper.kill()


def test_what_is_swapped_meanwhile_is_not_followed(tmp_path: Path) -> None:
    world(act_swapped, tmp_path)


NAMES = ("Foo", "a b", "-x", "x" * 255, "a.b", "..x", "ä", "a\nb", "a_b", "*", "nslab", "x" * 64, "-", "a-", "LAB")


def act_names() -> None:
    """Names that are no lab's, of folders, of locks, and of what `ip netns` lists."""
    for name in NAMES:
        treasure(RUN / name)
        if name != "nslab":
            (RUN / f"{name[:250]}.lock").write_text(name)
    (RUN / "nslab").rename(RUN / "Nslab")
    IP_NETNS.mkdir()
    for name in NAMES:
        if name not in ("nslab", "a.b"):  # that would be host b.x of lab a
            (IP_NETNS / f"nslab.{name}.x"[:255]).write_text(name)
        (IP_NETNS / f"nslab.ok.{name}"[:255]).write_text(name) if name in ("Foo", "a b", "*") else None
    (IP_NETNS / "nslab.ok").write_text("ok")
    os.chmod(RUN, 0o755)
    before = tree(Path("/run"))
    done = nslab("down", "--all")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert tree(Path("/run")) == before


def test_what_no_lab_could_be_called_is_not_touched() -> None:
    world(act_names)


def act_netns(folder: str) -> None:
    """What `ip netns` lists under a lab's names is no namespace, or not the lab's."""
    dear = treasure(Path(folder, "dear"))
    lab = Small(Path(folder), pod("one"))
    lab.up()
    outside = subprocess.Popen(["unshare", "--net", *SLEEP])
    plain = subprocess.Popen(SLEEP)
    until(lambda: os.stat(f"/proc/{outside.pid}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino)
    (IP_NETNS / lab.ns("file")).symlink_to(dear / "a")
    (IP_NETNS / lab.ns("folder")).symlink_to(dear)
    (IP_NETNS / lab.ns("nowhere")).symlink_to("/nowhere")
    (IP_NETNS / lab.ns("itself")).symlink_to(lab.ns("itself"))
    (IP_NETNS / lab.ns("other")).symlink_to(f"/proc/{outside.pid}/ns/net")
    (IP_NETNS / lab.ns("machine")).symlink_to("/proc/1/ns/net")
    (IP_NETNS / lab.ns("bound")).touch()
    mount("--bind", "/proc/1/ns/net", IP_NETNS / lab.ns("bound"))
    (IP_NETNS / lab.ns("boundfile")).touch()
    mount("--bind", dear / "a", IP_NETNS / lab.ns("boundfile"))
    before = tree(dear)
    for call in (("diff", lab.name), ("ps",), ("up", lab.file)):
        done = nslab(*call)
        assert "Traceback" not in done.stderr, (call, done.stderr)
    done = nslab("down", lab.name)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert tree(dear) == before
    assert lab.left() == []
    assert (outside.poll(), plain.poll()) == (None, None)


def test_names_of_namespaces_lead_to_nothing_else(tmp_path: Path) -> None:
    world(act_netns, tmp_path)


def act_folders_among_names(folder: str) -> None:
    """A folder where the name of a namespace should be; and /run/netns a link to a folder of somebody's."""
    lab = Small(Path(folder), pod("one"))
    IP_NETNS.mkdir()
    dear = treasure(IP_NETNS / lab.ns("one"))
    before = tree(dear)
    for call in (("up", lab.file), ("diff", lab.name), ("down", lab.name), ("down", "--all")):
        done = nslab(*call)
        assert "Traceback" not in done.stderr, (call, done.stderr)
        assert done.stderr.count("\n") <= 1, (call, done.stderr)
        assert tree(dear) == before, call


def test_a_folder_among_the_names_of_namespaces_is_not_removed(tmp_path: Path) -> None:
    world(act_folders_among_names, tmp_path)


def act_names_of_anybody(folder: str) -> None:
    """/run/netns can be written by others: what one of them lays there names no lab and no namespace."""
    outside = subprocess.Popen(["unshare", "--net", *SLEEP])
    until(lambda: os.stat(f"/proc/{outside.pid}/ns/net").st_ino != os.stat("/proc/self/ns/net").st_ino)
    lab = Small(Path(folder), pod("one"))
    lab.up()
    IP_NETNS.chmod(0o1777)
    for name in (lab.ns("x"), "nslab.ghost.x"):
        (IP_NETNS / name).symlink_to(f"/proc/{outside.pid}/ns/net")
        os.chown(IP_NETNS / name, somebody(), 0, follow_symlinks=False)
    done = nslab("down", "--all")
    assert (done.returncode, done.stderr) == (0, ""), done
    assert outside.poll() is None
    assert not RUN.exists()


def test_names_that_anybody_could_lay_are_nobodys(tmp_path: Path) -> None:
    world(act_names_of_anybody, tmp_path)


def test_names_in_a_labs_folder_lead_to_no_other_namespace(lab: Small) -> None:
    """A link in there, and a mount of the machine's own."""
    lab.up()
    names = RUN / lab.name / "ns"
    with process(user=0) as pid, process("unshare", "--net", *SLEEP, user=0) as other:
        (names / lab.ns("linked")).symlink_to(f"/proc/{other}/ns/net")
        (names / lab.ns("machine")).symlink_to(f"/proc/{pid}/ns/net")
        lab.differences()
        lab.down()
        assert runs(pid)
        assert runs(other)


def act_from_inside(folder: str) -> None:
    """`down` from another network namespace, of a lab that has a name for the machine's own."""
    lab = Small(Path(folder), pod("one"))
    lab.up()
    name = RUN / lab.name / "ns" / lab.ns("machine")
    name.touch()
    mount("--bind", "/proc/1/ns/net", name)
    plain = subprocess.Popen(SLEEP)
    done = subprocess.run(["unshare", "--net", *NSLAB, "down", lab.name], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert plain.poll() is None
    assert lab.left() == []


def test_the_machines_network_is_no_labs_from_wherever_one_looks(tmp_path: Path) -> None:
    world(act_from_inside, tmp_path)


FORGED = "1999-01-01T00:00:00.000000000Z stderr F forged"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """A lab of somebody whose files are for everybody, and a pod that says what is not so."""
    lab = Small(tmp_path_factory.mktemp("shared"), pod("loud", "sh", "-c", f"echo plain; echo '{FORGED}'; sleep 1000"))
    done = nslab("up", lab.file, preexec_fn=lambda: os.umask(0))
    assert done.returncode == 0, done.stderr
    yield lab
    lab.clear()
    assert lab.left() == []


def test_nothing_of_a_lab_is_for_others_whatever_the_umask(shared: Small) -> None:
    assert stat.S_IMODE(RUN.stat().st_mode) & 0o022 == 0
    assert stat.S_IMODE((RUN / shared.name).stat().st_mode) == 0o700
    writable = []
    for root, folders, files in os.walk(RUN / shared.name):
        for path in (Path(root, name) for name in (*folders, *files)):
            mode = path.lstat().st_mode
            if not stat.S_ISLNK(mode) and mode & 0o022 and path.name != "tmp":
                writable.append(f"{path} {mode:o}")
    assert writable == []


def denied(*argv: object) -> bool:
    """Whether an ordinary user may not do that."""
    user = somebody()
    words = [*map(str, argv)]
    done = subprocess.run(words, user=user, group=user, extra_groups=(), capture_output=True, cwd="/")
    return b"Permission denied" in done.stderr


def test_an_ordinary_user_sees_nothing_of_a_lab(shared: Small) -> None:
    for name in (".", "lab.yaml", "pids", "nodes/node1.pids", "nodes/node1.sock", "ns"):
        assert denied("ls", f"{RUN}/{shared.name}/{name}")
    assert denied("ls", f"{IP_NETNS}/{shared.ns('loud')}/.")
    assert denied("nsenter", f"--net={IP_NETNS}/{shared.ns('loud')}", "true")


def act_machine(folder: str) -> None:
    """Somebody bound the machine's own namespace where a node's should be."""
    lab = Small(Path(folder), pod("one"))
    lab.up()
    name = RUN / lab.name / "ns" / lab.ns("node1")
    mount("--bind", "/proc/1/ns/net", name)
    before = subprocess.run(["ip", "-d", "addr"], capture_output=True).stdout
    for call in (("diff", lab.name), ("up", lab.file)):
        sentence(nslab(*call))
    assert subprocess.run(["ip", "-d", "addr"], capture_output=True).stdout == before
    lab.down()
    assert lab.left() == []


def test_the_machines_network_is_never_a_nodes(tmp_path: Path) -> None:
    world(act_machine, tmp_path)


def test_whose_lab_it_is_nobody_else_can_say(shared: Small, tmp_path: Path) -> None:
    """The pytest plugin's file; labs whose file nobody holds are taken away."""
    file = RUN / shared.name / "pytest"
    (RUN / shared.name / "pytest.new").symlink_to(tmp_path / "new")
    mine = Owner(shared.name)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not (tmp_path / "new").exists()
    assert shared.name not in abandoned()
    mine.release()
    (tmp_path / "free").touch()
    for lay in (lambda: file.symlink_to(tmp_path / "free"), file.mkdir):
        lay()
        listed = shared.name in abandoned()
        file.rmdir() if file.is_dir() else file.unlink()
        assert not listed


def test_a_pod_writes_nowhere_in_a_labs_folder(shared: Small) -> None:
    """What it sees of it is its own /etc/hosts and the like, and no more than to be read."""
    number = os.stat(RUN / shared.name).st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    output = nslab("exec", f"{shared.name}/loud", "--", "cat", "/proc/self/mountinfo").stdout
    mine = [line.split() for line in output.splitlines() if line.split()[2] == device]
    assert [words for words in mine if "ro" not in words[5].split(",")] == []
    before = tree(RUN / shared.name / "pods")
    places = [words[4] for words in mine]
    assert "/etc/hosts" in places
    script = "for place; do echo x >> $place; echo x > $place/x; rm -rf $place; mv $place /tmp; chmod 777 $place; done"
    nslab("exec", f"{shared.name}/loud", "--", "sh", "-c", script, "sh", *places)
    assert tree(RUN / shared.name / "pods") == before


def test_nobody_else_can_hold_a_lock(shared: Small) -> None:
    lock = RUN / f"{shared.name}.lock"
    argv = [sys.executable, "-c", HOLD, shared.name]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as holding:
        assert holding.stdout
        assert holding.stdout.readline() == b"held\n"
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600
        assert denied("flock", "-n", lock, "true")
        assert denied("flock", "-ns", lock, "true")
        assert denied("cat", lock)
        holding.communicate(b"\n")


HOLD = """
import sys
from nslab.linux import owned
with owned.locked(sys.argv[1], "test", print):
    print("held", flush=True)
    sys.stdin.read(1)
"""

LAID: dict[str, Callable[[Path, Path], object]] = {
    "link": lambda lock, dear: lock.symlink_to(dear / "a"),
    "link to nothing": lambda lock, dear: lock.symlink_to(dear / "new"),
    "link to a folder": lambda lock, dear: lock.symlink_to(dear),
    "folder": lambda lock, _: treasure(lock),
}


def test_a_lock_that_leads_elsewhere_is_not_followed(shared: Small, tmp_path: Path) -> None:
    dear, lock = treasure(tmp_path / "dear"), RUN / f"{shared.name}.lock"
    before = tree(dear)
    for way, lay in LAID.items():
        lay(lock, dear)
        try:
            sentence(nslab("up", shared.file), 3)
            assert tree(dear) == before, way
        finally:
            subprocess.run(["rm", "-rf", lock], check=True)


def test_a_line_of_a_log_cannot_be_forged(shared: Small) -> None:
    """What a container prints is the text of a line of its own, with the time at which it came."""
    until(lambda: FORGED in nslab("logs", f"{shared.name}/loud").stdout.splitlines())
    lines = nslab("logs", f"{shared.name}/loud", "--timestamps").stdout.splitlines()
    assert [line.partition(" ")[2] for line in lines] == ["plain", FORGED]
    assert [line for line in lines if line < "2020"] == []


SECRET = "0123456789 nobody is to read this"


def test_logs_follow_no_link(lab: Small, tmp_path: Path) -> None:
    """What root of a node lays in its /var/log, root of the machine does not follow."""
    lab.up()
    (tmp_path / "app").mkdir()
    secret = tmp_path / "app" / "0.log"
    secret.write_text(f"2026-01-01T00:00:00.0Z stdout F {SECRET}\n")
    (folder,) = (RUN / lab.name).glob("nodes/node1/log/pods/*")
    assert (folder / "app" / "0.log").exists()
    newest = folder / "app" / "99.log"

    newest.symlink_to(secret)
    _says_nothing(lab)
    newest.unlink()
    os.mkfifo(newest)
    _says_nothing(lab)
    (folder / "app").rename(folder / "aside")
    (folder / "app").symlink_to(secret.parent)
    _says_nothing(lab)
    folder.rename(folder.with_name("aside"))
    folder.symlink_to(tmp_path)
    _says_nothing(lab)


def _says_nothing(lab: Small) -> None:
    done = nslab("logs", f"{lab.name}/one", timeout=20)
    assert SECRET not in done.stdout + done.stderr
    sentence(done)


def test_what_a_lab_keeps_is_written_through_no_link(lab: Small, tmp_path: Path) -> None:
    """Who could write in a lab's folder could not thereby write elsewhere."""
    lab.up()
    dear, run = treasure(tmp_path / "dear"), RUN / lab.name
    before = tree(dear)
    for name in (
        "new.yaml",
        "check.yaml",
        "control.json.new",
        "nodes/node1.status.json.new",
        "nodes/node1.journal.new",
        "nodes/node1.pids.new",
        "dns/records.json.new",
        "cni/x.json",
        "xtables.lock",
    ):
        (run / name).parent.mkdir(exist_ok=True)
        if not (run / name).exists():
            (run / name).symlink_to(dear / "a")
    extra = tmp_path / "extra.yaml"
    extra.write_text(pod("two"))
    for call in (("apply", lab.name, "-f", extra), ("up", lab.file)):
        assert nslab(*call).returncode == 0, call
    lab.down()
    assert tree(dear) == before
