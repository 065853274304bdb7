"""Everything that can be wrong with a lab file, and the sentence that says so: LINE:COLUMN: what is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab.admission import load, validate
from nslab.api import documents
from nslab.errors import LabFileError
from nslab.lab.types import Encapsulation
from nslab.objects import names

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: a-lab}
spec:
  networks: {nodes: 192.168.59.0/24, pods: 20.96.0.0/12, services: 10.96.0.0/12}
  cni: {plugin: calico, encapsulation: IPIP}
  proxy: {mode: none}
  nodes:
  - {name: node1, address: 192.168.59.22, podCIDR: 20.111.156.0/26}
  - {name: node2, address: 192.168.59.23, podCIDR: 20.109.131.0/26}
  clients:
  - {name: client, address: 192.168.59.10}
---
apiVersion: v1
kind: Pod
metadata: {name: pod-a, annotations: {cni.projectcalico.org/ipAddrs: '["20.111.156.6"]'}}
spec:
  nodeName: node1
  containers:
  - {name: app, image: agnhost, args: [netexec, --http-port=8080], ports: [{containerPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: pod-b}
spec:
  nodeName: node2
  containers:
  - {name: app, command: [sleep, infinity]}
"""
POD = """\
---
apiVersion: v1
kind: Pod
metadata: {{name: p{}}}
spec: {{nodeName: node1, containers: [{{name: a, command: [x]}}]}}
"""
LABEL = "must be lower case letters, digits and '-', no '-' first or last"


def output(text: str, *, stored: bool = False) -> list[str]:
    """The problems of a text."""
    try:
        (load.parse_stored if stored else load.parse)(text, "lab.yaml")
    except LabFileError as error:
        return [str(problem).removeprefix("lab.yaml:") for problem in error.errors]
    return []


def changed(*changes: str) -> str:
    """The good lab with the changes `OLD -> NEW` made, once each."""
    text = GOOD
    for change in changes:
        old, new = change.replace("\\n", "\n").split(" -> ")
        assert old in text
        text = text.replace(old, "" if new == "(nothing)" else re.sub(r"(\w)\*(\d+)", _times, new), 1)
    return text


def _times(match: re.Match[str]) -> str:
    return match[1] * int(match[2])


def transcripts() -> Iterator[tuple[str, list[str]]]:
    """The changes of sentences.txt, each with its problems."""
    for block in (Path(__file__).parent / "sentences.txt").read_text().split("\n\n")[1:]:
        if not block.startswith("=="):
            change, *problems = block.strip().split("\n    ")
            yield change, [re.sub(r"(\w)\*(\d+)", _times, problem) for problem in problems]


@pytest.mark.parametrize(("change", "problems"), [*transcripts()])
def test_transcript(change: str, problems: list[str]) -> None:
    assert output(changed(change)) == problems


def test_the_good_lab_is_good() -> None:
    assert output(GOOD) == []


def test_the_lab_document_is_first_and_alone() -> None:
    lab, pod, other = GOOD.split("---\n")
    assert output(f"{other}---\n{lab}---\n{pod}") == ["10:7: the Lab must be the first document of a lab file"]
    assert output(f"{lab}---\n{pod}---\n{lab}") == ["23:7: a lab file has one Lab document, and this is another"]
    assert output(f"---\n---\n{lab}---\n---\n{pod}---\n") == []


def test_an_address_has_one_pod() -> None:
    pod = "{name: pod-b} -> {name: pod-b, annotations: {cni.projectcalico.org/ipAddrs: '[\"20.111.156.6\"]'}}"
    assert output(changed(pod, "nodeName: node2 -> nodeName: node1")) == [
        "24:70: two pods have the address 20.111.156.6 (see line 16)"
    ]


def test_a_pod_cidr_has_so_many_addresses() -> None:
    def of(lab: str, pods: int) -> str:
        return "; ".join(output(lab + "".join(POD.format(i) for i in range(pods))))

    too_many = "9:52: node1 has {} and its podCIDR 20.111.156.0/30 holds {}"
    calico = GOOD.partition("---\n")[0].replace("20.111.156.0/26", "20.111.156.0/30")
    tunnel = " (1 of its addresses reserved: the tunnel's address)"
    assert of(calico, 3) == ""
    assert of(calico, 4) == too_many.format("4 pods,", 3) + tunnel
    asks = "name: p9, annotations: {cni.projectcalico.org/ipAddrs: '[\"ASKED\"]'}"
    borrower = POD.format(9).replace("name: p9", asks)
    assert of(calico + borrower.replace("ASKED", "20.109.131.9"), 3) == ""
    lent = borrower.replace("node1", "node2").replace("ASKED", "20.111.156.2")
    assert of(calico + lent, 2) == ""
    assert of(calico + lent, 3) == too_many.format("3 pods and lends 1 address,", 3) + tunnel
    flat = calico.replace("IPIP", "None")
    assert of(flat, 4) == ""
    assert of(flat, 5) == too_many.format("5 pods,", 4)
    kubenet = calico.replace("calico, encapsulation: IPIP", "kubenet")
    bridge = " (3 of its addresses reserved: the network's own address, the broadcast address, the address of cbr0)"
    assert of(kubenet, 1) == ""
    assert of(kubenet, 2) == too_many.format("2 pods,", 1) + bridge


