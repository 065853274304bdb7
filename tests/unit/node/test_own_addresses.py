from __future__ import annotations

from nslab.components.kubeproxy.own_addresses import local


def test_an_address_is_the_nodes_if_an_interface_has_it() -> None:
    assert local(("127.0.0.1", "198.51.100.2", "127.0.0.2")) == ("127.0.0.1", "127.0.0.2")


def test_the_first_is_the_nodes_own_whatever_is_up() -> None:
    assert local(("198.51.100.1", "198.51.100.2", "127.0.0.2")) == ("198.51.100.1", "127.0.0.2")
    assert local(()) == ()
