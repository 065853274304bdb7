"""What a process says of itself, and what somebody wrote into a journal, leads nobody anywhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab.admission.load import load
from nslab.errors import LabFileError
from tests.kernel.attacks.forgekit import (
    SLEEP,
    Small,
    bearing,
    pod,
    process,
    runs,
    script,
    sentence,
    somebody,
    together,
    treasure,
    tree,
    world,
)
from tests.kernel.labkit import IP_NETNS, RUN, kill, nslab, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.geteuid() != 0, reason="takes root")]

NET = ("readlink", "/proc/self/ns/net")


def ways_to(folder: str) -> list[bytes]:
    """Marks that would lead to a folder, if what they say were taken for names."""
    up = "../" * 12
    texts = (
        f"nslab.{folder}.x r",
        f"nslab.{folder}/x.y r",
        f"nslab.{folder}/x.y",
        f"nslab.{up}{folder}/x.y r",
        f"nslab.\n{folder}/x.y r",
        f"nslab.{folder}/x\n.y r",
        f"nslab.{folder}/x.y pause node1 {folder} x y z 10.0.0.1 own",
        f"nslab.{folder}/{'x' * 4000}.y r",
        f"nslab.lab.{up}{folder} node node1",
        f"nslab.lab.pod container/{up}{folder} node1 0 0 0",
        f"nslab..{folder} r",
        f"{folder} r",
        "nslab.. r",
        "nslab.../.. r",
        "nslab.*.* r",
        "nslab.-x.y r",
        " ",
    )
    return [*(text.encode() for text in texts), f"nslab.{folder}/".encode() + b"\xff\xfe.y r", b"nslab.\xc3\x28.y r"]


def act_marks(folder: str, user: str, count: str) -> None:
    """Everybody says what `ways_to` lists, as many as are asked for; root takes all labs away."""
    dear = treasure(Path(folder))
    before = tree(dear)
    with together([process(mark=way, user=int(user)) for way in ways_to(folder)[: int(count)]]) as pids:
        done = nslab("down", "--all")
        assert tree(dear) == before, "files are gone"
        assert (done.returncode, done.stdout, done.stderr) == (0, "no lab is up\n", "")
        assert [pid for pid in pids if not runs(pid)] == []
    assert not RUN.exists()


@pytest.mark.parametrize(("user", "count"), [(somebody(), 1), (somebody(), 99), (0, 99)], ids=["one", "all", "root"])
def test_down_all_goes_by_no_mark(tmp_path: Path, user: int, count: int) -> None:
    world(act_marks, tmp_path / "dear", user, count)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Small]:
    made = Small(tmp_path)
    yield made
    made.clear()
    assert made.left() == []


def test_who_bears_a_labs_mark_in_the_machines_network_is_not_the_labs(lab: Small) -> None:
    """Ordinary users, root, who runs a program that is root's, and who is called root in a network of his own."""
    lab.start(pod("one"))
    marks = [f"{lab.ns('one')} container/app", f"{lab.ns('node1')} node", f"{lab.ns('')} spawner", lab.ns("x")]
    bearers = [process(mark=mark, user=user) for mark in marks for user in (somebody(), 0)]
    named = ("unshare", "--user", "--net", "--map-root-user")
    if subprocess.run([*named, "true"], user=somebody(), capture_output=True, cwd="/").returncode == 0:
        bearers.append(process(*named, *SLEEP, mark=marks[0]))
    folder = Path(tempfile.mkdtemp())
    try:
        program = shutil.copy("/usr/bin/sleep", folder)
        folder.chmod(0o755)
        os.chmod(program, 0o4755)
        with together([*bearers, process(program, "1000", mark=marks[0])]) as pids:
            assert _effective(pids[-1]) == 0
            until(lambda: Path(f"/proc/{pids[-2]}/comm").read_text() == "sleep\n")
            until(lambda: f"{lab.name} " in nslab("ps").stdout)  # another lab may just go, beside other tests
            lab.up()
            lab.down()
            assert [pid for pid in pids if not runs(pid)] == []
    finally:
        shutil.rmtree(folder)


