"""What a lab file lets through comes out of its script as it went in: the words of one command, and no command of its
own. The script is run by bash, where the programs that it calls are stand-ins that write down what they are told."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import yaml
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from nslab.admission.load import parse
from nslab.cni.chain import Program, Wiring, invocation
from nslab.cni.config import read
from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.errors import LabFileError
from nslab.objects.attachment import Attachment
from nslab.objects.container import Workload
from nslab.objects.ipset import IpSet, SetMember
from nslab.objects.iptables import Chain, Jump
from nslab.objects.links import Veth
from nslab.objects.namespaces import Netns
from nslab.objects.needs import HostFeatures
from nslab.objects.plan import Add, Remove, Replace, Step, diff
from nslab.objects.script import commands, script
from tests.slow import often

if TYPE_CHECKING:
    from nslab.objects.base import KernelObject

TOOLS = ("ip", "bridge", "sysctl", "iptables", "ipset", "mktemp", "mkdir")
# Programs by which a container is joined give what follows to the next; the last one writes itself down.
STAND_INS = {
    "nsenter": '#!/bin/sh\nshift 5\nexec "$@"\n',
    # Not in sh, which passes on no variables but those whose names it would take itself.
    "unshare": f"""#!{sys.executable} -IS
import os, sys
words = sys.argv[1:]
while words[0].startswith("--") and words.pop(0) != "--":
    pass
os.execvp(words[0], words)
""",
    "ip": "#!/bin/sh\ncase $*  in *hostname*) echo ready ;; esac\n",
}
RECORD = "#!/bin/sh\n/bin/cat /proc/$$/cmdline {folder}/end /proc/$$/environ >{folder}/words.$$\nexit\n"


class Ran(NamedTuple):
    """What a container's program was given."""

    argv: list[str]
    env: dict[str, str]


def lab(command: list[str], env: list[tuple[str, str]]) -> str:
    """A lab file with one pod that has these words."""
    container = {"name": "app", "command": command, "env": [{"name": name, "value": value} for name, value in env]}
    documents = [
        {
            "apiVersion": "nslab/v1", "kind": "Lab", "metadata": {"name": "words"},
            "spec": {
                "networks": {"nodes": "192.168.59.0/24", "pods": "20.96.0.0/12", "services": "10.96.0.0/12"},
                "cni": {"plugin": "kubenet"}, "proxy": {"mode": "none"}, "nodes": [{"name": "node1"}],
            },
        },
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod-a"},
            "spec": {"nodeName": "node1", "containers": [container]},
        },
    ]  # fmt: skip
    # In quotes all is text: 0E0 is a number to Kubernetes, though not to PyYAML.
    return yaml.safe_dump_all(documents, default_style='"')


def objects(command: list[str], env: list[tuple[str, str]]) -> tuple[KernelObject, ...]:
    """What is compiled of it."""
    return compile_lab(assign_addresses(parse(lab(command, env), "lab.yaml")), HostFeatures())


