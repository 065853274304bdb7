"""Network plugins behind one protocol: nobody outside of their package, and of the lab file's, names one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nslab.admission.load import load
from nslab.compiler.networks import NETWORKS, network
from nslab.lab.find import folder
from nslab.lab.types import Plugin

ROOT = Path(__file__).parents[3] / "nslab"
LABS = {
    "calico": "calico-two-node",
    "kubenet": "kubenet-two-node",
    "flannel": "flannel-two-node",
    "none": "by-hand-cni",
}


def test_every_plugin_has_its_module() -> None:
    assert set(NETWORKS) == {*Plugin}


def test_nobody_else_asks_which_plugin_a_lab_has() -> None:
    own = (ROOT / "lab", ROOT / "compiler" / "networks")
    files = [path for path in ROOT.rglob("*.py") if not any(path.is_relative_to(place) for place in own)]
    asked = re.compile(r"^.*import.*\bPlugin\b|\.plugin (is|in|==)", re.MULTILINE)
    assert [path.name for path in files if asked.search(path.read_text())] == []


@pytest.mark.parametrize(("plugin", "name"), LABS.items())
def test_what_a_picture_shows_is_what_the_network_makes(plugin: str, name: str) -> None:
    lab = load(folder() / name / "lab.yaml")
    assert lab.plugin == plugin
    links = {network(lab).pod_link(pod) for pod in lab.pods}
    assert len(links - {""}) == (0 if network(lab).BY_HAND else len(lab.pods))
