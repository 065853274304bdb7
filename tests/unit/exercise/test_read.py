"""Check files as text: what they may say, and the sentence for each thing that is wrong with one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import jsonschema
import pytest
import yaml

from nslab.admission.load import load
from nslab.compiler.placement import assign_addresses
from nslab.errors import LabFileError
from nslab.exercises.beside import goals_beside
from nslab.exercises.read import check_schema, read_check
from nslab.exercises.targets import target
from nslab.exercises.types import Ask, By, Expect, Fact, Language, Show, Translated
from nslab.lab.find import folder, shipped

if TYPE_CHECKING:
    from pathlib import Path

LAB = assign_addresses(load(folder() / "services-iptables" / "lab.yaml"))
CNI = assign_addresses(load(folder() / "by-hand-cni" / "lab.yaml"))
GOOD = """\
apiVersion: nslab/v1
kind: Check
spec:
  goals:
  - id: first
    title: {en: they talk, ko: 통신한다}
    hint: {en: look at the cables}
    asks:
    - {from: pod-a, to: pod-b}
    - {from: client, to: "pod-a:8080", by: tcp, expect: blocked}
    facts:
    - {host: node1, show: addr, hasNot: {local: 169.254.1.1}}
"""
AGAIN = "  - id: first\n    title: {en: a}\n    hint: {en: b}\n    facts:\n"


def output(text: str) -> str:
    with pytest.raises(LabFileError) as wrong:
        read_check(text, "check.yaml", CNI)
    return str(wrong.value).replace("check.yaml:", "")


def test_what_a_file_says_is_what_is_read() -> None:
    (goal,) = read_check(GOOD, "check.yaml", CNI).goals
    assert (goal.name, goal.title, goal.extra) == ("first", Translated("they talk", "통신한다"), False)
    assert goal.asks == (Ask("pod-a", "pod-b"), Ask("client", "pod-a:8080", By.TCP, Expect.BLOCKED))
    assert goal.facts == (Fact("node1", Show.ADDRESS, has_not=(("local", "169.254.1.1"),)),)
    assert goal.title.by(Language.KOREAN) == "통신한다"
    assert goal.hint.by(Language.KOREAN) == "look at the cables", "what is not translated is said in English"


def test_a_text_may_be_plain_and_a_hint_absent() -> None:
    text = GOOD.replace("{en: they talk, ko: 통신한다}", "they talk").replace(
        "    hint: {en: look at the cables}\n", ""
    )
    (goal,) = read_check(text, "check.yaml", CNI).goals
    assert (goal.title, goal.hint) == (Translated("they talk"), Translated())
    assert goal.title.by(Language.KOREAN) == "they talk"


def test_an_address_may_be_asked() -> None:
    pod = next(pod for pod in CNI.pods if pod.name == "pod-b")
    asks = f'- {{from: pod-a, to: {pod.assigned}, seenAs: pod-a}}\n    - {{from: client, to: "10.0.0.1:80", by: tcp}}'
    text = GOOD.replace("- {from: pod-a, to: pod-b}", asks).replace('"pod-a:8080"', '"10.0.0.1:80"')
    (goal,) = read_check(text, "check.yaml", CNI).goals
    assert [(target(CNI, ask.target).host, target(CNI, ask.target).port) for ask in goal.asks] == [
        ("pod-b", 0),
        ("", 80),
        ("", 80),
    ]


def test_the_schema_accepts_what_is_read_and_refuses_the_rest() -> None:
    validator = jsonschema.Draft202012Validator(check_schema())
    plain = GOOD.replace("{en: they talk, ko: 통신한다}", "they talk").replace(
        "    hint: {en: look at the cables}\n", ""
    )
    for text in (GOOD, plain):
        validator.validate(yaml.safe_load(text))
    for text in (GOOD.replace("they talk", '""'), GOOD.replace("en: they", "de: they")):
        assert not validator.is_valid(yaml.safe_load(text))


@pytest.mark.parametrize("name", [lab.name for lab in shipped() if lab.path.with_name("check.yaml").exists()])
def test_the_shipped_ones_fit_their_labs_and_speak_both_languages(name: str) -> None:
    file = folder() / name / "lab.yaml"
    lab = assign_addresses(load(file))
    goals = read_check(goals_beside(file, lab), "check.yaml", lab).goals
    assert [goal.name for goal in goals if not goal.title.ko or not goal.hint.ko] == []
    assert not [
        goal.name for goal in goals for word in ("ip link add", "iptables -", "sysctl -w") if word in goal.hint.en
    ]


def test_a_lab_without_goals_has_none(tmp_path: Path) -> None:
    assert goals_beside(folder() / "pause-pod" / "lab.yaml", LAB) == ""
    (tmp_path / "check.yaml").write_text("no check")
    assert goals_beside(tmp_path / "mine.yaml", LAB) == "", "it belongs to lab.yaml"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("kind: Check", "kind: Lab", "2:7: kind: unknown value Lab; known are Check"),
        ("id: first", "id: First", "5:9: spec.goals[0].id: First must be lower case letters"),
        ("from: pod-a", "from: pod-x", "9:14: the lab has no host pod-x; did you mean pod-"),
        ("to: pod-b", "to: pod-e", "9:25: the lab has no host pod-e; did you mean pod-"),
        ("to: pod-b", "to: pod-b, by: http", "9:25: http needs a port; write pod-b:PORT"),
        ("to: pod-b", 'to: "pod-b:80"', "9:25: an echo has no port; leave it out, or ask by tcp or http"),
        ("to: pod-b", 'to: "pod-b:http"', "9:25: pod-b:http has no port from 1 to 65535 after its colon"),
        ("to: pod-b", 'to: "pod-b:0"', "9:25: pod-b:0 has no port from 1 to 65535 after its colon"),
        ("to: pod-b", 'to: "pod-b:65536"', "9:25: pod-b:65536 has no port from 1 to 65535 after its colon"),
        ("to: pod-b", "to: 10.0.0.1, by: tcp", "9:25: tcp needs a port; write 10.0.0.1:PORT"),
        ("to: pod-b", "to: 10.0.0.1, seenAs: pod-a", "9:43: no host of the lab has this address, so nobody tells"),
        ("to: pod-b", "to: 10.0.0.256", "9:25: the lab has no host 10.0.0.256"),
        ("{en: they talk, ko: 통신한다}", "5", "6:12: spec.goals[0].title: 5 is a number in YAML, and text is needed"),
        ("{en: they talk, ko: 통신한다}", "{ko: 통신한다}", "6:12: spec.goals[0].title.en is missing"),
        ("to: pod-b", "to: svc/web", "9:25: the lab has no Service web with an address"),
        ("to: pod-b", "to: pod-b, seenAs: me", "9:40: the lab has no host me"),
        ("to: pod-b", "to: pod-b, times: 2", "9:39: times does not apply to icmp; remove it"),
        ("to: pod-b", "to: pod-b, expect: refused", "9:40: an echo is answered or not, and never refused"),
        ("to: pod-b", "to: pod-b, answers: [pod-b]", "9:41: answers needs by: http"),
        ("expect: blocked", "seenAs: node1", "10:57: seenAs needs by: icmp or http"),
        ("by: tcp, expect: blocked", "by: http, expect: blocked, seenAs: node1", "10:75: seenAs needs by: icmp or"),
        ("expect: blocked", "expect: block", "10:57: spec.goals[0].asks[1].expect: unknown value block; did you mean"),
        ("show: addr", "show: rules", "12:27: spec.goals[0].facts[0].show: unknown value rules"),
        (", hasNot: {local: 169.254.1.1}", "", "12:7: a fact needs has or hasNot"),
        ("    - {host", f"{AGAIN}    - {{host", "5:9: there is another goal first"),
        ("hint:", "hints:", "7:5: unknown field spec.goals[0].hints; did you mean hint?"),
        ("apiVersion", "---\na: b\n---\napiVersion", "1:1: a check file is one document (kind: Check), and this has 2"),
    ],
)  # fmt: skip
def test_each_fault_has_its_place_and_sentence(old: str, new: str, sentence: str) -> None:
    assert sentence in output(GOOD.replace(old, new, 1))


def test_all_faults_are_told_at_once() -> None:
    wrong = output(GOOD.replace("pod-a, to: pod-b", "x, to: y").replace("host: node1", "host: z").replace("icmp", ""))
    assert [line.split(":")[0] for line in wrong.splitlines()] == ["9", "9", "12"]


def test_services_are_named_with_their_port_where_they_have_several() -> None:
    ask = "- {from: client, to: svc/web, by: tcp}"
    text = GOOD.replace("- {from: pod-a, to: pod-b}", ask).replace("pod-a:8080", "node1:8080")
    ports = next(service.ports for service in LAB.services if service.name == "web")
    if len(ports) == 1:
        assert read_check(text, "check.yaml", LAB)
    else:
        with pytest.raises(LabFileError, match=r"9:26: svc/web has the ports .*; say which"):
            read_check(text, "check.yaml", LAB)
    assert read_check(text.replace("svc/web", f'"svc/web:{ports[0].port}"'), "check.yaml", LAB)


def test_the_schema_is_made_of_the_same_table() -> None:
    schema = json.loads(json.dumps(check_schema()))
    goal = schema["properties"]["spec"]["properties"]["goals"]["items"]
    assert goal["required"] == ["id", "title"]
    assert goal["properties"]["asks"]["items"]["properties"]["expect"]["enum"] == ["ok", "refused", "blocked"]