def run(text: str, program: str) -> list[Ran]:
    """Let bash do a script, with stand-ins for all that it calls; what became of a container's program."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "end").write_bytes(b"\0--\0")
        for tool, stand_in in {**dict.fromkeys(TOOLS, "#!/bin/sh\n"), **STAND_INS}.items():
            (folder / tool).write_text(stand_in)
            (folder / tool).chmod(0o755)
        if not (folder / program).exists():
            (folder / program).write_text(RECORD.format(folder=folder))
            (folder / program).chmod(0o755)
        for tool in ("env", "sh", "cat"):
            (folder / tool).symlink_to(f"/bin/{tool}")
        (folder / "dev").mkdir()
        done = subprocess.run(
            ["/bin/bash"], input=os.fsencode(f"{text}\nwait\n"), capture_output=True, timeout=20, cwd=folder / "dev",
            env={"PATH": name, "LC_ALL": "C", "PYTHON": "/bin/true"},
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), text
        assert [*(folder / "dev").iterdir()] == [], "something wrote where the script was run"
        return [_ran(file.read_bytes(), f"{name}/") for file in folder.glob("words.*")]


def _ran(output: bytes, folder: str) -> Ran:
    argv, _, environment = output.partition(b"\0\0--\0")
    words = [os.fsdecode(word) for word in argv.split(b"\0")[1:]]
    pairs = (os.fsdecode(pair).partition("=") for pair in environment.split(b"\0") if pair)
    return Ran([words[0].removeprefix(folder), *words[1:]], {name: value for name, _, value in pairs})


CHARACTERS = st.sampled_from([*"\n\t\r\x01\x1b\x7f\x85\u202e\u2066\"'`$\\!#&;|<>(){}[]*?~=%, -ab0"]) | st.characters(
    exclude_characters="\0", exclude_categories=("Cs",)
)
WORDS = st.text(CHARACTERS, max_size=10)
PROGRAMS = st.text(CHARACTERS, min_size=1, max_size=10).filter(
    lambda word: "/" not in word and word not in (".", "..", *TOOLS, *STAND_INS, "env", "sh", "cat")
)
NAMES = st.text(
    st.sampled_from([chr(number) for number in range(0x20, 0x7F) if chr(number) != "="]), min_size=1, max_size=8
)
"""What Kubernetes takes for the name of a variable."""
ENVIRONMENTS = st.lists(st.tuples(NAMES, WORDS), max_size=3)


@given(program=PROGRAMS, arguments=st.lists(WORDS, max_size=3), env=ENVIRONMENTS)
@example("prog", ["a\nb"], [("X;touch hacked;Y", "1")])
@example("prog", [], [("X\ntouch hacked\nY", "1")])
@example("a=b", [], [("-i", "x")])
@example("--help", ["--", "a & b"], [])
@example("$$", ["$(X)", "$$(X)"], [("X", "$$")])
@example("prog & x", ["&"], [("NSLAB", "nslab.other.node1 node")])
@settings(max_examples=often(60), deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
def test_a_script_gives_a_container_its_words_and_runs_nothing_else(
    program: str, arguments: list[str], env: list[tuple[str, str]]
) -> None:
    assume(len(program.encode()) < 200)
    if not all(name and name.isprintable() and "=" not in name for name, _ in env):
        with pytest.raises(LabFileError, match=r"printable ASCII|no program can be given"):
            objects([program, *arguments], env)
        return
    # Kubernetes reads $$ as $, which keeps $(NAME) as it is.
    words = [word.replace("$", "$$") for word in (program, *arguments)]
    want = objects(words, [(name, value.replace("$", "$$")) for name, value in env])
    text = script(diff((), want), "The lab words.", "nslab.words.")
    assert all(line.isprintable() or line.startswith("\t") for line in text.splitlines())
    assert subprocess.run(["bash", "-n"], input=os.fsencode(text), capture_output=True).returncode == 0
    (ran,) = run(text, program)
    assert ran.argv == [program, *arguments]
    expected = {**dict(env), "NSLAB": "nslab.words.pod-a container/app"}
    assert {name: ran.env.get(name) for name in expected} == expected


@given(st.lists(WORDS, min_size=1, max_size=3), st.lists(st.tuples(WORDS, WORDS), max_size=3))
@settings(max_examples=often(60), deadline=None)
def test_no_step_of_a_container_has_more_than_one_line(argv: list[str], env: list[tuple[str, str]]) -> None:
    container = Workload("p", "n", "app", tuple(argv), tuple(env), "/", 0)
    for step in (Add(container), Remove(container), Replace(container, container)):
        assert all(line.isprintable() for line in commands(step))


@pytest.mark.parametrize("name", ["X\ny", "", "A=B", "tab\t", "ümlaut", "nul\0"])
def test_names_of_variables_that_kubernetes_refuses(name: str) -> None:
    with pytest.raises(LabFileError):
        objects(["sh"], [(name, "")])


@pytest.mark.parametrize("word", ["nul\0", "half a character \ud800"])
def test_words_that_no_program_can_be_told(word: str) -> None:
    text = lab(["sh"], []).replace('- "sh"', f'- "sh"\n    - "{word.encode("unicode_escape").decode()}"')
    with pytest.raises(LabFileError):
        parse(text, "lab.yaml")


FOUND = "x;touch y"
STRANGE: list[Step] = [
    Remove(Veth(FOUND, FOUND, "02:00:00:00:00:0a", FOUND, FOUND, "02:00:00:00:00:0b", 1500)),
    Add(Netns(FOUND)),
    Remove(IpSet(FOUND, FOUND.replace(" ", "\t"), "hash:net")),
    Add(SetMember(FOUND, FOUND.replace(" ", "\t"), "1.2.3.4")),
    Add(Chain(FOUND, FOUND, FOUND, (r'-m comment --comment "a$(touch y)\"; \`b\\" ! -s 1.2.3.4 -j $X', "-j x;touch"))),
    Remove(Jump(FOUND, "nat", "OUTPUT", '-m comment --comment "it\\\'s mine" -j A')),
]
"""What a kernel may hold that somebody wrote by hand into a node: `diff` prints how to take it away."""


@pytest.mark.parametrize("step", STRANGE, ids=lambda step: type(step.obj).__name__)
def test_names_that_were_found_are_words(step: Step, tmp_path: Path) -> None:
    for line in commands(step):
        argv = ["bash", "-c", f"printf '%s\\0' {line}"]
        output = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert output.stderr == ""
        words = output.stdout.split("\0")[:-1]
        assert words[0] in ("ip", "bridge")
        assert any(FOUND in word for word in words) or "it's mine" in words


def test_a_rule_is_the_words_that_iptables_restore_reads() -> None:
    rules = commands(STRANGE[4])[1:]
    output = subprocess.run(["bash", "-c", f"printf '%s\\0' {rules[0]}"], capture_output=True, text=True, check=True)
    assert output.stdout.split("\0")[9:-1] == [
        "-m", "comment", "--comment", 'a$(touch y)"; `b\\', "!", "-s", "1.2.3.4", "-j", "$X"
    ]  # fmt: skip


TEXTS = st.text(CHARACTERS, max_size=10)


@given(program=st.text(CHARACTERS.filter(lambda char: char != "/"), min_size=1, max_size=8), shown=TEXTS, folder=TEXTS)
@example(program="a", shown="", folder="/ ip netns exec n /")
@settings(max_examples=often(60), deadline=None)
def test_a_cni_plugin_is_given_its_words(program: str, shown: str, folder: str) -> None:
    network = read('{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "a"}]}')
    wiring = Wiring(network, (Program(f"/opt/{program}"),), "c0ffee", "/run/netns/p", "eth0", f"A={shown}", (folder,))
    obj = Attachment("p", "n", wiring, IPv4Address("20.96.1.2"))
    (line,) = commands(Remove(obj))
    assert line.isprintable()
    assert script((Remove(obj),), "", "n.").splitlines()[-1] == "cni".join(line.rsplit("ip netns exec", 1))
    # `ip` writes down what it is told, and by whom.
    stand_in = r"ip() { printf '%s\0' " + '"$@" "$CNI_ARGS" "$CNI_PATH"; cat; }\n'
    output = subprocess.run(["bash", "-c", f"{stand_in}{line}"], capture_output=True, check=True)
    expected = invocation(wiring, 0, "DEL", obj.address, None)
    words = ["netns", "exec", "n", f"/opt/{program}", expected.env["CNI_ARGS"], folder, f"{expected.stdin}\n"]
    assert (output.stdout.decode(), output.stderr) == ("\0".join(words), b"")
