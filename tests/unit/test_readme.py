"""The README is held to the program: each verb, lab, mode, setting and field is in it, each shown file is right."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import typer.main

from nslab.cli.app import VERBS, app
from nslab.lab.find import names
from nslab.lab.load import parse
from nslab.lab.manifest import parse_manifest
from nslab.lab.settings import SETTINGS
from nslab.lab.stream import ACTED_ON, lab_schema
from nslab.lab.types import ProxyMode

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FILES = dict(re.findall(r"^```yaml\n# (\S+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL))
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
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def section(title: str) -> str:
    """What stands under a heading."""
    found = README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert found, f"there is no section {title}"
    return found


def test_each_verb_is_documented() -> None:
    rows = re.findall(r"^\| `nslab (\w+)", section("Commands"), re.MULTILINE)
    assert rows == [verb for verb, _ in VERBS]


def test_each_lab_is_documented() -> None:
    rows = re.findall(r"^\| (\d+) \| `([a-z0-9-]+)` \|", section("Labs"), re.MULTILINE)
    assert rows == [(str(number), name) for number, name in enumerate(names(), 1)]
    for name in names():
        assert f"[en](labs/{name}/README.md) [ko](labs/{name}/README.ko.md)" in section("Labs")


@pytest.mark.parametrize(("verb", "function"), VERBS, ids=lambda value: str(value)[:12])
def test_each_verb_has_an_example_in_its_help_that_it_understands(verb: str, function: object) -> None:
    line = re.search(rf"Example: nslab {verb}(.*?)\n *(?:\n|$)", f"{function.__doc__}\n", re.DOTALL)
    assert line, verb
    words = re.split(r" [>|] ", line[1])[0].split()
    context = COMMANDS[verb].make_context(verb, words, resilient_parsing=False)
    assert isinstance(context, click.Context)


def test_each_example_names_what_there_is() -> None:
    for verb, function in VERBS:
        example = (function.__doc__ or "").partition("Example: ")[2].partition("\n\n")[0]
        for word in re.findall(r"\b(?:services|calico|kubenet|pause)-[a-z-]+", example):
            assert word in names(), verb


def test_commands_shown_are_verbs() -> None:
    shown = re.findall(r"^(?:\$ )?(?:scripts/)?nslab (\S+)", README, re.MULTILINE)
    assert len(shown) > 30
    assert set(shown) <= {verb for verb, _ in VERBS}


def test_labs_shown_are_there_or_written_in_it() -> None:
    verbs = "up|probe|exec|set|diff|ps|logs|apply|scale|delete"
    shown = set(re.findall(rf"^(?:\$ )?(?:scripts/)?nslab (?:{verbs}) ([a-z-]+)", README, re.MULTILINE))
    assert shown >= {"calico-two-node", "services-iptables", "external-traffic", "mine"}
    assert shown - {"odd"} <= {*names(), "mine"}


def test_each_mode_and_setting_is_documented() -> None:
    text = section("Services")
    assert [mode for mode in ProxyMode if not re.search(rf"(\*\*|`){mode}(\*\*|`)", text)] == []
    assert [name for name in SETTINGS if f"`{name}`" not in text] == []


def test_each_exit_code_in_help_is_documented() -> None:
    help_text = " ".join((typer.main.get_command(app).epilog or "").split())
    shown = " ".join(section("Commands").split())
    codes = re.findall(r"(\d [^;.]+)[;.]", help_text)
    assert len(codes) == 6
    assert [code for code in codes if code not in shown] == []


def test_each_field_of_a_lab_is_documented() -> None:
    text = section("A lab of your own")
    known = {*re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))}
    assert [name for name in fields(lab_schema()) if name not in known] == []
    missing = [value for value in choices(lab_schema()) if not re.search(rf"\b{value}\b", text)]
    assert missing == []
    for kind in ("Lab", *ACTED_ON):
        assert kind in text


@pytest.mark.parametrize("kind", FIELDS)
def test_each_field_that_is_acted_on_is_documented(kind: str) -> None:
    text = section("A lab of your own")
    known = {*re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))}
    assert [name for name in FIELDS[kind].split() if name not in known] == []


def test_files_shown_are_right() -> None:
    assert sorted(FILES) == ["api.yaml", "mine.yaml", "web.yaml"]
    assert parse(FILES["mine.yaml"], "mine.yaml").name == "mine"
    for name in ("api.yaml", "web.yaml"):
        assert parse_manifest(FILES[name], name).services


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


def test_the_changelog_is_last_and_has_each_release() -> None:
    assert re.findall(r"^## (.*)", README, re.MULTILINE)[-3:] == ["Security", "Contributing", "Changelog"]
    released = re.findall(
        r"^### (\d+\.\d+\.\d+), (\d{4}-\d\d-\d\d|not yet released)$", section("Changelog"), re.MULTILINE
    )
    numbers = [tuple(map(int, version.split("."))) for version, _ in released]
    assert numbers == sorted(numbers, reverse=True)
    assert [day for _, day in released[1:] if day == "not yet released"] == []
    tags = subprocess.run(["git", "-C", ROOT, "tag", "--list", "v*"], capture_output=True, text=True).stdout.split()
    dated = {version for version, day in released if day != "not yet released"}
    assert {tag.removeprefix("v") for tag in tags} <= dated


def test_folders_that_are_named_are_there() -> None:
    rows = re.findall(r"^\| (`.*?`) \|", section("Contributing"), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([a-z/]+)(?:/NAME)?`", row)]
    assert len(named) > 12
    assert [name for name in named if not (ROOT / name).is_dir()] == []
    parts = {path.parent.name for path in (ROOT / "nslab").glob("*/__init__.py")}
    assert parts <= {name.removeprefix("nslab/") for name in named}


def test_what_needs_no_root_is_said_once() -> None:
    from nslab.cli.manual import DESCRIPTION

    rootless = re.search(r"takes root; (.*) do\s+not", DESCRIPTION, re.DOTALL)
    assert rootless
    said = " ".join(section("Security").split()).partition(" need no root")[0]
    for verb in ("labs", "show", "plan", "render", "schema", "vm"):
        assert verb in rootless[1]
        assert f"`{verb}`" in said
