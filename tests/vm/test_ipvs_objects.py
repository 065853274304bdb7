"""Virtual and real servers as kernel objects: what the real kernel refuses, what is read back, and the same by hand."""

from __future__ import annotations

import random
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nslab.compiler.items import objects
from nslab.errors import Refused
from nslab.linux.netns import Namespaces
from nslab.linux.observe.objects import observe
from nslab.objects.fake.kernel import FakeKernel
from nslab.objects.ipset import IpSet
from nslab.objects.ipvs import RealServer, VirtualServer, ipvs_found
from nslab.objects.links import Dummy
from nslab.objects.namespaces import Netns
from nslab.objects.plan import Add, Remove, Replace, diff, invert, transactions
from nslab.objects.ports import LinkUp
from nslab.objects.script import commands
from nslab.proxy import ipvs
from nslab.proxy.mode import whole
from tests.kernel.dumps import real
from tests.vm.ipvsbench import PROXY, web

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.objects.base import KernelObject, State
    from nslab.objects.plan import Plan, Step
    from tests.kernel.dumps import Real

LAB = "ipvsobjects"
NODE, OTHER = (f"nslab.{LAB}.{host}" for host in ("node1", "node2"))
SERVICES = (
    web("20.111.156.7", "20.109.131.3", node_port=30080, affinity=60),
    replace(web("20.111.156.7", protocol="SCTP", node_port=30083), name="sctp", cluster_ip="10.96.0.5"),
    replace(web(protocol="UDP"), name="udp", cluster_ip="10.96.0.4", external_ips=("203.0.113.1",)),
)


@pytest.fixture
def kernel() -> Iterator[Real]:
    with real(LAB) as kernel:
        for ns in (NODE, OTHER):
            do(kernel, (Add(Netns(ns)),))
        yield kernel


def do(kernel: Real | FakeKernel, plan: Plan) -> None:
    for unit in transactions(plan):
        kernel.run(unit)


def output(*argv: str, ns: str = NODE) -> str:
    return subprocess.run(["ip", "netns", "exec", ns, *argv], capture_output=True, text=True, check=True).stdout


def state(ns: str = NODE) -> State:
    return (*objects(ns, {"kube-proxy": whole(ipvs, SERVICES, PROXY)}),)


def refusal(kernel: Real | FakeKernel, plan: Plan) -> tuple[object, ...]:
    (unit,) = transactions(plan)
    try:
        kernel.run(unit)
    except Refused as refused:
        return refused.line, refused.reason, refused.done
    return ()


def muddled(chance: random.Random) -> list[Step]:
    """Steps in no order, some of them twice."""
    servers: list[KernelObject] = []
    for service in ("10.96.0.1:80", "10.96.0.2:80"):
        for protocol in ("tcp", "udp"):
            servers += [VirtualServer(NODE, protocol, service, scheduler) for scheduler in ("rr", "sh")]
            servers += [RealServer(NODE, protocol, service, f"10.1.0.{last}:80", last) for last in (1, 2)]
    verbs = (Add, Add, Remove, lambda obj: Replace(obj, obj))
    return [chance.choice(verbs)(chance.choice(servers)) for _ in range(12)]


def test_the_fake_and_the_kernel_refuse_the_same_in_the_same_words(kernel: Real) -> None:
    fake, refused = FakeKernel((Netns(NODE),)), set()
    web = VirtualServer(NODE, "tcp", "10.96.0.1:80", "rr")
    before_its_first_address = (Add(web), Add(RealServer(NODE, "tcp", "10.96.0.1:80", "10.1.0.1:80")))
    answer = refusal(fake, before_its_first_address)
    assert "not unicast" in str(answer)
    assert refusal(kernel, before_its_first_address) == answer
    for each in (fake, kernel):
        do(each, (Remove(web), Add(LinkUp(NODE, "lo"))))
    for seed in range(12):
        plan = (*muddled(random.Random(seed)),)
        answer = refusal(fake, plan)
        assert refusal(kernel, plan) == answer, seed
        refused |= {answer[1:2]}
        there = {obj for obj in fake.state() if isinstance(obj, VirtualServer | RealServer)}
        assert {*ipvs_found(NODE, output("ipvsadm", "-Sn"))} == there
    # The first of each batch; which of the five that is, is chance.
    assert {("Service already exists",), ("No such service",), ("Service not defined",)} <= refused


@pytest.mark.parametrize(
    ("have", "step"),
    [
        ((), Add(RealServer(NODE, "tcp", "10.96.0.1:80", "10.1.0.1:80"))),
        ((), Remove(VirtualServer(NODE, "tcp", "10.96.0.1:80", "rr"))),
        ((VirtualServer(NODE, "tcp", "10.96.0.1:80", "rr"),), Add(VirtualServer(NODE, "tcp", "10.96.0.1:80", "sh"))),
        (
            (VirtualServer(NODE, "tcp", "10.96.0.1:80", "rr"),),
            Remove(RealServer(NODE, "tcp", "10.96.0.1:80", "10.1.0.1:80")),
        ),
    ],
)
def test_one_refusal_each(kernel: Real, have: State, step: Step) -> None:
    lo = LinkUp(NODE, "lo")
    do(kernel, (Add(lo), *diff((), have)))
    answer = refusal(FakeKernel((Netns(NODE), lo, *have)), (step,))
    assert answer
    assert refusal(kernel, (step,)) == answer


