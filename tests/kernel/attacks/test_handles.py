"""No handle of the machine's gets into a container: what its processes hold leads nowhere but into their own tree."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kernel.attacks import intruder
from tests.kernel.attacks.attackkit import (
    AGNHOST,
    MARKS,
    SHARED,
    SLEEP,
    answer,
    inside,
    interpreter,
    logs,
    looks,
    machines_files,
    pod,
    program,
    running,
    secret,
    together,
)
from tests.kernel.labkit import NSLAB, ROOT, nslab, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kernel.labkit import OwnLab

pytestmark = MARKS
REFUSED = {"EROFS", "EACCES", "EPERM", "EXDEV", "ENOENT"}
"""Answers of the kernel to who would change what is not his."""
BUSY = "ETXTBSY"
"""Its answer to who would write to a program that runs, whosever it is; it proves nothing."""
WHERE = ("shared:app", "shared:web", "shared:names", "alone", "web", "kube-system/kube-dns")
INTERPRETERS = ("/proc/self/exe", "/proc/thread-self/exe", "/proc/1/exe", "/dev/fd/../exe")
RUN = "import os; os.chmod('/proc/self/exe', os.stat('/proc/self/exe').st_mode & 0o7777); print('changed')"
ASTRAY = (
    "/proc/1/root", "/proc/1/cwd", "/proc/1/task/1/root", "/proc/1/root/sys", "/proc/1/fd/0/..", "/proc/3/root",
    "/proc/3/cwd", "/proc/4/fd/5", "/proc/self/root/..", "/proc/thread-self/cwd", "/proc/1/ns", "/proc/2/root",
)  # fmt: skip
"""Working directories by way of processes that hold more than a container may: 1 is pause, 3 and 4 are built in."""
LEAKS = range(3, 24)
"""Descriptors that a container's process may have had when it was still nslab's."""


def attack_by(path: str) -> list[str]:
    """A command that runs the interpreter by a path, to change it."""
    return [path, *program(intruder.change, path)[1:]]


def unchanged(answers: dict[str, str]) -> bool:
    """Whether nothing could be changed; and not only because a program ran."""
    kinds = {answer for how, answer in answers.items() if not (answer == BUSY and how.startswith(("open", "append")))}
    return bool(kinds) and kinds <= REFUSED


def refused(printed: str) -> bool:
    """The same of what an attack printed; one whose interpreter has its library elsewhere printed none."""
    if not interpreter().is_relative_to("/usr") and not printed:
        return True
    return unchanged(answer(printed))


def attacks(marker: Path) -> dict[str, dict[str, Any]]:
    """Containers each of which attacks by what its fields say."""
    steal = f"cat {'../' * 9}{str(marker)[1:]} {'../' * 9}{str(Path(__file__).resolve())[1:]}"
    return {
        "streams": {"command": program(intruder.standard_streams)},
        "open": {"command": program(intruder.descriptors)},
        **{f"exe{n}": {"command": attack_by(path)} for n, path in enumerate(INTERPRETERS)},
        **{f"cwd{n}": {"command": ["sh", "-c", steal], "workingDir": f"/proc/self/fd/{n}"} for n in LEAKS},
        **{f"run{n}": {"command": [f"/proc/self/fd/{n}", "-c", RUN]} for n in LEAKS},
    }


def astray(marker: Path) -> dict[str, dict[str, Any]]:
    """Containers that look where they are, beside those of `SHARED`."""
    command = program(intruder.astray, machines_files(marker))
    return {**SHARED, **{f"at{n}": {"command": command, "workingDir": path} for n, path in enumerate(ASTRAY)}}


@pytest.fixture(scope="module")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return secret(tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, marker: Path) -> Iterator[OwnLab]:
    pods = [
        pod("shared", SHARED, shareProcessNamespace=True),
        pod("raced", SHARED, shareProcessNamespace=True),
        pod("alone", {"app": SLEEP}),
        pod("web", {"app": {"image": AGNHOST}}),
        pod("attacks", attacks(marker), restartPolicy="Never"),
        pod("astray", astray(marker), shareProcessNamespace=True),
    ]
    with running(tmp_path_factory.mktemp("lab"), *pods, ready=False) as made:
        yield made


@pytest.fixture(scope="module")
def output(lab: OwnLab) -> dict[str, str]:
    """What each of the attacks printed."""
    printed: dict[str, str] = {}

    def all_over() -> bool:
        running = lab.pids()
        printed.update(logs(lab))
        spoken = {name.replace("/", " container/") for name, text in printed.items() if text.endswith("\n")}
        looking = {name for name in running if name.startswith("astray container/at")}
        return looking | {"attacks container/streams", "attacks container/open"} <= spoken

    until(all_over, 30)
    return {name.removeprefix("attacks/").removeprefix("astray/"): text for name, text in printed.items()}


@pytest.fixture(scope="module")
def tried(lab: OwnLab, marker: Path) -> Callable[[str], dict[str, Any]]:
    """What came of attacks in a container, each made once."""

    @cache
    def of(where: str) -> dict[str, Any]:
        attacks = {
            "walk": (intruder.walk, machines_files(marker)),
            "programs": (intruder.changes, [f"/proc/{pid}/exe" for pid in ("self", 1, 2, 3, 4)]),
            "by number": (intruder.files_by_number, ["/usr", "/etc/resolv.conf", "/etc/alternatives"]),
            "look": (intruder.look_into, ["pause", "agnhost", "kubedns"]),
        }
        return together(lab, where, **attacks)

    return of


@pytest.fixture
def untouched() -> Iterator[None]:
    """This machine's interpreter is in all that can be seen as it was."""
    before = looks(interpreter())
    yield
    assert looks(interpreter()) == before


