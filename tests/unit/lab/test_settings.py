"""Settings of a running lab that do not go together: said as they were given, on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from nslab.admission.load import load
from nslab.admission.settings import changed_settings, setting, with_settings
from nslab.errors import LabFileError, UsageError
from nslab.lab.dump import dump

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


def test_a_dataplane_is_calicos() -> None:
    lab = load(LABS / "calico-two-node" / "lab.yaml")
    assert changed_settings(lab, {"dataplane": "nftables"}) == ["dataplane=nftables (was iptables)"]
    changed = with_settings(lab, {"dataplane": "nftables"})
    assert (changed.dataplane, with_settings(changed, {}).dataplane) == ("nftables", "nftables")
    with pytest.raises(UsageError, match=r"^plugin kubenet has no dataplane; a dataplane is calico's$"):
        with_settings(load(LABS / "kubenet-two-node" / "lab.yaml"), {"dataplane": "nftables"})
    with pytest.raises(UsageError, match=r"^Calico's dataplane nftables does not go with proxy mode ipvs; "):
        with_settings(lab, {"dataplane": "nftables", "proxy-mode": "ipvs"})


def test_what_stands_in_the_file_is_changed_there() -> None:
    for name in ("directRouting", "plugin", "dns"):
        text = f"^{name} is no setting of a running lab: change it in the lab file, then nslab up FILE$"
        with pytest.raises(UsageError, match=text):
            setting(f"{name}=true")
    with pytest.raises(UsageError, match=r"^'podCIDR=1' is not a setting; settings are proxy-mode=…, "):
        setting("podCIDR=1")


def test_a_changed_setting_is_shown_with_the_value_before() -> None:
    lab = load(LABS / "services-iptables" / "lab.yaml")
    wanted = {"proxy-mode": "ipvs", "encapsulation": "None", "scheduler": "lc"}
    assert changed_settings(lab, wanted) == ["proxy-mode=ipvs (was iptables)", "encapsulation=None", "scheduler=lc"]


def test_flannel_has_backends_in_place_of_encapsulations() -> None:
    lab = load(LABS / "flannel-two-node" / "lab.yaml")
    assert changed_settings(lab, {"backend": "host-gw"}) == ["backend=host-gw (was vxlan)"]
    changed = with_settings(lab, {"backend": "host-gw"})
    assert (changed.encapsulation, changed_settings(changed, {"backend": "host-gw"})) == ("None", ["backend=host-gw"])
    with pytest.raises(UsageError, match=r"^plugin flannel has no encapsulation; it has a backend in its place$"):
        with_settings(lab, {"encapsulation": "VXLAN"})
    with pytest.raises(UsageError, match=r"^plugin calico has no backend; a backend is flannel's$"):
        with_settings(load(LABS / "calico-two-node" / "lab.yaml"), {"backend": "vxlan"})


def test_direct_routing_is_kept_in_what_is_stored(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    text = (LABS / "flannel-two-node" / "lab.yaml").read_text()
    file.write_text(text.replace("backend: vxlan", "backend: vxlan, directRouting: true"))
    lab = load(file)
    file.write_text(dump(lab))
    assert (lab.encapsulation, load(file).encapsulation) == ("VXLANCrossSubnet", "VXLANCrossSubnet")
    assert with_settings(lab, {"backend": "vxlan"}).encapsulation == "VXLANCrossSubnet"


def test_host_gw_needs_all_nodes_in_one_subnet(tmp_path: Path) -> None:
    file = tmp_path / "lab.yaml"
    text = (LABS / "calico-cross-subnet" / "lab.yaml").read_text()
    plugin = next(line for line in text.splitlines() if "cni:" in line)
    file.write_text(text.replace(plugin, "  cni: {plugin: flannel, backend: host-gw}"))
    with pytest.raises(LabFileError, match="routes of backend: host-gw go from node to node"):
        load(file)
    file.write_text(text.replace(plugin, "  cni: {plugin: flannel}"))
    assert load(file).encapsulation == "VXLAN"
