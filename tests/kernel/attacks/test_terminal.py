"""Nothing of the caller's gets into a container by `nslab exec`: his terminal, his files, his rights, his interpreter.

D3, D6 and D2 of the findings, and what else of their kinds there is. The pod's other container is the attacker.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nslab.linux.netns import folder
from tests.kernel.labkit import NSLAB, ROOT, until
from tests.kernel.terminals import Terminal, nslab_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nslab.pytest_plugin.running import RunningLab

pytestmark = [pytest.mark.root, pytest.mark.lab("exec.yaml", scope="module")]

TROJAN = "/tmp/bin/ls"
SECRET = "root's own secret"
USER = """\
apiVersion: v1
kind: Pod
metadata: {name: user}
spec:
  nodeName: node1
  containers:
  - name: app
    command: [sleep, infinity]
    securityContext: {runAsUser: 1000, runAsGroup: 1001, capabilities: {drop: [NET_RAW]}, readOnlyRootFilesystem: true}
"""
"""A pod of an ordinary user; on its own, so that attacks on the others can be made on a version that knows no users."""


@pytest.fixture
def trojan(lab: RunningLab) -> Iterator[Callable[[str], None]]:
    """Puts Python in the way of `ls` in the pod's container."""

    def put(text: str) -> None:
        line = f"mkdir -p /tmp/bin; cat >{TROJAN}; chmod 755 {TROJAN}"
        lab.pod("pod").run("sh", "-c", line, text=f"#!/usr/bin/python3 -IS\n{text}")

    yield put
    lab.pod("pod").run("rm", "-f", TROJAN)


@pytest.fixture
def user(lab: RunningLab) -> None:
    """The lab has the pod of an ordinary user, too."""
    lab.apply(USER)


