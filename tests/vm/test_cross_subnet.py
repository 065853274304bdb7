"""Two subnets and a router on a kernel that has the ipip driver: the same packets as with the stand-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kernel.wires import BARE_D, CHAIN, IPIP, NODE1, NODE2, NODE3, POD_B, during_a_call, narrowed

if TYPE_CHECKING:
    from nslab.pytest_plugin.running import RunningLab
    from tests.kernel.wires import Packet

pytestmark = pytest.mark.lab("calico-cross-subnet", scope="module")
WIRES = ("node1", "eth0"), ("router", "eth1")


@pytest.mark.parametrize(
    ("mode", "from_d", "from_e"),
    [
        ("IPIPCrossSubnet", BARE_D, (IPIP, NODE3, NODE1)),
        ("IPIP", (IPIP, NODE2, NODE1), (IPIP, NODE3, NODE1)),
    ],
)
def test_the_driver_wraps_what_the_mode_says(lab: RunningLab, mode: str, from_d: Packet, from_e: Packet) -> None:
    lab.set(encapsulation=mode)
    (tunnel,) = lab.node("node1").json("ip", "-d", "-j", "link", "show", "dev", "tunl0")
    assert tunnel["linkinfo"]["info_kind"] == "ipip"
    assert during_a_call(lab, "pod-d", *WIRES) == [{from_d}, set()]
    assert during_a_call(lab, "pod-e", *WIRES) == [{from_e}, {from_e}]
    lab.probe()
    assert lab.diff() == []


def test_without_encapsulation_the_router_drops_it(lab: RunningLab) -> None:
    lab.set(encapsulation="None")
    lab.probe()
    assert not lab.pod("pod-e").ping(POD_B, timeout=0.5)


@pytest.mark.lab(CHAIN)
def test_the_driver_tells_the_pod_how_much_fits_as_the_stand_in_does(lab: RunningLab) -> None:
    ping = narrowed(lab)
    lab.wait(lambda: "Frag needed and DF set (mtu = 1380)" in ping("-M", "do", "-s", "1400"))
    assert " 1 received" in ping("-M", "do", "-s", "1352")
