"""The keys of kernel objects and of facts about them, and the layers in which objects lie."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

Key: TypeAlias = tuple[str, ...]
"""An object's identity: its kind, its namespace, and what distinguishes it there for the kernel."""


def addressed(ns: str, dev: str) -> Key:
    """The fact that an interface has any address: not an object, but objects can require it."""
    return ("Addressed", ns, dev)


def mac_of(ns: str, dev: str) -> Key:
    """The fact that an interface keeps its link-layer address."""
    return ("Mac", ns, dev)


def is_object(key: Key) -> bool:
    """Whether it is the key of an object, not of a fact about one."""
    return key[0] not in ("Addressed", "Mac")


def interface_of(ns: str, dev: str) -> Key:
    """The key that an interface exists by: lo exists as soon as its namespace does."""
    return ("Netns", ns) if dev == "lo" else ("Device", ns, dev)


class Layer(IntEnum):
    """The order of removal, read backwards: no object is removed before those that require it.

    A kind's `rank` is its layer's number, plus one for each kind of the same layer that it may require.
    """

    NAMESPACE = 0
    DEVICE = 10
    SETTING = 20
    LINK = 30
    ADDRESS = 40
    NEIGHBOUR = 50
    ROUTE = 60
    SET = 70
    RULE = 80
    BALANCER = 90
    TABLE = 100
    NODE = 110
    ATTACHMENT = 120
    PROCESS = 130
