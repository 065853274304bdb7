from __future__ import annotations

from nslab.components.kubeproxy.own_addresses import local


def test_an_address_is_the_nodes_if_an_interface_has_it() -> None:
    assert local(("192.0.2.1", "127.0.0.1", "192.0.2.2", "127.0.0.2")) == ("127.0.0.1", "127.0.0.2")
