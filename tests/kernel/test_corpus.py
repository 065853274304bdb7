"""Manifests in the manner of what people bring come up, and every Service answers by its ClusterIP and by name.

The most different of them; with NSLAB_SLOW set, all.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Tests are imported by their path (importlib), so what they test must be on the path itself.
sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import corpus

from tests import prefork
from tests.kernel.labkit import left, nslab

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parents[1] / "data" / "manifests"
DIFFERENT = (
    "coredns.yaml",  # DNS by a stand-in
    "course-ko-service.yaml",  # nodes by name, CRLF
    "helm-postgresql.yaml",  # a StatefulSet, two Services of one selector
    "ingress-nginx.yaml",  # low ports without root, a Job
    "kafka.yaml",  # a Service of one pod alone
    "kubectl-get.yaml",  # a List with status
    "load-balancer.yaml",  # Local, source ranges
    "metallb.yaml",  # a DaemonSet; several namespaces
    "multi-port.yaml",  # TCP and UDP on one number
    "namespaces.yaml",  # the same names
    "online-boutique.yaml",  # twelve Deployments
    "wordpress-mysql",  # a folder
)
TRIED = [file for file in corpus.manifests(DATA) if os.environ.get("NSLAB_SLOW") or file.name in DIFFERENT]


@pytest.fixture(autouse=True)
def _calls_start_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "NSLAB", prefork.nslab())


@pytest.mark.parametrize("manifest", TRIED, ids=lambda manifest: manifest.name)
def test_a_manifest_comes_up_and_answers(manifest: Path, tmp_path: Path, lab_name: Callable[[], str]) -> None:
    name = lab_name()
    file = tmp_path / f"{name}{manifest.suffix}"  # the lab is called so
    (shutil.copytree if manifest.is_dir() else shutil.copy)(manifest, file)
    result = corpus.tried(file, up=True)
    assert (result.why, result.taken, result.up, result.answered) == ("", True, True, True)
    assert result.services
    assert left(name) == []


def test_it_touches_no_lab_that_runs(tmp_path: Path, lab_name: Callable[[], str]) -> None:
    file = tmp_path / f"{lab_name()}.yaml"
    shutil.copy(DATA / "pod.json", file)
    assert nslab("up", file).returncode == 0
    result = corpus.tried(file, up=True)
    assert (result.taken, result.up) == (True, False)
    assert result.why == f"a lab {file.stem} runs already; take it down first: nslab down {file.stem}"
    assert nslab("diff", file.stem).returncode == 0