def test_the_bridge_has_an_address_too() -> None:
    lab = GOOD.partition("---\n")[0].replace("calico, encapsulation: IPIP", "kubenet")
    pod = POD.format(0).replace("kind: Pod", "kind: Pod\nstatus: {podIP: 20.111.156.1}")
    assert output(lab + pod, stored=True) == [
        "16:17: pod p0 cannot have the address 20.111.156.1; on node1 it is the address of cbr0"
    ]


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        (
            "{name: pod-b}",
            "{name: pod-b}\nstatus: {podIP: 20.109.131.64}",
            "25:17: the address 20.109.131.64 of pod pod-b is outside the podCIDR 20.109.131.0/26 of node2",
        ),
        (
            "kind: Pod",
            "kind: Pod\nstatus: {podIP: 20.111.156.7}",
            "16:17: status.podIP is 20.111.156.7, and the pod asks for 20.111.156.6; remove one of them",
        ),
    ],
)
def test_what_a_server_says_of_a_pod_holds_in_a_stored_lab_alone(old: str, new: str, wrong: str) -> None:
    text = GOOD.replace(old, new, 1)
    assert (output(text), output(text, stored=True)) == ([], [wrong])


def test_the_command_line_goes_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    file.write_text(GOOD)
    assert load.load(file, encapsulation=Encapsulation.VXLAN).encapsulation is Encapsulation.VXLAN


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: there is neither a Lab nor an object in it"),
        ("# nothing\n---\n---\n", "1:1: there is neither a Lab nor an object in it"),
        ("hello", "1:1: a document of a lab file must be a mapping with apiVersion and kind"),
        ("a\n\0", "2:1: the character '\\x00' cannot be in YAML"),
        ("a: \ud800", "1:4: the character '\\ud800' cannot be in YAML"),
        ("[" * 1_000_000, "1:101: nested more than 100 levels deep"),
        ("- " * 1_000_000, "1:201: nested more than 100 levels deep"),
        ("&a [*a]", "1:1: a document of a lab file must be a mapping with apiVersion and kind"),
    ],
)
def test_texts_that_are_no_lab(text: str, problem: str) -> None:
    assert output(text) == [problem]


def test_aliases_may_not_explode() -> None:
    env = ", ".join(["&v {name: A, value: b}"] + ["*v"] * 999)
    bomb = f"  containers:\n  - &c {{name: c, command: [x], env: [{env}]}}\n" + "  - *c\n" * 999
    text = GOOD.rpartition("  containers:\n")[0] + bomb
    assert output(text) == ["28:38: aliases repeat far more than the file holds; write out what you mean"]


def test_a_problem_that_breaks_the_yaml_leaves_those_before_it() -> None:
    assert output(changed("address: -> adress:", "{name: pod-b} -> {name: pod-b")) == [
        "9:19: unknown field spec.nodes[0].adress; did you mean address?",
        "25:5: this is not YAML: while parsing a flow mapping, did not find expected ',' or '}'",
    ]


def test_control_characters_of_a_file_do_not_reach_the_terminal() -> None:
    assert output(changed('a-lab -> "\\e[31mred"')) == [f'3:18: metadata.name: "\\x1b[31mred" {LABEL}']


def test_files(tmp_path: Path) -> None:
    def of(path: Path) -> str:
        with pytest.raises(LabFileError) as caught:
            load.load(path)
        return str(caught.value).removeprefix(f"{path}:")

    (tmp_path / "latin1").write_bytes(b"# caf\xc3\xa9\n# caf\xe9\n")
    (tmp_path / "large").write_bytes(b"#" * (documents.LARGEST + 1))
    (tmp_path / "bom").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert of(tmp_path / "absent") == "1:1: there is no such file"
    assert of(tmp_path) == "1:1: the folder has no file whose name ends in .yaml, .yml, .json"
    assert of(tmp_path / "latin1") == "2:6: the file is not UTF-8 text (invalid continuation byte)"
    assert of(tmp_path / "large") == "1:1: the file is larger than 16 MB"
    assert load.load(tmp_path / "bom").name == "a-lab"


def test_reserved_hosts_are_those_of_the_kernel_side() -> None:
    # lab may not import net (they stand on one line of the layering), so each has the names.
    assert validate.RESERVED == names.RESERVED
    assert names.netns("lab", names.pod_host("other", "pod")) == "nslab.lab.other_pod"