def run(lab: RunningLab, *argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
    call = [*NSLAB, "exec", f"{lab.name}/pod", "-c", "app", "--", *argv]
    return subprocess.run(call, cwd=ROOT, text=True, timeout=60, **options)


def names(lab: RunningLab, name: str) -> int:
    """How many processes of a name there are in the pod."""
    return len(lab.pod("pod").run("pgrep", "-x", name, check=False).stdout.split())


# --- the terminal --------------------------------------------------------------------------------------------------

PUSHES = r"""
import fcntl, os, termios
for name in (0, 1, 2, "/dev/tty", "/dev/stdin", "/proc/self/fd/0", "/dev/console", "/dev/pts/0"):
    try:
        terminal = os.open(name, os.O_RDWR | os.O_NOCTTY) if isinstance(name, str) else name
        for letter in b"echo $((6*7))pushed\n":
            fcntl.ioctl(terminal, termios.TIOCSTI, bytes([letter]))
    except OSError as error:
        print(name, error)
print("it listed nothing")
"""


def test_a_trojan_pushes_no_keys_into_the_shell_that_called_it(lab: RunningLab, trojan: Callable[[str], None]) -> None:
    trojan(PUSHES)
    with Terminal(["bash", "--norc", "-i"]) as terminal:
        terminal.wait_for(b"$ ")
        terminal.type(f"{' '.join(NSLAB)} exec {lab.name}/pod -c app -- ls\r".encode())
        terminal.wait_for(b"it listed nothing\r\n")
        output = terminal.wait_for(b"$ ")  # until then keys are for nslab
        terminal.type(b"echo $((7*9))finished; exit\r")
        output += terminal.wait_for(b"63finished\r\n")
        assert b"42pushed" not in output
        terminal.ended()


@pytest.mark.parametrize("redirected", [">/dev/null", "2>/dev/null", "</dev/null", "| cat"])
def test_nor_when_only_some_of_its_streams_are_the_terminal(
    lab: RunningLab, trojan: Callable[[str], None], redirected: str
) -> None:
    trojan(PUSHES)
    call = f"{' '.join(NSLAB)} exec {lab.name}/pod -c app -- ls"
    with Terminal(["sh", "-c", f"{call} {redirected}; echo over"]) as terminal:
        terminal.wait_for(b"over\r\n")
        terminal.ended()
        assert terminal.waiting() == 0


CHANGES = r"""
import fcntl, os, struct, termios
fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("4H", 3, 4, 0, 0))
modes = termios.tcgetattr(1)
modes[3] &= ~(termios.ECHO | termios.ISIG)
termios.tcsetattr(1, termios.TCSANOW, modes)
status = os.fstat(1)
print("changed", os.ttyname(1), os.major(status.st_rdev), status.st_dev)
"""


def test_a_trojan_changes_its_own_terminal_and_not_the_callers(lab: RunningLab, trojan: Callable[[str], None]) -> None:
    trojan(CHANGES)
    with nslab_at("exec", f"{lab.name}/pod", "-c", "app", "--", "ls", rows=33, columns=111) as terminal:
        before = terminal.modes()
        terminal.wait_for(b"changed /dev/pts/0 ")
        terminal.wait_for(b"\r\n")
        assert terminal.ended() == 0
        assert (terminal.size(), terminal.modes()) == ((33, 111), before)


STAYS = r"""
import os, sys, time
if os.fork() == 0:
    os.setsid()
    while True:
        try:
            os.write(1, b"I am still here\r\n")
        except OSError:
            pass
        time.sleep(0.02)
print("gone")
"""


def test_what_stays_behind_writes_no_more_on_the_callers_terminal(
    lab: RunningLab, trojan: Callable[[str], None]
) -> None:
    trojan(STAYS)
    with nslab_at("exec", f"{lab.name}/pod", "-c", "app", "--", "ls") as terminal:
        assert terminal.ended() == 0
        terminal.output.clear()
        time.sleep(0.3)  # it would write fifteen times
        assert terminal.look() == b""
    lab.pod("pod").run("pkill", "-f", TROJAN, check=False)  # it may have ended by itself


def test_a_container_on_a_node_network_opens_none_of_the_machines_terminals(lab: RunningLab) -> None:
    with Terminal(["sleep", "1000"]) as terminal:
        name = os.ttyname(terminal.slave)
        for host in (lab.pod("pod"), lab.node("node1"), lab.client()):
            assert host.run("sh", "-c", f"echo {SECRET!r} >{name}", check=False).returncode != 0
            assert host.run("sh", "-c", "ls /dev/pts").stdout == "ptmx\n"
        assert terminal.look() == b""


# --- the streams ---------------------------------------------------------------------------------------------------

INTO_STREAMS = r"""
import os, sys
number, pid = int(sys.argv[1]), int(sys.argv[2])
for flags in (os.O_RDWR, os.O_WRONLY, os.O_RDONLY | os.O_NONBLOCK, os.O_WRONLY | os.O_TRUNC):
    for way in (f"/proc/{pid}/fd/{number}", f"/proc/{pid}/task/{pid}/fd/{number}"):
        try:
            stream = os.open(way, flags | os.O_NONBLOCK)
        except OSError:
            continue
        for act in (lambda: print(os.pread(stream, 99, 0)), lambda: os.pwrite(stream, b"pwned", 0),
                    lambda: os.ftruncate(stream, 1), lambda: os.fchmod(stream, 0o6777)):
            try:
                act()
            except OSError:
                pass
print(os.readlink(f"/proc/{pid}/fd/{number}"))
"""


@pytest.mark.parametrize("number", [0, 1, 2])
def test_another_process_of_the_pod_reaches_no_file_through_the_streams(
    lab: RunningLab, tmp_path: Path, number: int
) -> None:
    file = tmp_path / "file"
    file.write_text(f"{SECRET}\n" * 9)
    file.chmod(0o600)
    argv = [*NSLAB, "exec", f"{lab.name}/pod", "-c", "app", "--", "sh", "-c"]
    name = f"victim{number}"  # on versions where it stays behind, the next one has another
    line = f"cp /usr/bin/sleep /tmp/{name}; exec /tmp/{name} 1000"
    with file.open("r+") as opened:
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, ("stdin", "stdout", "stderr")[number]: opened}
        with subprocess.Popen([*argv, line], cwd=ROOT, **streams) as process:  # type: ignore[call-overload]
            until(lambda: names(lab, name))
            victim = lab.pod("pod").run("pgrep", "-x", name).stdout.strip()
            attack = "python3", "-IS", "-c", INTO_STREAMS, str(number), victim
            output = lab.pod("pod").run(*attack, container="other").stdout
            process.kill()
    assert SECRET not in output
    assert str(file) not in output
    assert (file.read_text(), file.stat().st_mode & 0o7777) == (f"{SECRET}\n" * 9, 0o600)


