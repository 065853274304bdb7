"""Rules at the top of built-in chains: Felix's before kube-proxy's, in whatever order they come."""

from __future__ import annotations

from nslab.engine import apply
from nslab.objects.fake.kernel import FakeKernel
from nslab.objects.iptables import Chain, Jump, iptables_restore
from nslab.objects.namespaces import Netns
from nslab.objects.plan import Add, Replace, diff
from nslab.objects.script import commands


def test_a_rule_that_is_to_stand_before_a_new_one_moves() -> None:
    """Felix's come first, also when kube-proxy's come later (`set proxy-mode`)."""
    felix, other = Jump("n", "filter", "FORWARD", "-j cali-FORWARD"), Jump("n", "filter", "OUTPUT", "-j cali-OUTPUT")
    proxy = Jump("n", "filter", "FORWARD", "-j KUBE-FORWARD")
    plan = diff((felix, other), (proxy, felix, other))
    assert plan == (Add(proxy), Replace(felix, felix))
    assert iptables_restore(plan).splitlines() == [
        "*filter", "-D FORWARD -j cali-FORWARD",
        "-I FORWARD 1 -j KUBE-FORWARD", "-I FORWARD 1 -j cali-FORWARD", "COMMIT",
    ]  # fmt: skip
    assert commands(plan[1]) == [
        "ip netns exec n iptables -t filter -D FORWARD -j cali-FORWARD",
        "ip netns exec n iptables -t filter -I FORWARD 1 -j cali-FORWARD",
    ]
    assert diff((felix, proxy), (proxy, felix)) == ()
    chains = (Chain("n", "filter", f"{name}-FORWARD", ()) for name in ("KUBE", "cali"))
    kernel = FakeKernel((Netns("n"), *chains, felix))
    apply(kernel, plan)
    assert [obj for obj in kernel.state() if isinstance(obj, Jump)] == [felix, proxy]
