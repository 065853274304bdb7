"""Names within the kernel's limits, and those that Calico gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nslab.components.runtime import node_context
from nslab.objects import names
from nslab.runtime import trust

WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-.", min_size=1, max_size=63)


def test_calico_names_cables_by_namespace_and_pod() -> None:
    assert names.cali("default", "nginx") == "calic440f455693"
    assert names.cali("namespace", "podname") == "cali82111e10a96"


def test_a_host_in_default_has_the_pods_name() -> None:
    assert names.netns("lab", names.pod_host("default", "pod-b")) == "nslab.lab.pod-b"
    assert names.netns("lab", names.pod_host("kube-system", "dns")) == "nslab.lab.kube-system_dns"


@pytest.mark.parametrize("host", ["node1", "ip-10-0-0-1.ec2.internal", "kube-system_etcd-ip-10-0-0-1.ec2"])
def test_the_host_of_a_namespace_is_what_it_was_named_after(host: str) -> None:
    ns = names.netns("lab", host)
    assert (names.host(ns), node_context.host_of(ns), trust.lab_of(ns)) == (host, host, "lab")


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