def test_a_command_holds_nothing_but_pipes_and_its_own_terminal(lab: RunningLab, tmp_path: Path) -> None:
    line = 'for fd in /proc/$$/fd/*; do readlink $fd; done; echo "$PWD"'
    opened = [os.open(tmp_path, os.O_RDONLY), os.open("/", os.O_PATH)]
    held = run(lab, "bash", "-c", line, stdin=subprocess.DEVNULL, capture_output=True, pass_fds=opened).stdout
    assert [name.partition(":")[0] for name in held.split()] == ["pipe", "pipe", "pipe", "/"]
    with nslab_at("exec", f"{lab.name}/pod", "-c", "app", "--", "bash", "-c", line) as terminal:
        assert terminal.ended() == 0
        # bash keeps what it leads by: 255.
        assert {*terminal.output.decode().split()} == {"/dev/pts/0", "/"}
    for descriptor in opened:
        os.close(descriptor)


SPY = r"""
import os, sys, time
seen, until = set(), time.monotonic() + 30
print("spying", flush=True)
while time.monotonic() < until and not os.path.exists("/tmp/enough"):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) in (1, os.getpid()):
            continue
        for name in ("exe", "cwd", "root", "environ", "maps", "mem"):
            try:
                path = f"/proc/{pid}/{name}"
                if name in ("exe", "cwd", "root"):
                    seen.add(f"{name} {os.readlink(path)}")
                elif name == "environ":
                    seen.add(f"environ {open(path, 'rb').read().count(b'LEAKED')}")
            except OSError:
                pass
        try:
            for fd in os.listdir(f"/proc/{pid}/fd"):
                seen.add(f"fd {os.readlink(f'/proc/{pid}/fd/{fd}').partition(':')[0]}")
        except OSError:
            pass
print(sorted(seen))
"""


def test_who_looks_all_the_time_sees_nothing_of_who_comes_in(lab: RunningLab) -> None:
    """Between fork and exec a command's process is in the pod, and still has the memory of its parent."""
    argv = [*NSLAB, "exec", f"{lab.name}/pod", "-c", "other", "--", "python3", "-IS", "-c", SPY]
    environment = {**os.environ, "LEAKED": "LEAKED"}
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as spy:
        assert spy.stdout
        assert spy.stdout.readline() == "spying\n"
        for _ in range(10):
            assert run(lab, "sh", "-c", "true", env=environment, capture_output=True).returncode == 0
        lab.pod("pod").run("touch", "/tmp/enough", container="other")
        output = spy.stdout.read()
    seen = json.loads(output.replace("'", '"'))
    allowed = {"fd pipe", "fd /dev/null", "fd /tmp/enough", "cwd /", "root /", "environ 0"}
    programs = {f"exe /usr/bin/{name}" for name in ("dash", "sleep", "true", "touch")}
    # A program that has begun opens its libraries, which it finds by a list.
    opened = ("fd /usr/lib/", "fd /etc/ld.so.cache")
    assert [one for one in seen if one not in allowed | programs and not one.startswith(opened)] == []


