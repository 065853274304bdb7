"""The API server's error messages for invalid objects, as kubectl prints them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from nslab.api.words import dotted, quoted
from nslab.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.api.document import Document

PORT_NUMBER = "must be between 1 and 65535, inclusive"
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
SERVICE_NAME = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)
SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def of_object(one: Document, error: FieldError) -> FieldError:
    """A field's error in the API server's message about its object."""
    text = f"The {one.kind} {quoted(one.name)} is invalid: {dotted(error.path)}: {error.sentence}"
    return FieldError((*one.path, *(error.at or error.path)), text, first=error.first)


def required(why: str = "") -> str:
    """A missing field."""
    return f"Required value: {why}" if why else "Required value"


def invalid(value: object, why: str) -> str:
    """An invalid value."""
    return f"Invalid value: {_value(value)}: {why}"


def forbidden(why: str) -> str:
    """A field that must not be set."""
    return f"Forbidden: {why}"


def duplicate(value: object) -> str:
    """A duplicate value."""
    return f"Duplicate value: {_value(value)}"


def unsupported(value: str, supported: Iterable[str]) -> str:
    """A value outside an enumeration."""
    return f"Unsupported value: {quoted(value)}: supported values: {', '.join(map(quoted, sorted(supported)))}"


def port_name_faults(name: str) -> Iterator[str]:
    """What is wrong with the name of a container's port (IsValidPortName)."""
    checks = (
        (len(name) <= 15, "must be no more than 15 characters"),
        (
            re.fullmatch("[-a-z0-9]+", name),
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
        ),
        (re.search("[a-z]", name), "must contain at least one letter (a-z)"),
        ("--" not in name, "must not contain consecutive hyphens"),
        (not name or "-" not in (name[0], name[-1]), "must not begin or end with a hyphen"),
    )
    yield from (why for good, why in checks if not good)


def _value(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    text = json.dumps(value, separators=(",", ":"))
    return text if len(text) <= 200 else text[:199] + "…"


def labels(table: Mapping[str, str]) -> dict[str, str]:
    """Labels in the order in which Go prints them."""
    return dict(sorted(table.items()))
