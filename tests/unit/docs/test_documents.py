"""README and documents are held to the program: each verb, option, lab, mode, setting and field is there as it is."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import click
import pytest

from nslab.admission.load import parse
from nslab.admission.manifest import parse_manifest
from nslab.admission.settings import SETTINGS
from nslab.cli.commands import tree
from nslab.cli.docs import topics
from nslab.cli.reference import HEADING, reference
from nslab.cli.verbs import VERBS
from nslab.lab.find import names
from nslab.lab.stream import ACTED_ON, lab_schema
from nslab.lab.types import ProxyMode
from tests.documents import EXEMPT, FILES, ROOT, TEXTS, fences, files, section

if TYPE_CHECKING:
    from collections.abc import Iterator

TREE = tree()
COMMANDS = TREE.commands
FUNCTIONS = [(verb, command.callback) for verb, command in COMMANDS.items()]
ALL = "\n".join(TEXTS.values())
RUN = {"sh", "console"}
"""Fences whose commands are run, by tests/kernel/test_docs.py."""
FIELDS = {
    "Pod": "nodeName hostname containers shareProcessNamespace restartPolicy image command args env workingDir ports "
    "containerPort protocol hostPort readinessProbe livenessProbe httpGet tcpSocket path port initialDelaySeconds "
    "periodSeconds timeoutSeconds successThreshold failureThreshold securityContext runAsUser runAsGroup runAsNonRoot "
    "supplementalGroups fsGroup capabilities add drop readOnlyRootFilesystem privileged resources limits memory "
    "ephemeral-storage",
    "Service": "type clusterIP clusterIPs selector ports port protocol targetPort nodePort sessionAffinity "
    "sessionAffinityConfig timeoutSeconds externalTrafficPolicy internalTrafficPolicy externalIPs "
    "loadBalancerSourceRanges healthCheckNodePort externalName publishNotReadyAddresses ipFamilies ipFamilyPolicy "
    "allocateLoadBalancerNodePorts",
    "EndpointSlice": "addressType endpoints addresses conditions ready serving terminating nodeName hostname targetRef "
    "hints forZones ports",
    "Deployment": "replicas selector matchLabels template",
}
"""What views are made of, but for metadata."""
SHOWN = {"yaml", "python", "text"}
"""Fences that are files, code (run there as well), and what is no command."""


def test_the_readme_is_short() -> None:
    assert len(TEXTS["README"].encode()) <= 8192


def test_the_readme_leads_to_every_document() -> None:
    rows = re.findall(r"^\| \[(.*?)\]\((.*?)\) \|", section("README", "Documents"), re.MULTILINE)
    assert sorted(rows) == [(topic, f"nslab/docs/{topic}.md") for topic in topics()]
    assert [topic for topic, _ in rows][-3:] == ["security", "contributing", "changelog"]


def test_the_readme_has_the_two_commands() -> None:
    assert "```sh\nscripts/nslab up calico-two-node\nscripts/test\n```" in section("README", "Two commands")
    for script in ("nslab", "test"):
        assert os.access(ROOT / "scripts" / script, os.X_OK)


@pytest.mark.parametrize("topic", TEXTS)
def test_each_link_leads_somewhere(topic: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```$", "", TEXTS[topic], flags=re.MULTILINE | re.DOTALL))
    inside = [link.partition("#")[0] for link in links if "://" not in link]
    assert [link for link in inside if not (FILES[topic].parent / link).exists()] == []
    assert [link for link in links if "#" in link] == [], "headings are not looked for"


@pytest.mark.parametrize("topic", TEXTS)
def test_each_fence_is_run_or_is_no_command(topic: str) -> None:
    text = TEXTS[topic]
    assert {fence.kind for fence in fences(text)} <= RUN | SHOWN
    assert text.count("\n```") == 2 * len(fences(text))
    for kind, block in fences(text):
        if kind == "console":
            assert block.startswith("$ ")
        if kind == "text":
            assert "\n$ " not in f"\n{block}"
        if kind == "yaml":
            assert re.match(r"# [a-z]+\.yaml\n", block)
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"\n\n {4}.*", outside) == [], "no fence, so nobody runs it"


def test_what_is_exempt_is_shown() -> None:
    lines = {
        line.removeprefix("$ ") for text in TEXTS.values() for _, block in fences(text) for line in block.splitlines()
    }
    assert [line for line in EXEMPT if line not in lines] == []
    assert all(EXEMPT.values())


def test_each_verb_is_documented() -> None:
    rows = re.findall(r"^\| `nslab ([\w-]+)", TEXTS["commands"], re.MULTILINE)
    assert rows == [*VERBS]


def test_each_option_is_documented_as_help_has_it() -> None:
    before, _, shown = TEXTS["commands"].partition(HEADING)
    made = reference(TREE)
    if os.environ.get("NSLAB_GOLDEN") == "write":
        FILES["commands"].write_text(before + made)
    else:
        assert HEADING + shown == made, "NSLAB_GOLDEN=write scripts/test tests/unit/docs writes it anew"


def test_all_that_a_command_can_run_in_is_named() -> None:
    """As in the table, whose row of `shell` says that it is the same."""
    (row,) = re.findall(r"^\| `nslab exec .*? \| .*? inside (.*?) \(`-c`\) \|$", TEXTS["commands"], re.MULTILINE)
    parts = re.split(", | or ", row)
    assert {"a router", "the switch"} <= {*parts}
    for verb in ("exec", "shell"):
        output = re.findall("inside (.*?)[.;]", " ".join(str(COMMANDS[verb].help).split()))[0]
        assert re.split(", or |, ", output) == parts


def test_logs_are_of_pods() -> None:
    (host, *_) = COMMANDS["logs"].params
    assert (host.make_metavar(), host.help) == ("LAB/POD", "A pod; with -l, the lab.")


@pytest.mark.parametrize("verb", COMMANDS)
def test_the_reference_lacks_no_option(verb: str) -> None:
    chapter = reference(TREE).partition(f"\n### `nslab {verb} ")[2].partition("\n### ")[0]
    options = [parameter for parameter in COMMANDS[verb].params if isinstance(parameter, click.Option)]
    flags = [flag for option in options for flag in (*option.opts, *option.secondary_opts)]
    assert [flag for flag in flags if not re.search(rf"^- `[^`]*(?<![\w-]){flag}[ ,`]", chapter, re.MULTILINE)] == []


def test_options_in_the_table_are_options_of_the_verb() -> None:
    for verb, row in re.findall(r"^\| `nslab ([\w-]+)(.*)", TEXTS["commands"], re.MULTILINE):
        known = {flag for option in COMMANDS[verb].params for flag in (*option.opts, *option.secondary_opts)}
        assert {*re.findall(r"(?<![\w-])--?[a-z][a-z-]*", row)} <= known


@pytest.mark.parametrize("topic", ["README", "labs"])
def test_each_lab_is_documented(topic: str) -> None:
    rows = re.findall(r"^\| (\d+) \| \[?`([a-z0-9-]+)`", TEXTS[topic], re.MULTILINE)
    assert rows == [(str(number), name) for number, name in enumerate(names(), 1)]
    links = {(FILES[topic].parent / link).resolve() for link in re.findall(r"\]\((\S+README\S*)\)", TEXTS[topic])}
    guides = ("README.md",) if topic == "README" else ("README.md", "README.ko.md")
    assert links == {ROOT / "labs" / name / guide for name in names() for guide in guides}


@pytest.mark.parametrize(("verb", "function"), FUNCTIONS, ids=lambda value: str(value)[:12])
def test_each_verb_has_an_example_in_its_help_that_it_understands(verb: str, function: object) -> None:
    line = re.search(rf"Example: nslab {verb}(.*?)\n *(?:\n|$)", f"{function.__doc__}\n", re.DOTALL)
    assert line, verb
    words = re.split(r" [>|] ", line[1])[0].split()
    context = COMMANDS[verb].make_context(verb, words, resilient_parsing=False)
    assert isinstance(context, click.Context)


def test_each_example_names_what_there_is() -> None:
    for verb, function in FUNCTIONS:
        example = (function.__doc__ or "").partition("Example: ")[2].partition("\n\n")[0]
        for word in re.findall(r"\b(?:services|calico|kubenet|pause)-[a-z-]+", example):
            assert word in names(), verb


def test_commands_shown_are_verbs() -> None:
    blocks = "\n".join(block for text in TEXTS.values() for kind, block in fences(text) if kind in RUN)
    shown = re.findall(r"^(?:\$ )?(?:scripts/)?nslab (\S+)", blocks, re.MULTILINE)
    assert len(shown) > 30
    assert set(shown) <= {*VERBS}


def test_labs_shown_are_there_or_written_in_it() -> None:
    verbs = "up|probe|exec|set|diff|ps|logs|apply|scale|delete"
    shown = set(re.findall(rf"^(?:\$ )?(?:scripts/)?nslab (?:{verbs}) ([a-z-]+)", ALL, re.MULTILINE))
    assert shown >= {"calico-two-node", "services-iptables", "external-traffic", "mine"}
    assert shown - {"odd"} <= {*names(), "mine"}


def test_each_mode_and_setting_is_documented() -> None:
    text = TEXTS["services"]
    assert [mode for mode in ProxyMode if not re.search(rf"(\*\*|`){mode}(\*\*|`)", text)] == []
    assert [name for name in SETTINGS if f"`{name}`" not in text] == []


def test_each_exit_code_in_help_is_documented() -> None:
    help_text = " ".join((TREE.epilog or "").split())
    shown = " ".join(section("commands", "Exit codes").split())
    codes = re.findall(r"(\d [^;.]+)[;.]", help_text)
    assert len(codes) == 6
    assert [code for code in codes if code not in shown] == []


def test_each_field_of_a_lab_is_documented() -> None:
    table = section("lab-file", "Fields")
    known = {*re.findall(r"`([^`]+)`", table)}
    assert [name for name in fields(lab_schema()) if name not in known] == []
    assert [value for value in choices(lab_schema()) if not re.search(rf"\b{value}\b", TEXTS["lab-file"])] == []
    assert [kind for kind in ("Lab", *ACTED_ON) if kind not in table] == []


@pytest.mark.parametrize("kind", FIELDS)
def test_each_field_that_is_acted_on_is_documented(kind: str) -> None:
    known = {*re.findall(r"`([^`]+)`", section("lab-file", "Fields"))}
    assert [name for name in FIELDS[kind].split() if name not in known] == []


def test_files_shown_are_right() -> None:
    shown = {name: content for text in TEXTS.values() for name, content in files(text).items()}
    assert sorted(shown) == ["api.yaml", "mine.yaml", "web.yaml"]
    assert parse(shown["mine.yaml"], "mine.yaml").name == "mine"
    for name in ("api.yaml", "web.yaml"):
        assert parse_manifest(shown[name], name).services


def fields(schema: dict[str, Any]) -> Iterator[str]:
    """The names that a file may use, but for what nslab writes itself, or what every document has."""
    for name, field in schema.get("properties", {}).items():
        if not field["description"].startswith(("Written by nslab", "Always")):
            yield name
            yield from fields(field)
    if "items" in schema:
        yield from fields(schema["items"])


def choices(schema: dict[str, Any]) -> Iterator[str]:
    """The words that a file chooses from."""
    yield from schema.get("enum", ())
    for field in (*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])):
        yield from choices(field)


def test_the_changelog_has_each_release() -> None:
    headings = r"^## (\d+\.\d+\.\d+), (\d{4}-\d\d-\d\d|not yet released)$"
    released = re.findall(headings, TEXTS["changelog"], re.MULTILINE)
    assert released
    numbers = [tuple(map(int, version.split("."))) for version, _ in released]
    assert numbers == sorted(numbers, reverse=True)
    assert [day for _, day in released[1:] if day == "not yet released"] == []
    tags = subprocess.run(["git", "-C", ROOT, "tag", "--list", "v*"], capture_output=True, text=True).stdout.split()
    dated = {version for version, day in released if day != "not yet released"}
    assert {tag.removeprefix("v") for tag in tags} <= dated


def test_folders_that_are_named_are_there() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", TEXTS["contributing"], re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([a-z/_]+)(?:/NAME)?`", row)]
    assert len(named) > 12
    assert [name for name in named if not (ROOT / name).is_dir()] == []
    parts = {path.parent.name for path in (ROOT / "nslab").glob("*/__init__.py")}
    assert parts <= {name.removeprefix("nslab/") for name in named}


def test_what_needs_no_root_is_said_once() -> None:
    from nslab.cli.manual import DESCRIPTION

    rootless = re.search(r"takes root; (.*) do\s+not", DESCRIPTION, re.DOTALL)
    assert rootless
    output = " ".join(TEXTS["security"].split()).partition(" need no root")[0]
    for verb in ("labs", "show", "plan", "render", "schema", "docs", "vm"):
        assert verb in rootless[1]
        assert f"`{verb}`" in output
