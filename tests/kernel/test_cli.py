"""The command line as a person or a script meets it: exit codes, sentences, formats, odd environments."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from nslab.cli.verbs import VERBS
from nslab.lab.find import find
from tests.kernel.labkit import NSLAB, ROOT, RUN, OwnLab, nslab, nslabs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nslab.pytest_plugin.running import RunningLab

pytestmark = [pytest.mark.root, pytest.mark.lab("calico-two-node", scope="module")]


@pytest.fixture(scope="module")
def file(module_lab: RunningLab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab's file, under the name that it has here."""
    made = tmp_path_factory.mktemp("cli") / "lab.yaml"
    text = find("calico-two-node").read_text()
    made.write_text(text.replace("name: calico-two-node", f"name: {module_lab.name}"))
    return made


def says(status: int, sentence: str, *arguments: object, **options: Any) -> None:
    """A call that fails does so with this one sentence, and nothing else."""
    all_say(((status, sentence, arguments),), **options)


def all_say(wanted: Iterable[tuple[int, str, Sequence[object]]], **options: Any) -> None:
    """So do several."""
    wanted = tuple(wanted)
    for (status, sentence, _), done in zip(wanted, nslabs([call for *_, call in wanted], **options), strict=True):
        assert (done.returncode, done.stdout, done.stderr) == (status, "", f"nslab: {sentence}\n")


def test_every_verb_has_help_with_an_example() -> None:
    for verb, done in zip(VERBS, nslabs((verb, "--help") for verb in VERBS), strict=True):
        assert done.returncode == 0
        assert re.search(rf"Example: nslab {verb}\b", done.stdout), verb
        assert not re.search(r"\x1b", done.stdout)


