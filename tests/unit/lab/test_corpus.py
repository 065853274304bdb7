"""Manifests in the manner of what people bring (tests/data/manifests), and scripts/corpus, which tries them."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

# Tests are imported by their path (importlib), so what they test must be on the path itself.
sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

import corpus

from nslab.admission.load import load, load_with_warnings, parse_stored
from nslab.admission.manifest import read_manifest
from nslab.api.documents import sources_of
from nslab.app.listener import QUIET
from nslab.app.plan import plan
from nslab.compiler.endpoints import resolve
from nslab.lab.dump import dump
from nslab.objects.script import script
from nslab.proxy.model import Proxy
from nslab.proxy.render import render

DATA = Path(__file__).parents[2] / "data" / "manifests"
MANIFESTS = [*corpus.manifests(DATA)]
NODE = Proxy("node1", ("192.168.59.22",), mode="iptables", cluster_cidr="20.96.0.0/12", service_cidr="10.96.0.0/12")
LARGE = ("online-boutique.yaml", "bookinfo.yaml", "kafka.yaml")
SECONDS = 0.4
"""In which an application of forty documents is to be read, and rendered."""


def test_there_are_enough_and_of_a_size_that_a_person_reads() -> None:
    assert len(MANIFESTS) >= 60
    sizes = {file.name: sum(source.text.count("\n") for source in sources_of(file)) for file in MANIFESTS}
    assert {name: size for name, size in sizes.items() if not 10 < size <= 210} == {}


@pytest.mark.parametrize("file", MANIFESTS, ids=lambda file: file.name)
def test_a_manifest_is_taken(file: Path) -> None:
    lab = load(file)
    assert lab.name == file.name.partition(".")[0] or lab.name.startswith("yaml-1")
    assert script(plan(lab, QUIET), "", "x")
    assert parse_stored(dump(lab), "kept") == lab
    made = read_manifest(sources_of(file))
    assert {service.name for service in made.services} <= {service.name for service in lab.services}
    assert render(resolve(made), NODE)


def test_an_application_of_forty_documents_is_read_and_rendered_at_once(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_text("\n---\n".join((DATA / name).read_text() for name in LARGE))
    assert file.read_text().count("\nkind: ") + file.read_text().count(", kind: ") >= 40
    load(file)  # the schema is loaded once
    began = time.process_time()
    load_with_warnings(file)
    render(resolve(read_manifest(sources_of(file))), NODE)
    assert time.process_time() - began < SECONDS


def test_what_is_not_taken_is_named_with_the_first_line_of_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "good.yaml").write_text((DATA / "hello-app.yaml").read_text())
    (tmp_path / "bad.yaml").write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80, prt: 81}]}\n"
    )
    (tmp_path / "notes.txt").write_text("no manifest")
    (tmp_path / "empty").mkdir()
    assert corpus.main([str(tmp_path)]) == 1
    line, counts = capsys.readouterr().out.splitlines()
    assert line == f"bad.yaml: render: {tmp_path}/bad.yaml:4:27: unknown field spec.ports[0].prt; did you mean port?"
    assert counts == "2 manifests: 1 taken"
    (tmp_path / "bad.yaml").unlink()
    assert corpus.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out == "1 manifests: 1 taken\n"