def _effective(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[2]) for line in lines if line.startswith("Uid:"))


@pytest.fixture(scope="module")
def redirected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    """A lab in which others of lower numbers say that they are what commands go to."""
    lab = Small(tmp_path_factory.mktemp("redirected"))
    forged = [f"{lab.ns('node1')} node node1", f"{lab.ns('second')} container/app node1 0 0 0"]
    with together([process(mark=mark, user=user) for mark in forged for user in (somebody(), 0)]):
        # The first pod's own container says that it is the second's.
        lab.start(pod("first", "env", f"NSLAB={lab.ns('second')} container/app node1 0 0 0", *SLEEP), pod("second"))
        yield lab
        lab.clear()


def test_exec_goes_to_no_ordinary_user(redirected: Small) -> None:
    inode = os.stat(IP_NETNS / redirected.ns("node1")).st_ino
    done = nslab("exec", f"{redirected.name}/node1", "--", *NET)
    assert (done.stdout, done.stderr) == (f"net:[{inode}]\n", "")
    assert nslab("exec", f"{redirected.name}/node1", "--", "id", "-u").stdout == "0\n"


def test_exec_goes_to_no_other_pod(redirected: Small) -> None:
    inode = os.stat(IP_NETNS / redirected.ns("second")).st_ino
    done = nslab("exec", f"{redirected.name}/second", "--", "sh", "-c", "hostname; readlink /proc/self/ns/net")
    assert (done.stdout, done.stderr) == (f"second\nnet:[{inode}]\n", "")


def test_nor_does_it_when_the_nodes_process_is_dead(redirected: Small) -> None:
    kill(redirected.pids()["node1 node"])
    done = nslab("exec", f"{redirected.name}/second", "--", "hostname")
    assert (done.stdout, done.stderr) == ("second\n", "")
    sentence(nslab("exec", f"{redirected.name}/node1", "--", *NET))
    redirected.up()


CLAIMS = (
    "nslab.NAME.node1 node",
    "nslab.NAME.crowd pause",
    "nslab.NAME.crowd container/app",
    "nslab.NAME.crowd container/other",
    "nslab.NAME.quiet container/app",
    "nslab.NAME.node1 kube-proxy",
    "nslab.NAME.node1 tunnel",
    "nslab.NAME.control control",
    "nslab.NAME. spawner",
)


def test_who_plays_a_part_in_a_pod_is_named_never_adopted_and_ended(lab: Small) -> None:
    lab.start(pod("crowd", *script(*CLAIMS)), pod("shared", *script(*CLAIMS), share=True), pod("quiet"))
    # And the same by who came in by `nslab exec`, and stayed.
    claims = [claim.replace("NAME", lab.name) for claim in CLAIMS]
    line = " ".join(f"NSLAB='{claim}' setsid sleep 2000 > /dev/null 2>&1 &" for claim in claims)
    assert nslab("exec", f"{lab.name}/shared", "--", "sh", "-c", f"{line} true").returncode == 0
    real = lab.pids()

    def forged() -> dict[int, str]:
        return {pid: claim for claim in claims for pid in bearing(claim) if pid not in real.values()}

    until(lambda: len(forged()) == 3 * len(CLAIMS))  # each is a shell's child until it runs its own program
    pids = forged()
    output = json.loads(nslab("diff", lab.name, "-o", "json").stdout)
    lines = [line for lines in output["unmanaged"].values() for line in lines]
    for pid, claim in pids.items():
        assert f"process {pid} plays a {claim.split()[1]} that is not the lab's" in lines

    kill(real["node1 node"])
    lab.up()
    now = lab.pids()
    assert {**now, "node1 node": 0} == {**real, "node1 node": 0}, "what was there is what it was"
    assert [pid for pid in pids if runs(pid)] == []
    assert nslab("exec", f"{lab.name}/crowd", "--", "hostname").stdout == "crowd\n"
    assert nslab("diff", lab.name).returncode == 0


