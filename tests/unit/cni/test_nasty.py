"""Whatever a configuration says and a plugin answers: it can be handed on, or one of our own sentences says why not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nslab.cni.chain import Program, Wiring, adding
from nslab.cni.config import WrongConfigError, read
from nslab.cni.result import PluginError, PluginOutput, made_of
from tests.slow import often

quick = settings(max_examples=often(300), deadline=None, database=None)
HUGE = "9" * 5000
TEXTS = st.sampled_from(
    ["", "eth0", "x" * 100_000, "\0", "\x1b[31m", "\x9b", "\u202e", "\ud800", "20.96.1.2/24", "::1/64", "a\nb"]
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**19), 10**19), st.floats(), TEXTS, st.sampled_from(["1.0.0", "0.2.0"])
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3))


def changed(base: dict[str, Any], *names: str) -> st.SearchStrategy[dict[str, Any]]:
    """An object of which some fields, or further ones, have any value."""
    return st.dictionaries(st.sampled_from(names), VALUES, max_size=2).map(lambda changes: base | changes)


PLUGIN = changed({"type": "bridge"}, "type", "ipam", "capabilities", "mtu", "runtimeConfig", "prevResult", "dns", "x")
CONFIG = st.tuples(
    changed({"cniVersion": "1.0.0", "name": "pods"}, "cniVersion", "name", "type", "disableCheck"),
    st.lists(PLUGIN, max_size=2) | VALUES,
).map(lambda both: both[0] | {"plugins": both[1]})
ENTRY = st.dictionaries(st.sampled_from(["address", "gateway", "interface", "version", "name", "sandbox"]), VALUES)
RESULT = st.fixed_dictionaries(
    {},
    optional={
        "cniVersion": VALUES,
        "ips": VALUES | st.lists(ENTRY, max_size=2),
        "interfaces": VALUES | st.lists(ENTRY, max_size=2),
        "ip4": VALUES | st.dictionaries(st.sampled_from(["ip", "gateway", "routes"]), VALUES),
        "routes": VALUES,
        "dns": VALUES,
        "code": VALUES,
        "msg": VALUES,
        "details": VALUES,
    },
)
WIRING = Wiring(
    read('{"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "first"}, {"type": "second"}]}'),
    (Program("/first"), Program("/second")),
    "c0ffee",
    "/run/netns/x",
    "eth0",
    "",
    ("/",),
    "{}",
    asks=True,
)


def is_ours(sentence: str) -> bool:
    """Whether it can be printed, is not endless, and is none of Python's."""
    pythons = re.search("Expected 4 octets|Exceeds the limit|Errno|NoneType|does not appear|object has", sentence)
    return sentence.replace("\n", "").isprintable() and len(sentence) < 20_000 and not pythons


def played(answer: PluginOutput) -> None:
    """Both plugins of a list answer so: each is told UTF-8 text, and what comes of it is a result or a sentence."""
    invocations = adding(WIRING, IPv4Address("20.96.1.2"))
    output = ""
    try:
        order = next(invocations)
        while True:
            json.loads(order.stdin.encode())
            order = invocations.send(answer)
    except StopIteration:
        pass
    except PluginError as refusal:
        output = str(refusal)
    assert is_ours(output)


@quick
@given(CONFIG)
def test_any_configuration(config: dict[str, Any]) -> None:
    try:
        network = read(json.dumps(config))
    except WrongConfigError as wrong:
        faults = wrong.faults
    else:
        faults = ()
        assert 0 <= network.mtu <= 65535
        assert all(program.isprintable() for program in network.programs)
        network.capable("ips")
        programs = (Program("/x"),) * len(network.programs)
        json.loads(next(adding(replace(WIRING, network=network, programs=programs), None)).stdin.encode())
    assert all(is_ours(fault) for fault in faults)


@quick
@given(RESULT, st.sampled_from([0, 1, -9]))
def test_any_answer(result: dict[str, Any], status: int) -> None:
    played(PluginOutput(status, json.dumps(result), "\x1b[31m\u202e"))


@pytest.mark.parametrize(
    ("value", "output"),
    [
        (HUGE, "a number in it has 5000 digits"),
        (f"-{HUGE}", "a number in it has 5000 digits"),
        ("NaN", "NaN is no number in JSON"),
        ("-Infinity", "-Infinity is no number in JSON"),
        ("[" * 500 + "]" * 500, "it is nested too deeply"),
        ("[" * 100_000 + "]" * 100_000, "it is nested too deeply"),
        ('"\\ud800"', "it has half a character (a surrogate), which is no text"),
    ],
    ids=["digits", "minus", "nan", "infinity", "deep", "deeper", "surrogate"],
)
def test_what_is_no_json_is_said_in_our_words(value: str, output: str) -> None:
    config = f'{{"cniVersion": "1.0.0", "name": "n", "type": "bridge", "mtu": {value}}}'
    with pytest.raises(WrongConfigError) as wrong:
        read(config)
    assert wrong.value.faults == (output,)
    played(PluginOutput(0, f'{{"ips": [{{"address": "20.96.1.2/24", "x": {value}}}]}}'))
    played(PluginOutput(1, f'{{"code": {value}, "msg": "no"}}'))


@pytest.mark.parametrize("value", [5, True, [], {}, "x", "20.96.1.2/33", "1.2.3", 1.5, None, ""])
def test_an_address_is_text(value: object) -> None:
    result = {"ips": [{"address": value, "gateway": "20.96.1.1"}]}
    with pytest.raises(ValueError, match=r"^.{1,60} is not an IPv4 address with its prefix length$"):
        made_of(result)
    if value:
        with pytest.raises(ValueError, match=r"^.{1,60} is not an IPv4 address of a gateway$"):
            made_of({"ips": [{"address": "20.96.1.2/24", "gateway": value}]})
