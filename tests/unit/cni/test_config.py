"""Configurations of CNI plugins: holes filled, lists and single plugins read, everything wrong said."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nslab.cni.config import WrongConfigError, at_least, filled, read


def listed(**changed: Any) -> str:
    """A list of one plugin, with changes."""
    whole = {"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge", "ipam": {"type": "host-local"}}]}
    return json.dumps({name: value for name, value in (whole | changed).items() if value is not None})


def faults(text: str) -> tuple[str, ...]:
    with pytest.raises(WrongConfigError) as caught:
        read(text)
    return caught.value.faults


def test_a_list_names_its_plugins_and_those_that_they_delegate_to() -> None:
    network = read(listed())
    assert (network.name, network.version, network.types) == ("pods", "1.0.0", ("bridge",))
    assert network.programs == ("bridge", "host-local")
    assert network.checks


def test_a_single_plugin_is_a_list_of_one() -> None:
    network = read('{"cniVersion": "0.3.1", "name": "old", "type": "ptp", "mtu": 1400}')
    assert network.types == ("ptp",)
    assert json.loads(network.plugins[0])["mtu"] == 1400
    assert network.mtu == 1400
    assert not network.checks, "CHECK came with 0.4.0"


def test_without_a_version_it_is_the_first() -> None:
    assert read('{"name": "kubenet", "type": "bridge"}').version == "0.1.0"


@pytest.mark.parametrize("flag", [True, "true"])
def test_check_can_be_turned_off(flag: object) -> None:
    assert not read(listed(disableCheck=flag)).checks


def test_capabilities_are_wanted_or_not() -> None:
    network = read(listed(plugins=[{"type": "portmap", "capabilities": {"portMappings": True, "ips": False}}]))
    assert network.capable("portMappings")
    assert not network.capable("ips")


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("{", ("line 1, column 2: Expecting property name enclosed in double quotes",)),
        ("[]", ("it must be one JSON object",)),
        ("[" * 100_000, ("it is nested too deeply",)),
        (r'{"name": "\ud800"}', ("it has half a character (a surrogate), which is no text",)),
        ("{}", ("name is missing", "it has no plugins (a list), and no type (of a single plugin) either")),
        (
            listed(name="a b", cniVersion="2.0"),
            (
                "name must begin with a letter or digit, and have letters, digits, '_', '.' and '-' alone",
                'cniVersion "2.0" is unknown; there are 0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0',
            ),
        ),
        (
            listed(plugins=[1, {"type": "../sh"}, {"type": "x", "ipam": {"type": "/bin/sh"}, "capabilities": []}]),
            (
                "plugins[0] must be an object",
                "plugins[1].type must name a program, without its directory",
                "plugins[2].ipam.type must name a program, without its directory",
                "plugins[2].capabilities must be an object",
            ),
        ),
        (
            listed(plugins={}),
            ("plugins must be a list", "it has no plugins (a list), and no type (of a single plugin) either"),
        ),
    ],
)
def test_everything_that_is_wrong_is_said(text: str, output: tuple[str, ...]) -> None:
    assert faults(text) == output


def test_holes_are_filled_and_unknown_ones_refused() -> None:
    values = {"node.podCIDR": "20.96.1.0/24", "node.name": "node1"}
    assert filled('{"a": {"b": "{{ node.podCIDR }} {{node.name}}"}}', values) == '{"a": {"b": "20.96.1.0/24 node1"}}'
    with pytest.raises(
        WrongConfigError, match=r"unknown placeholder {{ node\.cidr }}; there are node\.podCIDR, node\.name"
    ):
        filled('"{{ node.cidr }}"', values)
    assert filled("{% for x in y %}", values) == "{% for x in y %}", "holes are all that there is of jinja2"


def test_versions_are_in_order() -> None:
    assert at_least("1.0.0", "0.4.0")
    assert at_least("0.4.0", "0.4.0")
    assert not at_least("0.3.1", "0.4.0")