# --- where it goes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["node1", "client", "alone"])
def test_a_forged_mark_redirects_nobody(lab: RunningLab, host: str) -> None:
    """What an ordinary user's process says of itself; with a lower number than the true one, it came first."""
    role = "container/app node1 0 0 0" if host == "alone" else f"node {host}"
    mark = f"nslab.{lab.name}.{host} {role}"
    last = Path("/proc/sys/kernel/ns_last_pid")
    before = last.read_text()
    last.write_text("1")
    forged = subprocess.Popen(["/usr/bin/sleep", "1000"], env={"NSLAB": mark}, user=65534, group=65534)
    last.write_text(before)
    try:
        argv = [*NSLAB, "exec", f"{lab.name}/{host}", "--", "sh", "-c", "readlink /proc/self/ns/net; id -u"]
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    finally:
        forged.kill()
        forged.wait()
    there = os.stat(folder(lab.name) / "ns" / f"nslab.{lab.name}.{host}").st_ino
    assert (done.stdout, done.stderr) == (f"net:[{there}]\n0\n", "")


def test_a_containers_environment_comes_from_what_was_asked_for_it(lab: RunningLab) -> None:
    """And not from its process, which says what it likes; nor from the caller but for what is of his terminal."""
    liar = lab.pod("liar")
    until(lambda: "COLOUR=fraud" in liar.run("cat", "/proc/1/environ").stdout)
    call = [*NSLAB, "exec", f"{lab.name}/liar", "--", "env"]
    environment = {**os.environ, "LEAKED": "1", "TERM": "vt100", "LD_PRELOAD": ""}
    done = subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True)
    theirs = dict(line.split("=", 1) for line in done.stdout.splitlines())
    assert theirs.pop("PATH") == "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert theirs.pop("NSLAB") == f"nslab.{lab.name}.liar exec"
    for passed_on in ("LANG", "LC_ALL", "COLORTERM", "NO_COLOR"):
        theirs.pop(passed_on, None)
    theirs = {name: value for name, value in theirs.items() if not name.startswith("KUBERNETES_")}
    assert theirs == {"HOSTNAME": "liar", "HOME": "/root", "COLOUR": "green", "TERM": "vt100"}


@pytest.mark.usefixtures("user")
@pytest.mark.parametrize("pod", ["alone", "user"])
@pytest.mark.parametrize("at_terminal", [True, False])
def test_a_command_may_no_more_than_its_container(lab: RunningLab, pod: str, *, at_terminal: bool) -> None:
    """Its user, groups, capabilities, filter of system calls, control groups, root and limits are the container's."""
    kept = "Uid|Gid|Groups|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp|Seccomp_filters"
    line = f"for pid in 1 $$; do grep -E '^({kept}):' /proc/$pid/status; cat /proc/$pid/cgroup /proc/$pid/limits; done"
    argv = [*NSLAB, "exec", f"{lab.name}/{pod}", "--", "sh", "-c", f"{line}; touch /new 2>&1; ls -di / /proc/1/root/"]
    if at_terminal:
        with Terminal(argv) as terminal:
            assert terminal.ended() in (0, 2)
            output = terminal.output.decode().replace("\r", "")
    else:
        output = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True).stdout
    lines = output.splitlines()
    half = next(number for number, line in enumerate(lines) if number and line.startswith("Uid:"))
    assert half > 20
    assert lines[:half] == lines[half : 2 * half]
    assert "Seccomp:\t2" in lines
    assert ("Uid:\t1000\t1000\t1000\t1000" in lines) == (pod == "user")


@pytest.mark.usefixtures("user")
@pytest.mark.parametrize("at_terminal", [True, False])
def test_streams_are_its_users(lab: RunningLab, *, at_terminal: bool) -> None:
    """Who opens them again by name may: many images log to /dev/stdout."""
    line = "read one </dev/stdin; echo got $one >/dev/stdout; echo err >/dev/stderr; id -u"
    argv = [*NSLAB, "exec", f"{lab.name}/user", "--", "sh", "-c", line]
    if at_terminal:
        with Terminal(argv) as terminal:
            terminal.type(b"word\r")
            terminal.wait_for(b"got word\r\nerr\r\n1000\r\n")
            assert terminal.ended() == 0
    else:
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, input="word\n")
        assert (done.returncode, done.stdout, done.stderr) == (0, "got word\n1000\n", "err\n")