def test_a_childs_claim_does_not_outlive_the_container(lab: Small) -> None:
    """In a pod that shares process numbers it stays when its parent, the container, is no more."""
    claim = "nslab.NAME.one container/app"
    lab.start(pod("one", "sh", "-c", f"NSLAB='{claim}' setsid sleep 2000 & exec sleep 1000", share=True))
    (child,) = set(bearing(claim.replace("NAME", lab.name))) - {*lab.pids().values()}
    os.kill(lab.pids()["node1 node"], signal.SIGKILL)
    os.kill(lab.pids()["one container/app"], signal.SIGKILL)
    until(lambda: "one container/app" not in lab.pids())
    sentence(nslab("exec", f"{lab.name}/one", "--", "hostname"))
    assert lab.differences() != []
    lab.up()
    assert not runs(child)
    assert lab.pids()["one container/app"] != child
    assert nslab("exec", f"{lab.name}/one", "--", "hostname").stdout == "one\n"


@pytest.mark.parametrize("words", ["folder", "each"])
def test_what_a_pod_says_of_itself_leads_out_of_no_folder(lab: Small, tmp_path: Path, words: str) -> None:
    """The words that once were the pod's log folder, NAMESPACE_POD_UID; and a way out in each word of its mark."""
    dear, up = treasure(tmp_path / "dear_to_me"), "../" * 16
    if words == "folder":
        marks = [f"nslab.NAME.evil pause node1 {up}{tmp_path}/dear to me evil 20.96.1.2 own"]
    else:
        plain = ["default", "evil", "uid", "evil", "20.96.1.2"]
        ways = [[*plain[:at], f"{up}{dear}", *plain[at + 1 :]] for at in range(len(plain))]
        marks = [f"nslab.NAME.evil pause node1 {' '.join(way)} own" for way in ways]
        marks.append(f"nslab.NAME.{up}{dear} pause node1 {' '.join(plain)} own")
        marks.append(f"nslab.NAME.evil container/{up}{dear} node1 0 0 0")
    lab.start(pod("quiet"), pod("evil", *script(*marks)))
    before = tree(tmp_path)
    kill(lab.pids()["node1 node"])
    nslab("up", lab.file)
    nslab("delete", lab.name, "pod/evil", "--now")
    assert tree(tmp_path) == before
    lab.down()
    assert tree(tmp_path) == before


def test_a_lab_is_not_the_business_of_another(lab: Small, tmp_path: Path) -> None:
    """A pod's process says that it is another lab's: with that one it ends, and nothing else does."""
    other = Small(tmp_path, pod("two"))
    try:
        lab.start(pod("one", *script(f"nslab.{other.name}.two container/app", f"nslab.{other.name}.node1 node")))
        other.up()
        before = lab.pids()
        other.up()
        other.down()
        assert lab.pids() == before
        assert nslab("diff", lab.name).returncode == 0
    finally:
        other.clear()


def act_loud(folder: str) -> None:
    """A pod's processes have names and environments that end lines, hide text and fill screens."""
    lab = Small(Path(folder))
    rename = "import ctypes, time; ctypes.CDLL(None).prctl(15, NAME); time.sleep(1000)"
    names = [b"a) Z 1 1 (", b"nslab-node", b"x\n1 (y) S 1", b"\xff\xfe) R 0", b"pause"]
    loud = [["python3", "-c", rename.replace("NAME", repr(name))] for name in names]
    loud.append(["env", f"A={'x' * 70_000}", f"NSLAB={lab.ns('one')} pause", *SLEEP])
    loud.append(["env", f"NSLAB={lab.ns('one')} \x1b[8m\u202e{'x' * 30_000}", *SLEEP])
    loud.append(["env", "-i", "NSLAB=", f"NSLAB={lab.ns('node1')} node", *SLEEP])
    lines = " ".join(" ".join(f"'{_quoted(word)}'" for word in argv) + " &" for argv in loud)
    lab.start(pod("one", "sh", "-c", f"{lines} exec sleep 1000"))
    for call in (("ps",), ("diff", lab.name), ("ps", lab.name)):
        done = nslab(*call)
        assert (done.returncode, done.stderr) == (0, "")
        assert not {"\x1b", "\u202e"} & {*done.stdout}
        assert len(done.stdout) < 3000
    lab.down()
    assert lab.left() == []


