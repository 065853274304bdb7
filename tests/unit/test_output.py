"""What the command line prints for a reader: nothing that a terminal obeys, whatever a stranger wrote."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
import unicodedata
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from nslab.admission.load import parse
from nslab.cli import output
from nslab.cli.output import Format
from nslab.cli.up_report import next_commands
from nslab.compiler.placement import assign_addresses
from tests import prefork

CLI = Path(__file__).parents[2] / "nslab/cli"
HIDDEN = "\x1b[2J\x1b[8m\u202egnp.exe\u2066\x9b31m\x7f"
LAB = """\
# About it: \u202ehidden
apiVersion: nslab/v1
kind: Lab
metadata: {name: shown}
spec:
  networks: {nodes: 192.168.59.0/24, pods: 20.96.0.0/12, services: 10.96.0.0/12}
  cni: {plugin: kubenet}
  proxy: {mode: none}
  nodes: [{name: node1}]
---
apiVersion: v1
kind: Pod
metadata: {name: pod-a}
spec:
  nodeName: node1
  containers:
  - {name: app, command: [sh, -c, "\\e[2J\\u202e\\x9bhidden"], env: [{name: "A", value: "\\e[8m"}]}
"""


def obeyed(text: str) -> set[str]:
    """The characters of a text that a terminal obeys, or shows as nothing."""
    plain = text.replace("\n", "").replace("\t", "")
    return {char for char in plain if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")}


def nslab(*arguments: str, cwd: Path | None = None) -> str:
    """All that a call prints, as a terminal gets it."""
    argv = [*prefork.nslab(), *arguments]
    done = subprocess.run(argv, capture_output=True, cwd=cwd)
    return (done.stdout + done.stderr).decode()


def test_nothing_else_prints() -> None:
    for file in CLI.glob("*.py"):
        if file.name in ("output.py", "manual.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("print", "click.echo", "typer.echo", "click.secho"), f"{file}:{node.lineno}"
                assert not called.startswith(("sys.stdout.w", "sys.stderr.w")), f"{file}:{node.lineno}"


@pytest.mark.parametrize(
    "call", [["plan"], ["plan", "--script"], ["plan", "-o", "json"], ["plan", "-o", "yaml"], ["show"]]
)
def test_a_lab_file_hides_nothing(tmp_path: Path, call: list[str]) -> None:
    folder = tmp_path / f"a{HIDDEN}"
    folder.mkdir()
    (folder / "lab.yaml").write_text(LAB)
    printed = nslab(*call, str(folder / "lab.yaml"))
    assert "shown" in printed
    assert obeyed(printed) == set()
    assert r"\u202e" in printed or r"\xe2\x80\xae" in printed.replace("\\\\", "\\")


@pytest.mark.parametrize(
    "call",
    [
        ["plan", f"no{HIDDEN}lab"],
        [f"no{HIDDEN}verb"],
        ["plan", "--encapsulation", HIDDEN, "x"],
        ["plan", f"--no{HIDDEN}", "x"],
        ["exec", HIDDEN, "--", "true"],
        ["completion", HIDDEN],
        ["apply", "x", "-f", HIDDEN],
        ["render", "-f", f"/no/{HIDDEN}", "--node", "a", "--proxy-mode", "none"],
        ["cni", HIDDEN, "--conf", HIDDEN],
        ["show", os.fsdecode(b"\xff\xfe\x9b")],
    ],
    ids=lambda call: call[0] if isinstance(call, list) else call,
)  # fmt: skip
def test_an_error_hides_nothing(call: list[str]) -> None:
    printed = nslab(*call)
    assert printed
    assert obeyed(printed) == set()


def test_a_fault_of_its_own_hides_nothing() -> None:
    text = (
        "import sys; from nslab.cli import app\n"
        "def fault(*_): raise ZeroDivisionError('\\x1b[2J')\n"
        "app._status = fault; app.main(['labs'])"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True)
    assert "ZeroDivisionError: \\x1b[2J" in done.stderr
    assert obeyed(done.stderr) == set()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES)
def test_documents_say_the_same_in_printable_characters(value: object) -> None:
    for form, read in ((Format.JSON, json.loads), (Format.YAML, yaml.safe_load)):
        with redirect_stdout(io.StringIO()) as printed:
            output.document(value, form)
        assert read(printed.getvalue()) == value
        assert obeyed(printed.getvalue()) == set()


def test_yaml_has_no_anchors() -> None:
    owners = [{"kind": "StatefulSet"}]
    with redirect_stdout(io.StringIO()) as printed:
        output.document({"items": [{"owners": owners}, {"owners": owners}]}, Format.YAML)
    assert "&" not in printed.getvalue()
    assert printed.getvalue().count("kind: StatefulSet") == 2


def test_a_table_s_columns_are_as_wide_as_they_look(capsys: pytest.CaptureFixture[str]) -> None:
    output.listing([{"name": "a\x1b[2Jb", "next": "Q"}, {"name": "plain", "next": "R"}], Format.TABLE)
    header, *rows = capsys.readouterr().out.splitlines()
    assert [row.index(cell) for row, cell in zip(rows, "QR", strict=True)] == [header.index("NEXT")] * 2


@pytest.mark.parametrize("call", [["plan"], ["plan", "--script"], ["plan", "-o", "json"]])
def test_a_plan_says_what_of_its_file_is_not_acted_on(tmp_path: Path, call: list[str]) -> None:
    """As `up` does; apart from what was asked for, which may go into a file."""
    file = tmp_path / "lab.yaml"
    file.write_text(
        LAB.replace(
            "{name: app,",
            "{name: app, volumeDevices: [{name: v, devicePath: /dev/x}], resources: {limits: {memory: 900Ti}},",
        )
    )
    argv = [*prefork.nslab(), *call, str(file)]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0
    one, two = done.stderr.splitlines()
    assert one.startswith("the memory limit of pod-a/app is more than this machine has (")
    assert two == "kept, not acted on: Pod.spec.containers.volumeDevices"


POD = """\
---
apiVersion: v1
kind: Pod
metadata: {{name: {}}}
spec: {{nodeName: {}, restartPolicy: {}, containers: [{{name: c, image: agnhost, ports: [{{containerPort: 80}}]}}]}}
"""


def test_the_next_commands_of_up_ask_no_pod_that_ends() -> None:
    pods = {
        "once": ("node1", "Never"),
        "web": ("node1", "Always"),
        "box": ("node2", "Always"),
        "job": ("node2", "Never"),
    }
    lab = assign_addresses(parse("".join(POD.format(name, *pod) for name, pod in pods.items()), "x.yaml"))
    asked = next(str(pod.assigned) for pod in lab.pods if pod.name == "web")
    assert next_commands(lab)[1:3] == [
        f"nslab exec x/box -- curl -s http://{asked}:80/hostname",
        "nslab trace x box web",
    ]
    ending = assign_addresses(parse(POD.format("once", "node1", "Never"), "y.yaml"))
    assert next_commands(ending) == ["nslab probe y", "nslab inspect y", "nslab down y"]


GUARDED = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: z}
spec: {cni: {plugin: PLUGIN}, nodes: [{name: node1}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {}}
"""


def test_the_next_commands_of_up_show_policies_and_bgp_where_there_are_any() -> None:
    text = GUARDED + POD.format("web", "node1", "Always")
    guarded = assign_addresses(parse(text.replace("PLUGIN", "calico, bgp: bird"), "z.yaml"))
    assert next_commands(guarded)[-3:] == [
        "nslab policy z web",
        "nslab inspect z/node1 --bgp",
        "nslab down z",
    ]
    without = assign_addresses(parse(text.replace("PLUGIN", "kubenet"), "z.yaml"))
    assert next_commands(without)[-2:] == ["nslab trace z web web", "nslab down z"]