def test_nothing_else_of_the_caller_is_inherited(lab: RunningLab) -> None:
    """Ignored and blocked signals, the mask of new files, limits, priority, where he is."""
    # (Signals 32 and 33 are the C library's own, and ignored after a posix_spawn.)
    signals = "grep ^SigBlk /proc/self/status; grep ^SigIgn /proc/self/status | cut -c10-"
    line = f"{signals}; umask; ulimit -c; nice; pwd; cat /proc/self/oom_score_adj"

    def odd() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        os.umask(0)
        os.nice(5)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    plain = run(lab, "bash", "-c", line, capture_output=True)
    strange = run(lab, "bash", "-c", line, capture_output=True, preexec_fn=odd)
    assert strange.stdout == plain.stdout
    blocked, ignored, mask, *_ = strange.stdout.split("\n")
    assert (blocked, int(ignored, 16) & 0x7FFFFFFF, mask) == ("SigBlk:\t0000000000000000", 0, "0022")


def test_a_script_whose_interpreter_is_ours_does_not_change_it(lab_name: Callable[[], str], tmp_path: Path) -> None:
    name = lab_name()
    interpreter = tmp_path / "python"
    shutil.copy(Path(sys.executable).resolve(), interpreter)
    before = interpreter.stat().st_mode, interpreter.stat().st_mtime_ns
    site = ROOT / Path(sys.executable).parent.parent / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    options: dict[str, Any] = {"cwd": ROOT, "env": {**os.environ, "PYTHONPATH": str(site)}, "text": True}
    call = [str(interpreter), "-m", "nslab"]
    file = Path(__file__).with_name("exec.yaml").read_text().replace("name: exec}", f"name: {name}}}")
    (tmp_path / "lab.yaml").write_text(file)
    inside = [*call, "exec", f"{name}/alone", "--"]
    assert subprocess.run([*call, "up", str(tmp_path / "lab.yaml")], capture_output=True, **options).returncode == 0
    script = '#!/proc/self/exe\nimport os\nos.chmod("/proc/self/exe", 0o4755)\n'
    put = "cat >/tmp/script; chmod 755 /tmp/script"
    assert subprocess.run([*inside, "sh", "-c", put], input=script, **options).returncode == 0
    # Run by the forked process itself: what is `self` then is the interpreter that it was forked from.
    subprocess.run([*inside, "/tmp/script"], capture_output=True, **options)
    assert (interpreter.stat().st_mode, interpreter.stat().st_mtime_ns) == before


# --- in the middle -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at_terminal", [True, False])
@pytest.mark.parametrize("line", ["exec sleep 1021", "trap '' HUP TERM INT; while :; do sleep 1021; done"])
def test_with_a_killed_caller_ends_the_command(lab: RunningLab, line: str, *, at_terminal: bool) -> None:
    before = names(lab, "sleep")
    argv = [*NSLAB, "exec", f"{lab.name}/pod", "-c", "app", "--", "bash", "-c", line]
    if at_terminal:
        with Terminal(argv) as terminal:
            until(lambda: names(lab, "sleep") > before)
            os.kill(terminal.pid, signal.SIGKILL)
            until(lambda: names(lab, "sleep") == before)
    else:
        with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE) as process:
            until(lambda: names(lab, "sleep") > before)
            process.kill()
            until(lambda: names(lab, "sleep") == before)


