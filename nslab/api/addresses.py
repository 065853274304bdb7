"""Checks of IPv4 addresses and networks in a file."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network

from nslab.api.words import shown

BYTES = frozenset(map(str, range(256)))


def address_fault(word: str) -> str:
    """The error in an IPv4 address, or "". 192.168.59.022 is one: some programs read 18, others 22."""
    parts = word.split(".")
    if len(parts) == 4 and BYTES.issuperset(parts):
        return ""
    if ":" in word and re.fullmatch("[0-9A-Fa-f:.]+", word):
        return f"{shown(word)} is not an IPv4 address; nslab's networks are IPv4 only"
    if len(parts) != 4 or not all(re.fullmatch("[0-9]{1,20}", part) for part in parts):
        return f"{shown(word)} is not an IPv4 address"
    if zeros := [part for part in parts if part != "0" and part.startswith("0")]:
        return f"{shown(word)} is not an IPv4 address: write {int(zeros[0])} instead of {zeros[0]}"
    if high := [part for part in parts if int(part) > 255]:
        return f"{shown(word)} is not an IPv4 address: {high[0]} is more than 255"
    return ""


def valid_address(word: str) -> IPv4Address:
    """The address of a word without fault; IPv4Address(word), which looks for faults, takes three times as long."""
    first, second, third, fourth = map(int, word.split("."))
    return IPv4Address(first << 24 | second << 16 | third << 8 | fourth)


def network_fault(word: str) -> str:
    """The error in an IPv4 network (ADDRESS/LENGTH), or ""."""
    address, slash, length = word.partition("/")
    if fault := address_fault(address):
        return fault
    if not slash:
        return f"{word} has no prefix length; write {word}/24, for example"
    if not re.fullmatch("[0-9]|[12][0-9]|3[0-2]", length):
        return f"{shown(word)} has no prefix length from 0 to 32 after its /"
    network = IPv4Network(word, strict=False)
    if network.network_address != IPv4Address(address):
        return f"{word} is an address in a network, and the network itself is {network}"
    return ""