def test_an_interface_is_made_once_and_taken_away_once(kernel: Real) -> None:
    fake, device = FakeKernel((Netns(NODE),)), Dummy(NODE, "kube-ipvs0")
    for each in (kernel, fake):
        steps = (Add(device), Add(device), Remove(device), Remove(device))
        assert [bool(refusal(each, (step,))) for step in steps] == [False, True, False, True]


def test_a_scheduler_that_is_not_there_is_a_refusal(kernel: Real) -> None:
    odd, fine = (VirtualServer(NODE, "tcp", f"10.96.0.{last}:80", name) for last, name in ((1, "odd"), (2, "rr")))
    line, reason, done = refusal(kernel, (Add(fine), Add(odd)))
    assert (line, reason) == (commands(Add(odd))[0], "Scheduler or persistence engine not found")
    assert done == (Add(fine),)


def test_what_was_made_is_read_back_and_mended(kernel: Real) -> None:
    want = (Netns(NODE), Netns(OTHER), *state())
    do(kernel, diff((Netns(NODE), Netns(OTHER)), want))
    assert missing(want) == ()
    for line in (
        "ip address del 10.96.0.1/32 dev kube-ipvs0",
        "ipset del KUBE-CLUSTER-IP 10.96.0.1,tcp:80",
        "ipvsadm -D -t 192.168.59.22:30080",
        "ipvsadm -e -t 10.96.0.1:80 -r 20.111.156.7:8080 -m -w 3",
        "ipvsadm -E -t 10.96.0.1:80 -s sh",
        "ipvsadm -A -t 10.96.9.9:80 -s rr",
        "sysctl -qw net/ipv4/vs/conntrack=0",
    ):
        output(*line.split())
    found = {(type(step).__name__, step.obj.key[0]) for step in missing(want)}
    assert found == {
        ("Add", "Address"),
        ("Add", "SetMember"),
        ("Add", "VirtualServer"),
        ("Add", "RealServer"),
        ("Replace", "RealServer"),
        ("Replace", "VirtualServer"),
        ("Remove", "VirtualServer"),
        ("Replace", "Sysctl"),
    }
    do(kernel, missing(want))
    assert missing(want) == ()
    # A server on its way out is nobody's fault: kube-proxy takes it away when its last connection has ended.
    output(*["ipvsadm", "-a", "-t", "10.96.0.1:80", "-r", "20.111.156.9:8080", "-m", "-w", "0"])
    assert missing(want) == ()
    do(kernel, invert(diff((Netns(NODE), Netns(OTHER)), want)))
    assert (output("ipvsadm", "-Sn"), output("ipset", "save")) == ("", "")
    assert "kube-ipvs0" not in output("ip", "link")


def missing(want: State) -> Plan:
    """What is to be done, by what the kernel says."""
    with Namespaces() as spaces:
        seen = observe(spaces, LAB, want, "iptables")
    assert not seen.unmanaged
    return diff(seen.have, want)


def test_a_set_with_other_options_is_another_set(kernel: Real) -> None:
    ours = IpSet(NODE, "S", "hash:ip,port")
    theirs = replace(ours, options="family inet hashsize 1024 maxelem 7")
    do(kernel, (Add(theirs),))
    assert [*missing((Netns(NODE), Netns(OTHER), ours))] == [Remove(theirs), Add(ours)]


def test_typed_by_a_person_it_is_the_same(kernel: Real) -> None:
    do(kernel, diff((), state()))
    lines = [line for step in diff((), state(OTHER)) for line in commands(step)]
    # In one shell in there: `ip netns exec` would be one more process for each line, and they are dear.
    typed = [line.removeprefix(f"ip netns exec {OTHER} ").replace(f"ip -n {OTHER}", "ip") for line in lines]
    output("bash", "-euc", "\n".join(typed), ns=OTHER)
    for program in (
        ("ipvsadm", "-Sn"),
        ("iptables-save",),
        ("ip", "-4", "addr", "show", "kube-ipvs0"),
        ("ipset", "save"),
    ):
        assert plain(output(*program)) == plain(output(*program, ns=OTHER)), program


def plain(text: str) -> list[str]:
    """Without counters, times, salts of hashes, and indexes."""
    lines = (line.partition(" bucketsize")[0].partition(" [")[0] for line in text.splitlines() if line[0] != "#")
    return sorted(line.partition(": ")[2] or line for line in lines)
