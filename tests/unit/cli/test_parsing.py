"""How words are read: a command inside a host without `--`, verbs and values misspelt, help and version as verbs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from nslab.admission.settings import setting
from nslab.cli.app import main
from nslab.cli.commands import tree
from nslab.cli.parsing import KUBECTL, locale_language, suggestion
from nslab.cli.verbs import VERBS
from nslab.errors import UsageError
from nslab.lab import find

ROOT = Path(__file__).parents[3]
COMMANDS = tree().commands


def read(verb: str, *words: str) -> dict[str, Any]:
    """The parameters of a verb, as its words say them."""
    return COMMANDS[verb].make_context(verb, [*words]).params


@pytest.mark.parametrize(
    ("words", "command", "container"),
    [
        ("lab/pod -- curl -s url", "curl -s url", None),
        ("lab/pod curl -s url", "curl -s url", None),
        ("lab/pod -c app curl -s -c jar url", "curl -s -c jar url", "app"),
        ("-c app lab/pod curl -s", "curl -s", "app"),
        ("lab/pod -capp -- ls -c x", "ls -c x", "app"),
        ("lab/pod --container=app sh -c exit", "sh -c exit", "app"),
        ("lab/pod -it -- sh", "sh", None),
        ("-it lab/pod -c app sh", "sh", "app"),
        ("lab/pod -i -t --stdin --tty sh -x", "sh -x", None),
        ("lab/pod sh -- x", "sh -- x", None),
        ("lab/pod -- sh -- x", "sh -- x", None),
        ("-- lab/pod sh -- x", "sh -- x", None),
        ("lab/pod -- -h", "-h", None),
        ("lab/pod ls -h", "ls -h", None),
    ],
)
def test_a_command_begins_at_its_first_word(words: str, command: str, container: str | None) -> None:
    params = read("exec", *words.split())
    assert (params["host"], [*params["command"]], params["container"]) == ("lab/pod", command.split(), container)


@pytest.mark.parametrize(
    ("words", "wait", "objects"),
    [
        ("pod/a", "true", ["pod/a"]),
        ("pod/a --wait", "true", ["pod/a"]),
        ("--wait pod/a pod/b", "true", ["pod/a", "pod/b"]),
        ("pod/a --wait=false", "false", ["pod/a"]),
        ("-- pod/a --wait", "true", ["pod/a", "--wait"]),
    ],
)
def test_wait_needs_no_value(words: str, wait: str, objects: list[str]) -> None:
    params = read("delete", "lab", *words.split())
    assert (params["wait"], [*params["objects"]]) == (wait, objects)


@pytest.mark.parametrize("words", [[], ["lab/pod"], ["lab/pod", "--"], ["lab/pod", "-z", "ls"], ["lab/pod", "-c"]])
def test_what_is_no_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["exec", *words])
    assert left.value.code == 2
    assert "Error: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("prob", "probe"), ("log", "logs"), ("sclae", "scale"), ("lab", "labs"), ("delet", "delete"), ("dwon", "down")],
)
def test_a_misspelt_verb_is_recognized(typed: str, meant: str) -> None:
    assert suggestion(typed, [*VERBS]) == f"; did you mean {meant}?"


@pytest.mark.parametrize("typed", ["cp", "drain", "let", *KUBECTL])
def test_a_verb_of_kubectl_is_not_taken_for_another(typed: str) -> None:
    assert typed not in VERBS
    assert suggestion(typed, [*VERBS]) == f"; {KUBECTL.get(typed, '`nslab --help` lists the verbs')}"


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[object, str, str]:
    """How a call ends, and what it prints."""
    with pytest.raises(SystemExit) as left:
        main(words)
    return (left.value.code, *capsys.readouterr())


def test_an_unknown_verb_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(capsys, "frobnicate", "x")
    assert (status, out) == (2, "")
    assert err.splitlines()[-1] == "Error: No such command 'frobnicate'; `nslab --help` lists the verbs"
    assert said(capsys, "help", "prob")[2] == "nslab: there is no verb prob; did you mean probe?\n"


def test_a_verb_of_kubectls_has_another_way(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = said(capsys, "edit", "x")
    assert (status, out) == (2, "")
    assert err.splitlines()[-1] == "Error: No such command 'edit'; change the file, and `nslab apply LAB -f FILE`"


def test_help_and_version_are_verbs_too(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("exec", "help"):
        assert said(capsys, "help", verb) == said(capsys, verb, "--help")
    assert said(capsys, "help") == said(capsys, "--help")
    assert said(capsys, "version") == said(capsys, "--version")


def test_a_value_may_be_typed_in_any_case() -> None:
    assert read("plan", "x", "--encapsulation", "ipip", "--proxy-mode", "NFTables") == {
        **read("plan", "x", "--encapsulation", "IPIP", "--proxy-mode", "nftables")
    }
    assert str(read("plan", "x", "--encapsulation", "vxlancrosssubnet")["encapsulation"]) == "VXLANCrossSubnet"
    assert setting("encapsulation=ipipcrosssubnet") == ("encapsulation", "IPIPCrossSubnet")
    with pytest.raises(UsageError, match=r"one of IPIP, .*, not 'gre'"):
        setting("encapsulation=gre")


def test_a_lab_has_the_number_of_its_guide() -> None:
    for number, name in enumerate(find.in_course(), 1):
        assert find.find(str(number)) == find.find(name)
        assert read("probe", str(number))["name"] == name
    for none in ("0", "99", "0x1", "¹", "-1"):
        assert find.by_number(none) == none


def test_what_has_no_first_line_is_shown_without_it(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: one}\nspec: {ports: [{port: 1}]}\n"
    )
    status, out, err = said(capsys, "show", str(tmp_path))
    assert (status, err) == (0, "")
    assert "\n\n\n" not in out


def test_the_wrapper_knows_the_verbs() -> None:
    script = (ROOT / "scripts/nslab").read_text()
    named = re.findall(r"^  (?:\"\" \| -\* \| )?([a-z |]+)\) ", script, re.MULTILINE)
    assert len(named) == 2
    assert {verb for line in named for verb in line.split(" | ")} <= {*VERBS}


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, "en"),
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko"}, "ko"),
        ({"LANG": "ko_KR", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "de_DE", "LC_MESSAGES": "ko_KR.eucKR"}, "ko"),
        ({"LANG": "kok_IN"}, "en"),
    ],
)
def test_the_locale_chooses_the_language(
    environment: dict[str, str], language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert locale_language() == language


def test_a_step_is_shown_by_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "show", "--step", "10.3") == said(capsys, "show", "services-iptables", "--guide", "--step", "3")
    assert said(capsys, "show", "--step", "10.3")[1].startswith("10.3 ")
    assert said(capsys, "show", "--step", "3")[0] == 2
