"""Names within the kernel's limits, and those that Calico gives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nslab.objects import names

WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=63)


def test_calico_names_cables_by_namespace_and_pod() -> None:
    assert names.cali("default", "nginx") == "calic440f455693"
    assert names.cali("namespace", "podname") == "cali82111e10a96"


def test_a_host_in_default_has_the_pods_name() -> None:
    assert names.netns("lab", names.pod_host("default", "pod-b")) == "nslab.lab.pod-b"
    assert names.netns("lab", names.pod_host("kube-system", "dns")) == "nslab.lab.kube-system_dns"


@given(WORDS, WORDS)
def test_interfaces_fit(one: str, other: str) -> None:
    assert len(names.ifname(one)) <= names.IFNAMSIZ
    assert len(names.cali(one, other)) == len("cali") + 11 <= names.IFNAMSIZ
    assert len(names.kubenet_veth(one, other)) <= names.IFNAMSIZ
    assert (names.ifname(one) == names.ifname(other)) == (one == other)


@given(WORDS, WORDS)
def test_link_layer_addresses_are_local_and_not_groups(one: str, other: str) -> None:
    for mac in (names.mac(one, other), names.vtep_mac(one)):
        assert int(mac[:2], 16) & 3 == 2
        assert len(bytes.fromhex(mac.replace(":", ""))) == 6
    assert names.vtep_mac("node1").startswith("66:")
