"""The whole plan of every shipped lab, as kept in tests/golden.

After a change that is meant: NSLAB_GOLDEN=write scripts/test --quick -k golden, and read the diff.
"""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest

from nslab.admission.load import load
from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.lab.types import Encapsulation, Lab
from nslab.objects.needs import HostFeatures
from nslab.objects.plan import diff
from nslab.objects.script import numbered

ROOT = Path(__file__).parents[3]
LABS = sorted(path.parent.name for path in (ROOT / "labs").glob("*/lab.yaml"))


def variants() -> dict[str, tuple[Lab, HostFeatures]]:
    """Each lab as it is shipped; those with an overlay in every encapsulation, and without the ipip driver."""
    found = {name: (assign_addresses(load(ROOT / "labs" / name / "lab.yaml")), HostFeatures()) for name in LABS}
    for name in ("calico-two-node", "calico-cross-subnet"):
        overlay, _ = found[name]
        for encapsulation in Encapsulation:
            if encapsulation is not overlay.encapsulation:
                found[f"{name}-{encapsulation}"] = replace(overlay, encapsulation=encapsulation), HostFeatures()
    found["calico-two-node-stand-in"] = found["calico-two-node"][0], HostFeatures(ipip=False)
    return found


def text_of(lab: Lab, host: HostFeatures) -> str:
    """The plan's commands, each part headed by who does it."""
    parts = groupby(numbered(diff((), compile_lab(lab, host))), key=lambda part: part[0])
    return "\n".join(f"# {by}\n" + "".join(f"{line}\n" for _, lines in some for line in lines) for by, some in parts)


@pytest.mark.parametrize("name", variants())
def test_the_plan_is_the_one_we_know(name: str) -> None:
    file = ROOT / "tests" / "golden" / f"{name}.txt"
    text = text_of(*variants()[name])
    if os.environ.get("NSLAB_GOLDEN") == "write":
        file.write_text(text)
    assert text == file.read_text()


def test_no_plan_is_kept_that_no_lab_has() -> None:
    assert {file.stem for file in (ROOT / "tests" / "golden").glob("*.txt")} == set(variants())
