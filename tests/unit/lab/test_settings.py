"""Settings of a running lab that do not go together: said as they were given, on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from nslab.errors import LabFileError, UsageError
from nslab.lab.load import load
from nslab.lab.settings import with_settings

LABS = Path(__file__).parents[3] / "labs"


def test_a_place_that_nobody_has_is_not_named() -> None:
    lab = load(LABS / "kubenet-two-node" / "lab.yaml")
    with pytest.raises(UsageError) as refused:
        with_settings(lab, {"encapsulation": "VXLAN"})
    assert not isinstance(refused.value, LabFileError)
    assert str(refused.value).startswith("kubenet has no encapsulation")


def test_what_goes_together_is_taken() -> None:
    lab = load(LABS / "calico-two-node" / "lab.yaml")
    assert with_settings(lab, {"encapsulation": "VXLAN"}).encapsulation == "VXLAN"
