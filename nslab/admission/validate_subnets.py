"""Checks of the machines' addresses, and of the routers between subnets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.api.words import listed, shown
from nslab.errors import FieldError
from nslab.lab.defaults import gateway
from nslab.lab.subnets import distances, find_subnet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address, IPv4Network

    from nslab.errors import FieldPath
    from nslab.lab.lab_document import LabDocument
    from nslab.lab.stream import Documents


def machine_addresses(found: Documents) -> Iterator[FieldError]:
    """Each machine has a unique address in the node network."""
    lab = found.lab
    subnets = [*lab.subnets.values()]
    if len(subnets) < len(lab.node_networks):
        return  # an unreadable subnet may contain any of the addresses
    special = _special(subnets)
    seen: dict[IPv4Address, FieldPath] = {}
    for path, name, address in _addresses(lab):
        who = shown(name) if name else "this machine"
        if address is None:
            yield FieldError(path, f"the node network {subnets[0]} has no address left for {who}")
        elif not find_subnet(subnets, address):
            yield FieldError(path, f"the address {address} of {who} is {_outside(subnets)}")
        elif address in special:
            yield FieldError(path, f"{who} cannot have the address {address}; it is {special[address]}")
        elif address in seen:
            yield FieldError(
                path, f"{who} cannot have the address {address}; another machine has it", first=seen[address]
            )
        else:
            seen[address] = path


def _special(subnets: list[IPv4Network]) -> dict[IPv4Address, str]:
    """Addresses that no machine can have, with the reason. With a single subnet, the switch has the gateway's."""
    special = {subnet[0]: "the network's own address" for subnet in subnets}
    special |= {subnet[-1]: "the broadcast address" for subnet in subnets}
    first = gateway(subnets[0]) if len(subnets) == 1 else None
    return special | {first: "the gateway's"} if first else special


def _addresses(lab: LabDocument) -> Iterator[tuple[FieldPath, str, IPv4Address | None]]:
    """Every address of a machine: its path, the machine's name, and the address."""
    for index, node in enumerate(lab.nodes):
        yield lab.place("nodes", index, "address"), node.name, node.address
    for index, client in enumerate(lab.clients):
        yield lab.place("clients", index, "address"), client.name, client.address
    for index, router in enumerate(lab.routers):
        for place, leg in router.legs.items():
            yield lab.place("routers", index, "addresses", place), router.name, leg


def _outside(subnets: list[IPv4Network]) -> str:
    if len(subnets) == 1:
        return f"outside the node network {subnets[0]}"
    return f"in none of the subnets {listed([*map(str, subnets)])}"


def routers(found: Documents) -> Iterator[FieldError]:
    """A router joins at least two subnets, and all subnets are connected."""
    lab = found.lab
    subnets = [*lab.subnets.values()]
    for index, router in enumerate(lab.routers):
        path, who = lab.place("routers", index, "addresses"), shown(router.name) if router.name else "this router"
        if router.written < 2:
            number = "one address" if router.written else "no address"
            yield FieldError(path, f"{who} has {number}; a router has one in each of two subnets or more")
        taken: set[IPv4Network] = set()
        for place, leg in router.legs.items():
            subnet = find_subnet(subnets, leg)
            if subnet and subnet in taken:
                yield FieldError((*path, place), f"{who} has two addresses in {subnet}; one in each subnet is enough")
            taken |= {subnet} if subnet else set()
    legs = [[*router.legs.values()] for router in lab.routers]
    readable = len(subnets) == len(lab.node_networks) and all(len(r.legs) == r.written for r in lab.routers)
    if readable and all(find_subnet(subnets, leg) for each in legs for leg in each):
        # Other checks report unreadable and outside addresses; errors that follow from those are noise.
        reached = distances(subnets, legs, subnets[0])
        for place, subnet in lab.subnets.items():
            if subnet not in reached:
                text = f"no router joins {subnet} to {subnets[0]}; add one with an address in each (spec.routers)"
                yield FieldError(lab.place("networks", "nodes", place), text)