def test_a_closed_window_hangs_up(lab: RunningLab) -> None:
    before = names(lab, "sleep")
    with nslab_at("exec", f"{lab.name}/pod", "-c", "app", "--", "bash", "-c", "sleep 1022; true") as terminal:
        until(lambda: names(lab, "sleep") > before)
        terminal.hang_up()
        assert terminal.ended() in (129, -signal.SIGHUP)
    until(lambda: names(lab, "sleep") == before)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_terminal_is_given_back_whatever_ends_us(lab: RunningLab, number: int, status: int) -> None:
    with nslab_at("exec", f"{lab.name}/pod", "-c", "app", "--", "sh", "-c", "echo ready; exec sleep 1023") as terminal:
        before = terminal.modes()
        terminal.wait_for(b"ready\r\n")
        assert terminal.modes() != before
        os.kill(terminal.pid, number)
        assert terminal.ended() == status
        assert terminal.modes() == before
    until(lambda: not lab.pod("pod").run("pgrep", "-f", "sleep 1023", check=False).stdout)


@pytest.mark.parametrize("at_terminal", [True, False])
def test_a_node_that_is_killed_is_one_sentence(make_lab: Callable[..., RunningLab], *, at_terminal: bool) -> None:
    lab = make_lab("exec.yaml")
    argv = [*NSLAB, "exec", f"{lab.name}/alone", "--", "sh", "-c", "echo ready; sleep 1024"]
    sentence = b"nslab: the process of node1 ended, and with it sh"
    if at_terminal:
        with Terminal(argv) as terminal:
            before = terminal.modes()
            terminal.wait_for(b"ready\r\n")
            os.kill(lab.processes()["node1 node"], signal.SIGKILL)
            assert terminal.ended() == 1
            assert terminal.modes() == before
            assert sentence in terminal.output
    else:
        with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout
            assert process.stderr
            assert process.stdout.readline() == b"ready\n"
            os.kill(lab.processes()["node1 node"], signal.SIGKILL)
            assert process.wait(20) == 1
            assert process.stderr.read() == sentence + b"\n"
    # Nobody is left who would wait for it, and a command finds its way all the same.
    alone = lab.pod("alone")
    until(lambda: not alone.run("pgrep", "-f", "^sh -c echo ready", check=False).stdout)
    assert alone.run("hostname").stdout == "alone\n"
    with pytest.raises(AssertionError, match="the process of node1 does not run"):
        lab.node("node1").run("true")
    lab.mend()
    assert lab.node("node1").run("hostname").stdout == "node1\n"


def test_a_container_that_ends_takes_its_commands_with_it(make_lab: Callable[..., RunningLab]) -> None:
    lab = make_lab("exec.yaml")
    argv = [*NSLAB, "exec", f"{lab.name}/alone", "--", "sh", "-c", "echo ready; trap '' TERM HUP; sleep 1025"]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        began = time.monotonic()
        assert (
            subprocess.run([*NSLAB, "delete", lab.name, "pod/alone", "--now"], cwd=ROOT, capture_output=True).returncode
            == 0
        )
        # The kernel ends no pid namespace while somebody in it is not collected: its node must see to that first.
        assert time.monotonic() - began < 10
        assert process.wait(5) == 137


def test_a_command_that_takes_too_long_leaves_nothing(lab: RunningLab) -> None:
    before = names(lab, "sleep")
    with pytest.raises(AssertionError, match=r"not within 0.5 s\nbegun"):
        lab.pod("pod").run("bash", "-c", "set -m; trap '' HUP; echo begun; sleep 1026 & sleep 1026", timeout=0.5)
    until(lambda: names(lab, "sleep") == before)


def test_of_two_hundred_nothing_is_left_in_the_nodes_process(lab: RunningLab) -> None:
    pid = lab.processes()["node1 node"]

    def held() -> int:
        return len(os.listdir(f"/proc/{pid}/fd"))

    lab.pod("alone").run("true")
    before = held()
    for _ in range(100):
        lab.pod("alone").run("true")
        lab.pod("alone").run("no-such-command", check=False)
    until(lambda: held() <= before)