def test_the_program_and_the_module_agree() -> None:
    program = shutil.which("nslab", path=str(Path(sys.executable).parent))
    assert program
    for arguments in (["--help"], ["--version"], ["labs"], ["plan", "pause-pod"], ["nonsense"], []):
        module = nslab(*arguments)
        script = subprocess.run([program, *arguments], capture_output=True, text=True)
        assert (script.returncode, script.stdout, script.stderr) == (module.returncode, module.stdout, module.stderr)


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["up"], ["up", "--nonsense", "x"], ["up", "nonsense"], ["down"], ["exec", "x"],
     ["labs", "-o", "xml"], ["up", "pause-pod", "--encapsulation", "nonsense"], ["completion", "tcsh"],
     ["exec", "nolab", "--", "true"]],
    ids=" ".join,
)  # fmt: skip
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    done = nslab(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    assert done.stderr


def test_a_wrong_lab_file_is_2(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text("kind: Lab\nspec: {nodez: []}\n")
    done = nslab("up", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert all(line.startswith(f"{file}:") for line in done.stderr.splitlines())


def test_what_is_not_there_is_one_sentence(lab: RunningLab) -> None:
    hosts = "client, control, kube-system_kube-dns, node1, node2, pod-a, pod-b, pod-c, pod-d, switch"
    nobody = "there is no running lab 'nosuch'; `nslab ps` lists those that run"
    name = lab.name
    gone = ("diff", "nosuch"), ("ps", "nosuch"), ("inspect", "nosuch"), ("probe", "nosuch"), ("logs", "nosuch/pod-a")
    inside = ("exec", "nosuch/pod-a", "--", "true"), ("shell", "nosuch/pod-a")
    all_say((2, nobody, call) for call in (*gone, *inside))
    all_say(
        (
            (2, f"{name} has no host 'nosuch'; it has {hosts}", ("exec", f"{name}/nosuch", "--", "true")),
            (2, f"{name} has no pod 'node1'", ("logs", f"{name}/node1")),
            (2, f"{name} has no host 'nosuch'", ("inspect", f"{name}/nosuch")),
            (2, "pod pod-a has no container 'x'; it has app", ("exec", f"{name}/pod-a", "-c", "x", "--", "true")),
            (2, "pod pod-a has no container 'x'; it has app", ("logs", f"{name}/pod-a", "-c", "x")),
        )
    )
    machines = "node1", "client", "switch"
    all_say(
        (2, f"{machine} is not a pod and has no container 'x'", ("exec", f"{name}/{machine}", "-c", "x", "--", "true"))
        for machine in machines
    )
    wrong = ("../../etc", "a.b", "A", "", "x" * 300, ".")
    for done in nslabs((verb, name) for name in wrong for verb in ("diff", "ps", "inspect", "down")):
        assert (done.returncode, done.stdout) == (2, ""), done
        assert done.stderr.count("\n") == 1, done


@pytest.mark.parametrize(
    "change",
    [("set", "proxy-mode=ipvs"), ("apply", "-f", "-"), ("delete", "pod/a"), ("scale", "deployment/a", "--replicas", 1)],
    ids=lambda change: change[0],
)
def test_a_path_is_no_labs_name(tmp_path: Path, change: tuple[object, ...]) -> None:
    """A lab's lock lies beside its folder, is written to and removed: elsewhere it would be somebody's file."""
    dear = tmp_path / "yarn.lock"
    dear.write_text("dear")
    verb, *words = change
    done = nslab(verb, os.path.relpath(dear, RUN).removesuffix(".lock"), *words, input="")
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be a lab's name" in done.stderr
    assert dear.read_text() == "dear"


def test_down_of_what_never_was_is_friendly() -> None:
    done = nslab("down", "pause-pod")
    assert (done.returncode, done.stdout, done.stderr) == (0, "pause-pod is not there\n", "")
    says(1, "there is no running lab 'nosuch'; `nslab ps` lists those that run", "down", "nosuch")


def test_execs_status_is_the_commands_own(lab: RunningLab) -> None:
    for command, status in (("exit 7", 7), ("true", 0), ("kill -9 $$", 137), ("kill -TERM $$", 143)):
        assert nslab("exec", f"{lab.name}/pod-a", "--", "sh", "-c", command).returncode == status
    done = nslab("exec", f"{lab.name}/node1", "--", "nosuch-command")
    assert (done.returncode, done.stderr) == (127, "nslab: nosuch-command: No such file or directory\n")
    assert nslab("exec", f"{lab.name}/pod-a", "--", "/etc/passwd").returncode == 126
    done = nslab("exec", f"{lab.name}/pod-a", "--", "hostname")
    assert (done.returncode, done.stdout) == (0, "pod-a\n")
    assert nslab("exec", f"{lab.name}/switch", "--", "sh", "-c", "exit 3").returncode == 3
    done = nslab("exec", f"{lab.name}/client", "--", "cat", input="through\n")
    assert done.stdout == "through\n"


def test_lists_as_json_and_yaml(lab: RunningLab) -> None:
    for arguments, keys in (
        (["labs"], {"name", "up", "shows"}),
        (["ps"], {"lab", "holds", "processes"}),
        (["ps", lab.name], {"namespace", "name", "ready", "status", "restarts", "ip", "node"}),
        (["inspect", lab.name], {"host", "interface", "addresses", "routes"}),
        (["plan", "calico-two-node"], {"by", "commands"}),
        (["probe", lab.name], set()),
    ):
        as_json, as_yaml = nslabs([(*arguments, "-o", "json"), (*arguments, "-o", "yaml")])
        assert (as_json.returncode, as_json.stderr) == (0, "")
        rows = json.loads(as_json.stdout)
        assert rows
        assert keys <= (rows[0].keys() if keys else set())
        assert type(yaml.safe_load(as_yaml.stdout)) is type(rows)
    assert json.loads(nslab("diff", lab.name, "-o", "json").stdout) == {
        "differences": [], "commands": [], "unmanaged": {},
    }  # fmt: skip
    assert json.loads(nslab("schema").stdout)["type"] == "object"


def test_ps_tells_what_kubectl_would(lab: RunningLab) -> None:
    def pods() -> dict[str, tuple[object, ...]]:
        rows = json.loads(nslab("ps", lab.name, "-o", "json").stdout)
        assert rows == sorted(rows, key=lambda row: (row["namespace"], row["name"]))
        return {row["name"]: (row["ready"], row["status"], row["restarts"], row["ip"]) for row in rows}

    assert pods()["pod-b"] == (True, "Running", 0, "20.111.156.7")
    assert pods()["pod-d"] == (True, "Running", 0, "20.109.131.3")
    for ends in (1, 2):  # after the first, it is started again at once
        os.kill(lab.processes()["pod-b container/app"], 9)
        lab.wait(lambda ends=ends: pods()["pod-b"][1:3] == (("Running", 1) if ends == 1 else ("CrashLoopBackOff", 1)))  # type: ignore[misc]
    header, *lines = nslab("ps", lab.name).stdout.splitlines()
    assert header.split() == ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE"]
    (line,) = [line for line in lines if " pod-b " in line]
    assert re.fullmatch(r"default +pod-b +0/1 +CrashLoopBackOff +1 \(\d+s ago\) +\S+ +20.111.156.7 +node1", line)
    (shown,) = [row for row in json.loads(nslab("ps", lab.name, "-o", "json").stdout) if row["name"] == "pod-b"]
    (container,) = shown["containerStatuses"]
    waiting = container["state"]["waiting"]
    assert waiting["reason"] == "CrashLoopBackOff"
    assert waiting["message"].startswith("back-off 10s restarting failed container=app pod=pod-b_default(")
    last = container["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == ("Error", 137)
    why = "it ended (Error; exit code 137), and is started again after a back-off"
    says(2, f"container app of pod-b does not run: {why}", "exec", f"{lab.name}/pod-b", "--", "true")
    assert nslab("logs", f"{lab.name}/pod-b", "-p").stdout  # kubectl's: of one that waits, the last that ended
    os.kill(lab.processes()["pod-b pause"], 9)
    lab.wait(lambda: pods()["pod-b"][:2] == (False, "NotRunning"))
    lab.mend()
    assert pods()["pod-b"][:3] == (True, "Running", 2)


def test_logs_of_a_container(lab: RunningLab) -> None:
    says(2, "previous terminated container 'app' in pod 'pod-a' not found", "logs", f"{lab.name}/pod-a", "-p")
    done = nslab("logs", f"{lab.name}/pod-a")
    assert (done.returncode, done.stderr) == (0, "")
    lab.sh("pod-a", "echo >/dev/null")
    assert nslab("logs", f"{lab.name}/pod-a", "--tail", "1").stdout.count("\n") <= 1


def test_a_reader_that_has_seen_enough() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m nslab plan calico-two-node | head -1; echo ${{PIPESTATUS[0]}}"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] in ("0", "141")


@pytest.mark.parametrize(
    "environment",
    [
        {"HOME": "/nonexistent", "TERM": "nonsense", "LANG": "xx_YY.nonsense", "TMPDIR": "/nonexistent"},
        {"HOME": "/proc", "TERM": "", "PYTHONIOENCODING": "ascii", "COLUMNS": "1"},
        {"HOME": "", "LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "NO_COLOR": "1"},
        {"PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "latin-1"},
    ],
    ids=lambda environment: " ".join(f"{name}={value}" for name, value in environment.items()),
)  # fmt: skip
def test_odd_environments(lab: RunningLab, file: Path, environment: dict[str, str]) -> None:
    calls = ("up", file), ("ps", lab.name), ("show", "calico-two-node"), ("diff", lab.name), ("labs",)
    for done in nslabs(calls, env={**os.environ, **environment}):
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


def test_an_empty_environment(lab: RunningLab, file: Path) -> None:
    for arguments in (["up", file], ["ps"], ["exec", f"{lab.name}/pod-a", "--", "ip", "link"]):
        done = nslab(*arguments, env={})
        assert done.returncode == 0, done.stderr


def test_no_stdin_stdout_or_stderr(lab: RunningLab, file: Path) -> None:
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        line = f"{sys.executable} -m nslab up {file} {closed}"
        assert subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True).returncode == 0, closed
    assert lab.diff() == []


def test_colour_only_on_a_terminal_that_wants_it() -> None:
    def on_a_terminal(**environment: str) -> str:
        argv = ["script", "-qec", f"{sys.executable} -m nslab plan pause-pod", "/dev/null"]
        env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | environment
        return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, env=env, stdin=subprocess.DEVNULL).stdout

    assert "\x1b[" in on_a_terminal(TERM="xterm")
    assert "\x1b[" not in on_a_terminal(TERM="xterm", NO_COLOR="1")
    assert "\x1b[" not in nslab("plan", "pause-pod").stdout


def as_nobody(*arguments: object) -> subprocess.CompletedProcess[str]:
    # It may read everything: a clone of root's own is where nobody else could.
    reader = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *reader, "--", *NSLAB, *map(str, arguments)]
    environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent"}
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize(
    "arguments",
    [["up", "pause-pod"], ["down", "x"], ["down", "--all"], ["ps"], ["ps", "x"], ["diff", "x"], ["inspect", "x"],
     ["exec", "x/y", "--", "true"], ["shell", "x/y"], ["logs", "x/y"], ["probe", "x"],
     ["doctor"], ["doctor", "pause-pod"]],
    ids=" ".join,
)  # fmt: skip
def test_what_needs_root_says_so(arguments: list[str]) -> None:
    done = as_nobody(*arguments)
    assert (done.returncode, done.stdout) == (4, ""), done.stderr
    assert done.stderr.count("\n") == 1
    assert "sudo" in done.stderr
    assert "nslab vm" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["labs"], ["labs", "-o", "json"], ["show", "calico-two-node"], ["plan", "calico-two-node"],
     ["plan", "--script", "kubenet-two-node"], ["schema"], ["completion", "bash"], ["--help"], ["--version"],
     ["up", "--help"]],
    ids=" ".join,
)  # fmt: skip
def test_what_needs_no_root(arguments: list[str]) -> None:
    done = as_nobody(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_up_tells_which_container_is_not_ready_and_what_it_said(tmp_path: Path) -> None:
    lab = OwnLab(tmp_path)
    image = "image: registry.k8s.io/e2e-test-images/agnhost:2.53, args: [netexec, --http-port=8080]"
    lab.write(lab.file.read_text().replace(image, "command: [sh, -c, echo out of order; exit 5]", 1))
    try:
        done = nslab("up", lab.file)
        assert done.returncode == 1
        assert "pod-a/app on node1" in done.stderr
        assert "out of order" in done.stderr
        assert lab.talks("pod-b", "20.109.131.3")
    finally:
        lab.down()
    assert lab.left() == []


def test_what_up_says_to_type_next_works_for_a_lab_without_ports_too(tmp_path: Path) -> None:
    lab = OwnLab(tmp_path, "pause-pod")
    lab.write(re.sub(r"\n *ports: .*", "", lab.file.read_text()))
    try:
        *_, first, second, third = lab.up().splitlines()
        for line in (first, second, third):
            done = nslab(*line.split()[1:])
            assert (done.returncode, done.stderr) == (0, ""), line
    finally:
        lab.down()
    assert lab.left() == []


def test_a_pod_of_another_namespace_is_found_by_the_name_that_pictures_give_it(tmp_path: Path) -> None:
    lab = OwnLab(tmp_path, "pause-pod")
    lab.edit("{name: pod-1,", "{name: pod-1, namespace: shop,")
    try:
        picture = lab.up()
        assert "shop/pod-1" in picture
        assert f"nslab exec {lab.name}/shop_pod-1 -- " in picture
        for name in ("shop/pod-1", "shop_pod-1"):
            assert nslab("exec", f"{lab.name}/{name}", "--", "hostname").stdout == "pod-1\n"
            assert nslab("logs", f"{lab.name}/{name}").stdout
    finally:
        lab.down()
    assert lab.left() == []
