"""`nslab exec` and `nslab shell` as a person and a script meet them: terminals, pipes, files, signals, the status."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.kernel.labkit import NSLAB, ROOT, until
from tests.kernel.terminals import Terminal, nslab_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.pytest_plugin.running import RunningLab

pytestmark = [pytest.mark.root, pytest.mark.lab("attacks/exec.yaml", scope="module")]

MUCH = 100 << 20
"""Bytes: more than any pipe holds."""


@pytest.fixture
def pod(lab: RunningLab) -> str:
    return f"{lab.name}/alone"


@pytest.fixture
def much(tmp_path: Path) -> Iterator[Path]:
    """A large file in which no two pages are the same."""
    file = tmp_path / "much"
    with file.open("wb") as out:
        seed = hashlib.shake_128(b"much").digest(1 << 20)
        for number in range(MUCH >> 20):
            out.write(number.to_bytes(8, "big") + seed[8:])
    yield file
    file.unlink()


def script(text: str, *words: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    """A line of bash, in which $N is nslab."""
    environment = {**os.environ, "N": f"{sys.executable} -m nslab"}
    argv = ["bash", "-c", text, "bash", *words]
    return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, timeout=90, **options)


def digest(file: Path) -> str:
    with file.open("rb") as there:
        return hashlib.file_digest(there, "sha256").hexdigest()


def in_pod(lab: RunningLab, name: str) -> list[str]:
    """The processes of a name that the pod has."""
    return lab.pod("alone").run("pgrep", "-x", name, check=False).stdout.split()


# --- pipes and files -----------------------------------------------------------------------------------------------


def test_much_goes_through_both_ways_and_each_byte_of_it(pod: str, much: Path, tmp_path: Path) -> None:
    there, by_pipes = tmp_path / "there", tmp_path / "by-pipes"
    done = script('$N exec "$1" -- cat <"$2" >"$3"', pod, str(much), str(there))
    assert (done.returncode, done.stderr, digest(there)) == (0, b"", digest(much))
    done = script('cat "$2" | $N exec "$1" -- cat | cat >"$3"', pod, str(much), str(by_pipes))
    assert (done.returncode, done.stderr, digest(by_pipes)) == (0, b"", digest(much))
    # What is appended to cannot be spliced to.
    done = script('$N exec "$1" -- cat <"$2" >>"$3"', pod, str(much), str(there))
    assert (done.returncode, there.stat().st_size) == (0, 2 * MUCH)


def test_what_a_command_does_not_read_is_left_for_the_next(pod: str, tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    lines.write_text("".join(f"line {number}\n" for number in range(1000)))
    loop = 'while read -r line; do echo "$line"; $N exec "$1" -- true; done | head -3'
    for feed in (f'{loop} <"$2"', f'cat "$2" | {loop}', f'cat "$2" | {{ {loop}; cat >/dev/null; }}'):
        assert script(feed, pod, str(lines)).stdout == b"line 0\nline 1\nline 2\n", feed
    some = '{ $N exec "$1" -- sh -c "read one; echo got \\$one"; head -1; }'
    for feed in (f'{some} <"$2"', f'cat "$2" | {some}'):
        assert script(feed, pod, str(lines)).stdout == b"got line 0\nline 1\n", feed


def test_a_file_that_is_not_read_is_left_alone_and_nobody_waits_for_it(pod: str, much: Path) -> None:
    with much.open("rb") as file:
        assert script('$N exec "$1" -- true', pod, stdin=file).returncode == 0
        assert os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0
    assert script('cat "$2" | $N exec "$1" -- true', pod, str(much)).returncode == 0


def test_whoever_has_seen_enough_ends_the_command_as_if_it_wrote_there_itself(pod: str) -> None:
    done = script('$N exec "$1" -- yes | head -1; echo ${PIPESTATUS[0]}', pod)
    assert (done.stdout, done.stderr) == (b"y\n141\n", b"")
    done = script('$N exec "$1" -- sh -c "trap : PIPE; yes; exit 9" | head -1; echo ${PIPESTATUS[0]}', pod)
    assert done.stdout == b"y\n9\n"


def test_no_space_is_said(pod: str) -> None:
    done = script('$N exec "$1" -- echo hello >/dev/full', pod)
    assert done.returncode == 3
    assert done.stderr == b"nslab: No space left on device\n"


def test_streams_that_are_one_stay_in_order(pod: str, tmp_path: Path) -> None:
    both = "for i in $(seq 200); do echo out $i; echo err $i >&2; done"
    wanted = "".join(f"out {number}\nerr {number}\n" for number in range(1, 201)).encode()
    file = tmp_path / "both"
    assert script('$N exec "$1" -- sh -c "$2" 2>&1 | cat', pod, both).stdout == wanted
    script('$N exec "$1" -- sh -c "$2" >"$3" 2>&1', pod, both, str(file))
    assert file.read_bytes() == wanted
    done = script('$N exec "$1" -- sh -c "$2"', pod, both)
    assert (done.stdout.count(b"out"), done.stderr.count(b"err"), done.stdout.count(b"err")) == (200, 200, 0)


def test_what_goes_on_behind_a_command_holds_nobody(lab: RunningLab, pod: str) -> None:
    done = script('$N exec "$1" -- sh -c "sleep 1017 & echo hi; yes >/dev/null & yes & exit 4"; echo $?', pod)
    assert done.stdout[:3] == b"hi\n"
    assert done.stdout.endswith(b"4\n")
    assert len(in_pod(lab, "sleep")) == 2  # the container's own is one; and `yes` had nobody to talk to


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "</dev/null"])
def test_odd_streams(pod: str, closed: str) -> None:
    assert script(f'$N exec "$1" -- sh -c "cat; exit 5" {closed}', pod).returncode == 5


def test_a_socket_is_a_stream_as_well(pod: str) -> None:
    line = (
        "import socket, subprocess, sys\n"
        "ours, theirs = socket.socketpair()\n"
        "ours.sendall(b'one\\ntwo\\n')\n"
        "call = [sys.executable, '-m', 'nslab', 'exec', sys.argv[1], '--', 'sh', '-c', 'read a; echo got $a']\n"
        "subprocess.run(call, stdin=theirs, stdout=theirs)\n"
        "print(ours.recv(100), theirs.recv(100))\n"
    )
    done = subprocess.run([sys.executable, "-c", line, pod], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "b'got one\\n' b'two\\n'\n", done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_signals_are_the_commands(pod: str, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    line = f"trap 'echo {name}; exit 12' {name}; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen([*NSLAB, "exec", pod, "--", "bash", "-c", line], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)
        assert process.stdout.read() == f"{name}\n".encode()
        assert process.wait(10) == 12
    with subprocess.Popen([*NSLAB, "exec", "-i", pod, "--", "cat"], cwd=ROOT, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"ready\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"ready\n"  # bash, before its exec, would ignore SIGQUIT
        process.send_signal(number)
        assert process.wait(10) == 128 + number


def test_who_is_stopped_stops_the_command(lab: RunningLab, pod: str) -> None:
    line = "echo $$; while :; do :; done"
    with subprocess.Popen([*NSLAB, "exec", pod, "--", "bash", "-c", line], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout
        pid = process.stdout.readline().decode().strip()

        def state() -> str:
            return lab.pod("alone").run("cut", "-d ", "-f3", f"/proc/{pid}/stat").stdout.strip()

        process.send_signal(signal.SIGTSTP)
        until(lambda: state() == "T")
        until(lambda: Path(f"/proc/{process.pid}/stat").read_text().split()[2] == "T")
        process.send_signal(signal.SIGCONT)
        until(lambda: state() == "R")
        process.terminate()
        assert process.wait(10) == 143


def test_fifty_at_a_time(lab: RunningLab) -> None:
    def once(number: int) -> tuple[int, str]:
        line = f"cat; echo {number}; exit {number}"
        done = lab.pod("alone").run("sh", "-c", line, text=f"{number} in\n", check=False)
        return done.returncode, done.stdout

    with ThreadPoolExecutor(50) as pool:
        assert [*pool.map(once, range(50))] == [(number, f"{number} in\n{number}\n") for number in range(50)]


# --- a terminal ----------------------------------------------------------------------------------------------------


def test_a_shell_at_a_terminal(pod: str) -> None:
    with nslab_at("exec", pod, "--", "bash", "--norc", "-i", rows=33, columns=111) as terminal:
        before = terminal.modes()
        terminal.wait_for(b"# ")
        terminal.type(b"tty; stty size; hostname\r")
        terminal.wait_for(b"/dev/pts/0\r\n33 111\r\nalone\r\n")
        terminal.type(b"stty -a | tr ';' '\\n' | grep erase\r")
        terminal.wait_for(b"erase = ^?")
        terminal.type(b"echo $TERM; sleep 1000\r")
        terminal.wait_for(b"vt100\r\n")
        terminal.press(b"\x1a", b"Stopped")  # Ctrl-Z
        terminal.type(b"jobs; fg\r")
        terminal.wait_for(b"sleep 1000\r\n")
        terminal.wait_for(b"sleep 1000\r\n")
        terminal.type(b"\x03")  # Ctrl-C ends what runs in the foreground, not the shell
        terminal.wait_for(b"# ")
        terminal.type(b"echo $((6*7)) $?\r")
        terminal.wait_for(b"42 130\r\n")
        terminal.type(b"trap 'stty size' WINCH; echo armed\r")
        terminal.wait_for(b"armed\r\n")
        terminal.resize(50, 132)
        terminal.wait_for(b"50 132\r\n")
        assert terminal.modes() != before
        terminal.type(b"(exit 7)\r\x04")  # Ctrl-D
        assert terminal.ended() == 7
        assert terminal.modes() == before
        assert b"no job control" not in terminal.output


def test_a_shell_on_a_node_has_a_terminal_of_the_nodes_own(lab: RunningLab) -> None:
    with nslab_at("shell", f"{lab.name}/node1") as terminal:
        terminal.wait_for(b"# ")
        terminal.type(b"tty; ls /dev/pts | tr '\\n' ' '; exit 6\r")
        terminal.wait_for(b"/dev/pts/0\r\n")
        terminal.wait_for(b"0 ptmx ")
        assert terminal.ended() == 6


def test_errors_that_go_elsewhere_do(pod: str, tmp_path: Path) -> None:
    file = tmp_path / "errors"
    line = f'{" ".join(NSLAB)} exec {pod} -- sh -c "test -t 0 && test -t 1 && echo out; echo err >&2" 2>{file}'
    with Terminal(["sh", "-c", line]) as terminal:
        terminal.wait_for(b"out\r\n")
        assert terminal.ended() == 0
    assert file.read_bytes() == b"err\n"


def test_keys_are_not_for_a_command_whose_output_goes_elsewhere(pod: str) -> None:
    # They are for who is behind the pipe: a pager.
    line = f"{' '.join(NSLAB)} exec {pod} -- sh -c 'cat; echo end' | {{ cat; read key </dev/tty; echo key $key; }}"
    with Terminal(["sh", "-c", line]) as terminal:
        terminal.type(b"mine\r")
        terminal.wait_for(b"end\r\n")
        terminal.wait_for(b"key mine\r\n")
        assert terminal.ended() == 0


def test_in_the_background_a_command_runs_without_keys(pod: str) -> None:
    with Terminal(["bash", "--norc", "-i"]) as terminal:
        terminal.wait_for(b"$ ")
        terminal.type(f"{' '.join(NSLAB)} exec {pod} -- sh -c 'cat; echo be''hind' &\r".encode())
        terminal.wait_for(b"behind\r\n")
        terminal.type(b"wait; echo all $?; exit\r")
        terminal.wait_for(b"all 0\r\n")
        assert terminal.ended() == 0


@pytest.mark.parametrize("behind", ["sleep 1019", "sh -c 'trap : HUP; sleep 1019'", "yes"])
def test_what_stays_behind_on_a_terminal_holds_nobody(pod: str, behind: str) -> None:
    with nslab_at("exec", pod, "--", "bash", "-c", f"set -m; {behind} & seq 20000; exit 8") as terminal:
        before = terminal.modes()
        assert terminal.ended() == 8
        assert terminal.modes() == before
        assert b"\r\n20000\r\n" in terminal.output


def test_much_on_a_terminal(pod: str) -> None:
    with nslab_at(
        "exec", pod, "--", "sh", "-c", "stty -opost; head -c 5000000 /dev/zero | tr '\\0' x; echo"
    ) as terminal:
        assert terminal.ended() == 0
        assert len(terminal.output) == 5000001


def test_a_stopped_terminal_is_given_back_and_taken_again(pod: str) -> None:
    with Terminal(["bash", "--norc", "-i"]) as terminal:
        terminal.wait_for(b"$ ")
        terminal.type(f"{' '.join(NSLAB)} exec {pod} -- sh -c 'echo re''ady; read line; echo got $line'\r".encode())
        terminal.wait_for(b"ready\r\n")
        raw = terminal.modes()
        terminal.stop(b"Stopped")
        terminal.type(b"echo shell $((6*7))\r")
        terminal.wait_for(b"shell 42\r\n")
        assert terminal.modes() != raw
        terminal.type(b"fg\r")
        until(lambda: terminal.modes() == raw)
        terminal.type(b"again\r")
        terminal.wait_for(b"got again\r\n")
        terminal.wait_for(b"$ ")  # what is typed while a command still ends is for nobody
        terminal.type(b"exit\r")
        assert terminal.ended() == 0