def test_names_and_long_environments_confuse_nobody(tmp_path: Path) -> None:
    world(act_loud, tmp_path)


def _quoted(word: str) -> str:
    return word.replace("'", "'\\''")


def act_reused(folder: str) -> None:
    """Processes of the lab end, and their numbers become others': those are nobody's business."""
    lab = Small(Path(folder), pod("one"), pod("two"))
    lab.up()
    pids = lab.pids()
    gone = {role: pids[role] for role in ("one container/app", "one pause", "two container/app")}
    for pid in (pids["node1 node"], *gone.values()):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in gone.values()))
    others = [_of_number(pid) for pid in gone.values()]
    sentence(nslab("exec", f"{lab.name}/one", "--", "hostname"))
    lab.differences()
    lab.up()
    assert nslab("exec", f"{lab.name}/one", "--", "hostname").stdout == "one\n"
    nslab("delete", lab.name, "pod/one", "--now")
    lab.down()
    assert [other.pid for other in others if other.poll() is not None] == []


def _of_number(pid: int) -> subprocess.Popen[bytes]:
    """A process of root's of that number, which is free."""
    Path("/proc/sys/kernel/ns_last_pid").write_text(str(pid - 1))
    other = subprocess.Popen(SLEEP)
    assert other.pid == pid
    return other


def test_a_number_that_became_anothers_is_not_signalled(tmp_path: Path) -> None:
    world(act_reused, tmp_path)


FORGED: dict[str, Callable[[dict[str, object]], object]] = {
    "another start": lambda line: {**line, "start": 1},
    "another network": lambda line: {**line, "net": os.stat("/proc/self/ns/net").st_ino},
    "another inode": lambda line: {**line, "inode": 1},
    "another number": lambda line: {**line, "pid": os.getpid()},
    "no number": lambda line: {**line, "pid": 0},
    "everybody": lambda line: {**line, "pid": -1},
    "a huge number": lambda line: {**line, "pid": 1 << 70},
    "a number in words": lambda line: {**line, "pid": "1"},
    "a list": lambda line: {**line, "pid": [1]},
    "a name that is none": lambda line: {**line, "ns": 5},
    "a way out": lambda line: {**line, "ns": f"{line['ns']}/../../../x"},
    "another lab's": lambda line: {**line, "ns": "nslab.other.one"},
    "a part that is none": lambda line: {**line, "role": None},
    "nothing more": lambda line: {**line, "more": 7},
    "too much": lambda line: {**line, "surplus": 1},
    "too little": lambda line: {"pid": line["pid"]},
    "no line": lambda line: [line],
}


@pytest.fixture(scope="module")
def orphan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Small, Path, bytes]]:
    """A lab whose node's process is dead, so that the journal alone tells who its containers are; and that journal."""
    lab = Small(tmp_path_factory.mktemp("orphan"), pod("one"))
    lab.up()
    journal = RUN / lab.name / "nodes" / "node1.pids"
    os.kill(lab.pids()["node1 node"], signal.SIGKILL)
    yield lab, journal, journal.read_bytes()
    lab.clear()
    assert lab.left() == []


@pytest.fixture
def journal(orphan: tuple[Small, Path, bytes]) -> Iterator[Path]:
    _, path, text = orphan
    yield path
    _remove(path)
    path.touch(0o600)
    path.write_bytes(text)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def is_believed(lab: Small) -> bool:
    """Whether exec finds the container; if not, it says one sentence."""
    done = nslab("exec", f"{lab.name}/one", "--", "hostname", timeout=20)
    if done.returncode:
        sentence(done)
    return done.returncode == 0 and done.stdout == "one\n"


def test_lines_that_somebody_forged_are_not_believed(orphan: tuple[Small, Path, bytes], journal: Path) -> None:
    lab, _, text = orphan
    assert is_believed(lab)
    lines = [json.loads(line) for line in text.splitlines()]
    (mine,) = [line for line in lines if line["role"] == "container/app"]
    journal.write_text("".join(json.dumps(forge(mine)) + "\n" for forge in FORGED.values()))
    assert not is_believed(lab)
    for call in (("ps",), ("ps", lab.name), ("diff", lab.name)):
        done = nslab(*call, timeout=20)
        said = "one is not ready: app: NotRunning\n" if call == ("ps", lab.name) else ""
        assert (done.returncode, done.stderr) == (call[0] == "diff", said), call
    with journal.open("ab") as file:
        file.write(text)
    assert is_believed(lab), "what is true among them is"


