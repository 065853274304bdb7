"""The files of a dump, each with what one program printed; JSON of iproute2 read with care (pure)."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from nslab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SIZES: Final = {
    "format": 64, "hostname": 1 << 10, "notes": 1 << 20, "iptables-version": 1 << 10, "iptables-save": 1 << 27,
    "iptables-nft-save": 1 << 27, "iptables-legacy-save": 1 << 27, "ipset-save": 1 << 27, "nft.json": 1 << 28,
    "ipvsadm-save": 1 << 26, "addr.json": 1 << 24, "link.json": 1 << 24, "rule.json": 1 << 24, "route.json": 1 << 27,
    "neigh.json": 1 << 25, "fdb.json": 1 << 25, "netconf.json": 1 << 24, "ss": 1 << 24, "sysctl": 1 << 24,
    "conntrack": 1 << 26,
}  # fmt: skip
"""The files that are read, with the maximum size of each in bytes."""
ENTRIES: Final = 1_000_000
"""The maximum number of entries of a JSON file."""
IFNAMSIZ: Final = 15


class Dump(NamedTuple):
    """What was taken of one node: the text of each file that is there. `name`: for messages, and of the host."""

    name: str
    files: Mapping[str, str]

    def text(self, file: str) -> str:
        """What a program printed; "" if that was not taken."""
        return self.files.get(file, "")

    def wrong(self, sentence: object) -> UsageError:
        """The error about something in this dump."""
        return UsageError(f"dump of {self.name}: {sentence}")

    def entries(self, file: str) -> Iterator[JsonEntry]:
        """The objects of a list in JSON. Raises UsageError."""
        text = self.text(file)
        if not text.strip():
            return
        for number, fields in enumerate(self._listed(file, text), 1):
            if not isinstance(fields, dict):
                raise self.wrong(f"{file}, entry {number}: no object")
            if fields:
                yield JsonEntry(self, f"{file}, entry {number}", fields)

    def _listed(self, file: str, text: str) -> list[Any]:
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise self.wrong(f"{file}, line {error.lineno}, column {error.colno}: this is not JSON") from error
        except (ValueError, RecursionError) as error:
            what = "a number" if isinstance(error, ValueError) else "nesting"
            raise self.wrong(f"{file}: {what} without end") from error
        if not isinstance(found, list) or len(found) > ENTRIES:
            raise self.wrong(f"{file}: no list of objects, or one of more than {ENTRIES}")
        return found


class JsonEntry(NamedTuple):
    """One object of a list, and where it stands."""

    dump: Dump
    where: str
    fields: dict[str, Any]

    def wrong(self, sentence: str) -> UsageError:
        """The error about it."""
        return self.dump.wrong(f"{self.where}: {sentence}")

    def text(self, name: str, default: str = "") -> str:
        """A field that is text, or a number as text."""
        found = self.fields.get(name, default)
        if isinstance(found, bool) or not isinstance(found, str | int) or len(str(found)) > 255:
            raise self.wrong(f"{name} is no text")
        return str(found)

    def number(self, name: str, default: int = 0) -> int:
        """A field that is a number, or text such as 0x4000."""
        found = self.fields.get(name, default)
        try:
            value = int(found[:20], 0) if isinstance(found, str) else found
        except ValueError:
            value = None
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 32:
            raise self.wrong(f"{name} is no number from 0 to {(1 << 32) - 1}")
        return value

    def dev(self, name: str) -> str:
        """A field that is an interface's name; "" if it is not there."""
        found = self.text(name)
        if len(found.encode()) > IFNAMSIZ or not found.isprintable() or " " in found or "/" in found:
            raise self.wrong(f"{name} is no interface's name: {found[:40]!a}")
        return found

    def address(self, name: str) -> IPv4Address | None:
        """A field that is an IPv4 address; None if it is not there, or is any (0.0.0.0)."""
        found = self.text(name)
        try:
            address = IPv4Address(found if found not in ("", "any") else 0)
        except ValueError as error:
            raise self.wrong(f"{name} is no IPv4 address: {found[:40]!a}") from error
        return address if int(address) else None

    def network(self, name: str, default: str = "") -> IPv4Network:
        """A field that is an IPv4 network or address, or `default`, `all`."""
        found = self.text(name, default)
        try:
            return IPv4Network("0.0.0.0/0" if found in ("default", "all") else found, strict=False)
        except ValueError as error:
            raise self.wrong(f"{name} is no IPv4 network: {found[:40]!a}") from error

    def below(self, name: str) -> JsonEntry:
        """A field that is an object; an empty one if it is not there."""
        found = self.fields.get(name, {})
        if not isinstance(found, dict):
            raise self.wrong(f"{name} is no object")
        return JsonEntry(self.dump, f"{self.where}, {name}", found)

    def listed(self, name: str) -> list[JsonEntry]:
        """A field that is a list of objects; an empty one if it is not there."""
        found = self.fields.get(name, [])
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise self.wrong(f"{name} is no list of objects")
        return [JsonEntry(self.dump, f"{self.where}, {name}", one) for one in found]

    def words(self, name: str) -> frozenset[str]:
        """A field that is a list of words; an empty one if it is not there."""
        found = self.fields.get(name, [])
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise self.wrong(f"{name} is no list of words")
        return frozenset(found)


Sysctls: TypeAlias = "dict[str, str]"
"""Values by path, `net/ipv4/ip_forward`."""


def sysctls(text: str) -> Sysctls:
    """What `sysctl -a` printed. A dot within a name is printed as a slash."""
    lines = (line.partition(" = ") for line in text.split("\n") if " = " in line)
    return {name.translate(_SWAPPED): value.strip() for name, _, value in lines}


_SWAPPED: Final = str.maketrans("./", "/.")
