"""Calico's dataplane nftables beside kube-proxy's rules: both are right, and each is changed without the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nslab.app.probe import probe
from nslab.app.trace import trace
from nslab.trace.hops import End
from tests.kernel.labkit import OwnLab, nslab

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path_factory.mktemp("dataplane"), "services-iptables")
    made.edit("encapsulation: None", "encapsulation: IPIP, dataplane: nftables")
    made.up()
    yield made
    made.down()


def change(lab: OwnLab, setting: str) -> str:
    """What `nslab set` prints."""
    done = nslab("set", lab.name, setting)
    assert (done.returncode, lab.differences()) == (0, []), done.stderr
    return done.stdout


def of_felix(lab: OwnLab) -> tuple[bool, bool]:
    """Whether a node's kernel has anything of Felix in nftables, and in iptables or ipset."""
    tables, rest = lab.sh("node1", "nft list tables"), lab.sh("node1", "iptables-save; ipset list -n")
    return "calico" in tables, "cali" in rest


@pytest.mark.parametrize("mode", ["nftables", "iptables"])
def test_services_are_right_in_kube_proxys_modes(lab: OwnLab, mode: str) -> None:
    """kube-proxy masquerades at node ports, and pods that meet themselves; Felix what leaves for another network."""
    change(lab, f"proxy-mode={mode}")
    assert probe(lab.name).good
    for node in ("node1", "node2"):
        journey = trace(lab.name, "client", f"{node}:31080")
        assert (journey.end, journey.deviation) == (End.DELIVERED, "")
    assert of_felix(lab) == (True, False)


def test_it_is_set_while_the_lab_runs(lab: OwnLab) -> None:
    for dataplane, there in (("iptables", (False, True)), ("nftables", (True, False))):
        change(lab, f"dataplane={dataplane}")
        assert of_felix(lab) == there
        assert lab.talks("box-1", "20.109.131.3")


def test_nft_takes_what_is_rendered(lab: OwnLab) -> None:
    """In a namespace that has none of it."""
    done = nslab("render", "-f", lab.file, "--node", "node1", "--policy")
    rules = lab.file.with_suffix(".nft")
    rules.write_text(done.stdout)
    lab.sh("client", f"nft -c -f {rules}")
    assert lab.sh("client", "nft list tables") == ""