NONSENSE = (b"\xff\xfe\0", b"[" * 200_000, b"{}", b'"x"\nnull\n1e999', b"\n" * 5000, b"9" * 9999, b'{"pid": 1')


def test_nonsense_in_a_journal_is_no_line(orphan: tuple[Small, Path, bytes], journal: Path) -> None:
    journal.write_bytes(b"\n".join(NONSENSE))
    assert not is_believed(orphan[0])
    journal.write_bytes(b"\n".join((*NONSENSE, orphan[2])))
    assert is_believed(orphan[0])


WAYS: dict[str, Callable[[Path, Path], object]] = {
    "another's": lambda journal, _: os.chown(journal, somebody(), 0),
    "for a group": lambda journal, _: journal.chmod(0o620),
    "for all": lambda journal, _: journal.chmod(0o602),
    "a link": lambda journal, aside: (journal.unlink(), journal.symlink_to(aside)),
    "a pipe": lambda journal, _: (journal.unlink(), os.mkfifo(journal, 0o600)),
    "a folder": lambda journal, _: (journal.unlink(), journal.mkdir()),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_journal_that_is_not_roots_alone_is_not_believed(
    orphan: tuple[Small, Path, bytes], journal: Path, tmp_path: Path, way: str
) -> None:
    aside = tmp_path / "aside"
    aside.write_bytes(orphan[2])
    aside.chmod(0o600)
    WAYS[way](journal, aside)
    assert not is_believed(orphan[0])


def test_whom_a_journal_of_anothers_names_is_spared(orphan: tuple[Small, Path, bytes], tmp_path: Path) -> None:
    """A line that is true of a process of the machine, in a file that somebody else could have written."""
    lab, _, _ = orphan
    with process(user=0) as pid:
        net = os.stat("/proc/self/ns/net").st_ino
        descriptor = os.pidfd_open(pid)
        inode = os.fstat(descriptor).st_ino
        os.close(descriptor)
        start = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        line = {"pid": pid, "start": start, "inode": inode, "net": net, "pids": 0, "ns": lab.ns("one")}
        text = json.dumps({**line, "role": "container/app", "more": {"port": 0, "number": "0", "attempt": 0}}) + "\n"
        aside = tmp_path / "aside"
        aside.write_text(text)
        aside.chmod(0o600)
        (RUN / lab.name / "linked.pids").symlink_to(aside)
        for name, owner, mode in (("owned", somebody(), 0o600), ("open", 0, 0o666), ("group", 0, 0o660)):
            file = RUN / lab.name / "nodes" / f"{name}.pids"
            file.write_text(text)
            os.chown(file, owner, owner)
            file.chmod(mode)
        lab.down()
        assert runs(pid)


def test_a_file_cannot_name_what_lies_elsewhere(tmp_path: Path) -> None:
    """Every word of a lab file that becomes part of a path."""
    lab = Small(tmp_path)
    text = lab.file.read_text()
    for way in (f"{'../' * 16}{tmp_path}", "..", ".", "a/b", "a\nb", "a\0b", "/etc", "x" * 300, " ", "-x"):
        word = json.dumps(way)
        documents = (
            text + pod("WORD"),
            text + pod("one", uid="WORD"),
            text + pod("one", namespace="WORD"),
            text + pod("one").replace('"app"', '"WORD"'),
            text.replace("name: node1", 'name: "WORD"'),
            text.replace(f"{{name: {lab.name}}}", '{name: "WORD"}'),
        )
        for document in documents:
            lab.write(document.replace('"WORD"', word))
            with pytest.raises(LabFileError):
                load(lab.file)
    done = nslab("up", lab.file)
    assert (done.returncode, done.stdout) == (2, "")
    assert str(lab.file) in done.stderr
