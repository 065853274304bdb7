"""`nslab dump-node` and `nslab trace --dump` as a person types them."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))

from test_hostile import written

from nslab.app.dumps import script
from nslab.cli.commands import build
from nslab.errors import NslabError

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def called(*words: object) -> Result:
    return CliRunner().invoke(build(["trace", "dump-node"]), [*map(str, words)])


def test_the_script_is_printed_as_it_is() -> None:
    assert called("dump-node").output == script()
    assert script().isascii()


def test_a_journey_as_text_and_as_json(tmp_path: Path) -> None:
    folder = written(tmp_path / "dump")
    (folder / "ipset-save").write_text("create s hash:ip family inet\n")
    done = called("trace", "--dump", folder, "192.0.2.9", "192.0.2.1:80")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("192.0.2.9 to node1 (192.0.2.1:80), tcp\n  node1\n   1  come in at eth0 ")
    assert "\nthe reply leaves node1 by eth0 towards 192.0.2.9, of which there is no dump: DNAT 0" in done.output
    assert "has such a connection already" in done.output
    (journey,) = json.loads(called("trace", "--dump", folder, "192.0.2.9", "192.0.2.1:80", "-o", "json").output)
    assert (journey["end"], journey["lab"], journey["hops"][0]["action"]) == ("left", "node1", "come in")
    refused = called("trace", "--dump", folder, "192.0.2.9", "192.0.2.1:81")
    assert refused.exit_code == 1
    assert "nothing listens there on port 81" in refused.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("lab", "a", "b"), "--dump stands for LAB: nslab trace --dump DIR FROM TO:PORT"),
        (("node1",), "say where it goes: nslab trace --dump DIR node1 TO:PORT"),
        (("node1", "192.0.2.1:80", "--udp", "--icmp"), "a packet is one of them"),
        (("node1", "192.0.2.1:http"), "is not a port"),
        (("node1", "fe80::1"), "is an IPv6 address: traces of IPv6 come later, with dual stack"),
    ],
)
def test_wrong_usage_gets_one_sentence(words: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    done = called("trace", "--dump", written(tmp_path / "dump"), *words)
    assert isinstance(done.exception, NslabError)
    assert sentence in str(done.exception)


def test_without_a_dump_it_takes_a_lab() -> None:
    done = called("trace", "node1", "10.0.0.1:80")
    assert isinstance(done.exception, NslabError)
    assert str(done.exception) == "say what to trace: nslab trace LAB FROM TO[:PORT]"