@pytest.mark.parametrize("where", WHERE)
def test_no_handle_of_any_process_leads_out(tried: Callable[[str], dict[str, Any]], where: str) -> None:
    assert tried(where)["walk"] == []


def test_none_does_while_processes_come(lab: OwnLab, marker: Path) -> None:
    """A process that becomes a container, or a command in one, holds what is the node's for a moment."""
    argv = program(intruder.watch, machines_files(marker), 2.0)
    command = [*NSLAB, "exec", f"{lab.name}/raced", "-c", "app", "--", *argv]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as watching:
        assert watching.stdout
        assert watching.stdout.readline() == "watching\n"
        for container in ("web", "names"):
            os.kill(lab.pids()[f"raced container/{container}"], signal.SIGKILL)
        calls = [["exec", f"{lab.name}/raced", "-c", name, "--", "true"] for name in ("app", "web", "names") * 2]
        threads = [threading.Thread(target=nslab, args=call) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        output = answer(watching.stdout.read())
    assert output["ways"] == []
    assert output["seen"] >= 2, "containers that were started anew, and commands"


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.usefixtures("untouched")
def test_programs_that_run_cannot_be_changed(tried: Callable[[str], dict[str, Any]], where: str) -> None:
    assert [path for path, ways in tried(where)["programs"].items() if not unchanged(ways)] == []


@pytest.mark.parametrize("number", range(len(INTERPRETERS)), ids=INTERPRETERS)
def test_the_interpreter_as_a_command(output: dict[str, str], number: int) -> None:
    """A container's command is executed by nslab's own process: its program is the machine's interpreter."""
    assert refused(output.get(f"exe{number}", ""))


@pytest.mark.parametrize(
    ("where", "name"), [("alone", "/proc/self/exe"), ("alone", "/dev/fd/../exe"), ("web", "/proc/1/exe")]
)
@pytest.mark.usefixtures("untouched")
def test_the_interpreter_of_a_script(lab: OwnLab, where: str, name: str) -> None:
    """The kernel looks the name after `#!` up for who executes: the process that `nslab exec` forks."""
    script = "\n".join([f"#!{name}", *program(intruder.change, name)[2].splitlines()])
    place = f"/tmp/{name.replace('/', '-')}"
    wrote = f"cat >{place} && chmod 755 {place}"
    assert nslab("exec", f"{lab.name}/{where}", "--", "sh", "-c", wrote, input=script).returncode == 0
    done = nslab("exec", f"{lab.name}/{where}", "--", place)
    assert done.returncode == 126 or refused(done.stdout)


@pytest.mark.parametrize("number", LEAKS)
def test_no_descriptor_is_left_to_run(output: dict[str, str], number: int) -> None:
    assert "changed" not in output.get(f"run{number}", "")


@pytest.mark.parametrize("number", LEAKS)
def test_no_descriptor_is_left_as_a_working_directory(output: dict[str, str], marker: Path, number: int) -> None:
    """As with runc's CVE-2024-21626."""
    printed = output.get(f"cwd{number}", "")
    assert not any(text in printed for text in (marker.read_text(), "from __future__"))


@pytest.mark.parametrize("number", range(len(ASTRAY)), ids=ASTRAY)
def test_no_other_process_lends_its_root_as_a_working_directory(output: dict[str, str], number: int) -> None:
    """A process that becomes a container may look into every other one until it gives its rights up."""
    assert output.get(f"at{number}", "") in ("", '""\n')


def test_standard_streams_of_a_container_are_its_own(output: dict[str, str]) -> None:
    """Where 0 was the machine's /dev/null, its mode could be changed for everybody."""
    streams = answer(output["streams"])
    assert streams["0"] == ["device", "EROFS", "EROFS", "EROFS"]
    assert [streams["1"][0], streams["2"][0]] == ["pipe", "pipe"]


def test_a_container_starts_with_nothing_else_open(output: dict[str, str]) -> None:
    assert answer(output["open"]) == ["0 /dev/null", "1 pipe", "2 pipe"]


@pytest.mark.parametrize("where", ["alone", "shared:web"])
def test_nor_does_a_command(lab: OwnLab, where: str) -> None:
    folder = os.open("/", os.O_RDONLY)
    try:
        os.set_inheritable(folder, True)
        opened = inside(lab, where, intruder.descriptors, pass_fds=[folder])
    finally:
        os.close(folder)
    assert opened == ["0 pipe", "1 pipe", "2 pipe"]


def test_files_of_who_asks_are_not_handed_in(lab: OwnLab, tmp_path: Path) -> None:
    """By /proc/self/fd/0 who reads a file writes it, whatever it was opened for."""
    given, taken = secret(tmp_path), tmp_path / "out"
    with open(given) as stdin, open(taken, "w") as stdout:
        os.fchmod(stdout.fileno(), 0o600)
        call = [*NSLAB, "exec", f"{lab.name}/alone", "--", *program(intruder.spoil_streams)]
        assert subprocess.run(call, stdin=stdin, stdout=stdout, cwd=ROOT, timeout=60).returncode == 0
    assert given.read_text() == "a secret of the machine's\n"
    assert [oct(file.stat().st_mode) for file in (given, taken)] == ["0o100600"] * 2


def test_what_a_command_says_to_itself_is_not_taken_for_what_it_read(lab: OwnLab, tmp_path: Path) -> None:
    """A file that it was given is put back by what it has not read: never to before where it was."""
    given = secret(tmp_path)
    with open(given) as stdin:
        stdin.seek(5)
        call = [*NSLAB, "exec", f"{lab.name}/alone", "--", *program(intruder.answer_oneself, "x" * 1000)]
        done = subprocess.run(call, stdin=stdin, capture_output=True, text=True, cwd=ROOT, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        assert 5 <= os.lseek(stdin.fileno(), 0, os.SEEK_CUR) <= given.stat().st_size


def test_nor_of_a_pipe(lab: OwnLab) -> None:
    """What it has not read stays in the pipe that it was given, for who reads there next."""
    read, write = os.pipe()
    os.write(write, b"for who reads next")
    os.close(write)
    call = [*NSLAB, "exec", f"{lab.name}/alone", "--", *program(intruder.answer_oneself, "x" * 1000)]
    done = subprocess.run(call, stdin=read, capture_output=True, text=True, cwd=ROOT, timeout=60)
    with open(read, "rb") as left:
        assert (done.returncode, done.stderr, left.read()) == (0, "", b"for who reads next")


@pytest.mark.parametrize("where", WHERE)
def test_files_by_their_number_are_refused(tried: Callable[[str], dict[str, Any]], where: str) -> None:
    """Shocker: a file of a mount that one sees, opened by its number, whatever its path."""
    answers = tried(where)["by number"]
    assert {*answers.values()} <= {"EPERM", "EOPNOTSUPP"}
    assert [output for how, output in answers.items() if how.endswith("root")] == ["EPERM"] * 3


@pytest.mark.parametrize("where", [where for where in WHERE if where.startswith("shared")])
def test_what_a_pod_shares_is_not_what_nslab_is(tried: Callable[[str], dict[str, Any]], where: str) -> None:
    """pause keeps all rights, and the built-in servers hold what is nslab's: nobody looks into them."""
    answers = tried(where)["look"]
    assert {*answers} == {"pause", "agnhost", "kubedns"}
    wrong = {
        f"{name} {how}": output
        for name, ways in answers.items()
        for how, output in ways.items()
        if output not in ("EPERM", "EACCES", "EROFS", "EINVAL", "ENOTTY") and not harmless(how, output)
    }
    assert wrong == {}


def harmless(how: str, output: str) -> bool:
    """The numbers of a process's descriptors, which it shows to everybody."""
    return how == "fd" and all(word.isdigit() for word in output.split())
