"""A NetworkPolicy's rules as Calico takes them: one for each protocol and peer, with the sets that they ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nslab.policy import names, selectors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nslab.policy.model import Direction, NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule


class Members(NamedTuple):
    """What a set holds: addresses of the pods of a peer (of all pods: None), seen from a policy's namespace.

    `port`: a name; the set then holds addresses with the ports that their pods call so, of a protocol.
    """

    peer: PolicyPeer | None
    namespace: str
    protocol: str = ""
    port: str = ""


class Allowed(NamedTuple):
    """One allowed kind of connection. `protocol`: in small letters, "" for all. `numbers`: `80` or `80:90`, sorted."""

    direction: Direction
    namespace: str
    protocol: str
    peer: PolicyPeer | None
    numbers: tuple[str, ...] = ()
    port_names: tuple[str, ...] = ()

    @property
    def selector(self) -> str:
        """The selector of its peer; "" if that is a block, or anybody."""
        return selectors.of_peer(self.peer, self.namespace) if self.peer and not self.peer.block else ""

    @property
    def peer_set(self) -> str:
        """The id of the set of its peers; "" if it needs none: the sets of named ports hold the peers' alone."""
        named_alone = self.direction == "egress" and self.port_names and not self.numbers
        return names.selector_id(self.selector) if self.selector and not named_alone else ""

    @property
    def port_sets(self) -> list[str]:
        """The ids of the sets of its named ports."""
        peers = self.direction == "egress" and self.selector
        return [names.named_port_id(peers or selectors.ALL, self.protocol, name) for name in self.port_names]

    @property
    def sets(self) -> dict[str, Members]:
        """What is in the sets that it asks."""
        found = {self.peer_set: Members(self.peer, self.namespace)} if self.peer_set else {}
        peer = self.peer if self.direction == "egress" and self.selector else None
        for set_id, name in zip(self.port_sets, self.port_names, strict=True):
            found[set_id] = Members(peer, self.namespace, self.protocol, name)
        return found


def converted(policy: NetworkPolicy, direction: Direction) -> Iterator[Allowed]:
    """What a policy allows in a direction, in the order of its rules; blocks of IPv6 are not for IPv4's rules."""
    for rule in policy.rules(direction) or ():
        for protocol, ports in _by_protocol(rule):
            numbers = tuple(_merged((port.port, port.end or port.port) for port in ports if isinstance(port.port, int)))
            called = tuple(port.port for port in ports if isinstance(port.port, str))
            for peer in rule.peers or (None,):
                if peer is None or ":" not in peer.block:
                    yield Allowed(direction, policy.namespace, protocol, peer, numbers, called)


def _by_protocol(rule: PolicyRule) -> Iterator[tuple[str, Sequence[PolicyPort]]]:
    """The protocols of a rule, by name, with their ports; none: all."""
    found: dict[str, list[PolicyPort]] = {}
    for port in rule.ports:
        found.setdefault(port.protocol, []).append(port)
    for protocol in sorted(found):
        yield protocol.lower(), found[protocol] if all(port.port for port in found[protocol]) else ()
    if not rule.ports:
        yield "", ()


def _merged(spans: Iterable[tuple[int, int]]) -> Iterator[str]:
    """The fewest ranges with the same numbers."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(spans):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return (str(first) if first == last else f"{first}:{last}" for first, last in found)
