"""Settings of a running lab that do not go together: said as they were given, on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from nslab.admission.load import load
from nslab.admission.settings import changed_settings, with_settings
from nslab.errors import LabFileError, UsageError

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


def test_a_scheduler_is_ipvs_own() -> None:
    lab = load(LABS / "services-iptables" / "lab.yaml")
    with pytest.raises(UsageError, match=r"^a scheduler is IPVS's, and proxy-mode iptables has none; add proxy-mode"):
        with_settings(lab, {"scheduler": "lc"})
    assert with_settings(lab, {"scheduler": "lc", "proxy-mode": "ipvs"}).scheduler == "lc"


def test_a_changed_setting_is_shown_with_the_value_before() -> None:
    lab = load(LABS / "services-iptables" / "lab.yaml")
    wanted = {"proxy-mode": "ipvs", "encapsulation": "None", "scheduler": "lc"}
    assert changed_settings(lab, wanted) == ["proxy-mode=ipvs (was iptables)", "encapsulation=None", "scheduler=lc"]
