"""What ipvsadm is told and what it says; tests/vm/test_ipvs.py has the real kernel agree."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nslab.errors import Missing, Refused
from nslab.objects.fake.kernel import FakeKernel
from nslab.objects.ipset import IpSet, ipset_restore
from nslab.objects.ipset import seen as sets_seen
from nslab.objects.ipvs import RealServer, VirtualServer, ipvs_found, ipvsadm_restore, refusals
from nslab.objects.links import Dummy
from nslab.objects.namespaces import Netns
from nslab.objects.needs import HostFeatures, demand, needs
from nslab.objects.plan import Add, Remove, Replace, Step, diff, transactions
from nslab.objects.ports import LinkUp

if TYPE_CHECKING:
    from nslab.objects.base import KernelObject

WEB = VirtualServer("n", "tcp", "10.96.0.1:80", "rr")
ONE, TWO = (RealServer("n", "tcp", "10.96.0.1:80", f"20.111.156.{last}:8080") for last in (7, 8))
DNS = VirtualServer("n", "udp", "10.96.0.10:53", "mh", 10800, "mh-port")
SIGNAL = VirtualServer("n", "sctp", "10.96.0.9:132", "lc")
UP = LinkUp("n", "lo")  # 127.0.0.1 comes with it, and a table of local addresses
ALL = (WEB, ONE, replace(TWO, weight=0), DNS, SIGNAL)


def test_what_goes_in_comes_out() -> None:
    output = ipvsadm_restore([Add(obj) for obj in ALL])
    assert output.splitlines() == [
        "-A -t 10.96.0.1:80 -s rr",
        "-a -t 10.96.0.1:80 -r 20.111.156.7:8080 -m -w 1",
        "-a -t 10.96.0.1:80 -r 20.111.156.8:8080 -m -w 0",
        "-A -u 10.96.0.10:53 -s mh -p 10800 -b mh-port",
        "-A --sctp-service 10.96.0.9:132 -s lc",
    ]
    assert tuple(ipvs_found("n", output)) == ALL


def test_what_is_not_of_a_service_is_passed_over() -> None:
    assert list(ipvs_found("n", "-A -f 1 -s wlc\n-a -f 1 -r 10.0.0.1:0 -g -w 1\n")) == []


REFUSED: list[tuple[tuple[KernelObject, ...], Step, str]] = [
    ((WEB,), Add(WEB), "Service already exists"),
    ((WEB,), Add(replace(WEB, scheduler="sh")), "Service already exists"),
    ((), Remove(WEB), "No such service"),
    ((DNS,), Replace(WEB, replace(WEB, scheduler="sh")), "No such service"),
    ((DNS,), Add(ONE), "Service not defined"),
    ((), Remove(ONE), "Service not defined"),
    ((), Replace(ONE, replace(ONE, weight=0)), "Service not defined"),
    ((WEB, ONE), Add(ONE), "Destination already exists"),
    ((WEB, TWO), Remove(ONE), "No such destination"),
    ((WEB,), Replace(ONE, replace(ONE, weight=0)), "No such destination"),
]


@pytest.mark.parametrize(("have", "step", "reason"), REFUSED)
def test_the_fake_refuses_in_the_words_of_ipvsadm(have: tuple[KernelObject, ...], step: Step, reason: str) -> None:
    kernel = FakeKernel((Netns("n"), UP, *have))
    with pytest.raises(Refused) as refused:
        kernel.run(*transactions((step,)))
    assert refused.value.reason == reason
    assert kernel.state() == (Netns("n"), UP, *have)


def test_it_goes_on_after_a_refusal() -> None:
    kernel = FakeKernel((Netns("n"), UP, WEB))
    steps = (Add(WEB), Add(ONE), Add(ONE), Remove(WEB), Add(TWO), Add(DNS))
    with pytest.raises(Refused) as refused:
        kernel.run(*transactions(steps))
    assert refused.value.line == "ip netns exec n ipvsadm -A -t 10.96.0.1:80 -s rr"
    assert refused.value.done == (steps[1], steps[3], steps[5])
    assert kernel.state() == (Netns("n"), UP, DNS)
    assert list(refusals((WEB,), steps)[0]) == [0, 2, 4]


def test_before_its_first_address_a_namespace_takes_no_real_server() -> None:
    kernel = FakeKernel((Netns("n"), WEB))
    with pytest.raises(Refused, match="address not unicast"):
        kernel.run(*transactions((Add(ONE),)))


def test_without_its_namespace_nothing_is_done() -> None:
    with pytest.raises(Refused, match="No such file or directory"):
        FakeKernel().run(*transactions((Add(WEB),)))


def test_settings_are_changed_in_place_and_real_servers_stay() -> None:
    other = replace(WEB, scheduler="sh")
    assert diff((WEB, ONE), (other, replace(ONE, weight=2))) == (
        Replace(WEB, other),
        Replace(ONE, replace(ONE, weight=2)),
    )
    assert diff((WEB, ONE), ()) == (Remove(WEB),)


def test_what_it_takes() -> None:
    assert {"dummy", "ip_vs"} <= needs((Dummy("n", "kube-ipvs0"), WEB))


SAVED = """\
create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 4096 maxelem 65536 bucketsize 12 initval 0xf2d11cbb
add KUBE-CLUSTER-IP 10.96.0.10,udp:53
create KUBE-NODE-PORT-TCP bitmap:port range 0-65535
add KUBE-NODE-PORT-TCP 31080
create cali40masq-ipam-pools hash:net family inet hashsize 1024 maxelem 1048576 bucketsize 12 initval 0x3fbd9b8a
"""


def test_sets_are_made_and_read_back_with_their_options() -> None:
    known = [IpSet("n", name, "") for name in ("KUBE-CLUSTER-IP", "KUBE-NODE-PORT-TCP", "cali40masq-ipam-pools")]
    sets = [*sets_seen("n", SAVED, known)]
    assert sets[-1] == IpSet("n", "cali40masq-ipam-pools", "hash:net"), "Felix's options go without saying"
    assert ipset_restore([Add(obj) for obj in sets]).splitlines() == [
        # The kernel doubles hashsize when a set gets full, and salts its hashes: nobody said that.
        "create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536",
        "add KUBE-CLUSTER-IP 10.96.0.10,udp:53",
        "create KUBE-NODE-PORT-TCP bitmap:port range 0-65535",
        "add KUBE-NODE-PORT-TCP 31080",
        "create cali40masq-ipam-pools hash:net family inet hashsize 1024 maxelem 1048576",
    ]


def test_ipvs_has_no_stand_in() -> None:
    with pytest.raises(Missing) as missing:
        demand("ipvs", HostFeatures(ip_vs=False))
    for way in ("modprobe -a ip_vs dummy", "--proxy-mode iptables", "nslab vm"):
        assert way in str(missing.value)
    demand("ipvs", HostFeatures())
    demand("iptables", HostFeatures(ip_vs=False))
