"""Checks of a pod's dnsPolicy, dnsConfig and hostAliases, with the API server's messages (validatePodDNSConfig)."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from nslab.admission.validate_pods import pod_specs
from nslab.api.sentences import ADDRESS, invalid, of_object, required
from nslab.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.errors import FieldPath
    from nslab.lab.stream import Documents

MOST_SERVERS, MOST_SEARCHES, LONGEST_SEARCH = 3, 32, 2048
"""What the kubelet writes at most: name servers, search domains, and characters of these with the blanks between."""
_LABEL = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NO_DOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    f"'{_DOMAIN.pattern}')"
)


def resolving(found: Documents) -> Iterator[FieldError]:
    """Each pod can be given its resolv.conf and /etc/hosts."""
    for one, path, spec in pod_specs(found):
        for error in (*_config(spec, path), *_aliases(spec, path)):
            yield of_object(one, error)


def _config(spec: dict[str, Any], path: FieldPath) -> Iterator[FieldError]:
    config, at = spec.get("dnsConfig"), (*path, "dnsConfig")
    servers: Sequence[str] = (config or {}).get("nameservers", ())
    if spec.get("dnsPolicy") == "None" and not servers:
        what = "`dnsConfig`" if config is None else "at least one DNS nameserver"
        where = at if config is None else (*at, "nameservers")
        yield FieldError(where, required(f"must provide {what} when `dnsPolicy` is None"))
    if len(servers) > MOST_SERVERS:
        why = f"must not have more than {MOST_SERVERS} nameservers"
        yield FieldError((*at, "nameservers"), invalid(servers, why))
    for index, server in enumerate(servers):
        yield from _address(server, (*at, "nameservers", index))
    yield from _searches((config or {}).get("searches", ()), (*at, "searches"))
    for index, option in enumerate((config or {}).get("options", ())):
        if not option.get("name"):
            yield FieldError((*at, "options", index), required("must not be empty"))


def _searches(searches: Sequence[str], path: FieldPath) -> Iterator[FieldError]:
    if len(searches) > MOST_SEARCHES:
        yield FieldError(path, invalid(searches, f"must not have more than {MOST_SEARCHES} search paths"))
    if len(" ".join(searches)) > LONGEST_SEARCH:
        why = f"must not have more than {LONGEST_SEARCH} characters (including spaces) in the search list"
        yield FieldError(path, invalid(searches, why))
    for index, search in enumerate(searches):
        if search != "." and not _DOMAIN.fullmatch(search.removesuffix(".")):
            yield FieldError((*path, index), invalid(search.removesuffix("."), _NO_DOMAIN))


def _aliases(spec: dict[str, Any], path: FieldPath) -> Iterator[FieldError]:
    for index, alias in enumerate(spec.get("hostAliases", ())):
        yield from _address(alias.get("ip", ""), (*path, "hostAliases", index, "ip"))


def _address(word: str, path: FieldPath) -> Iterator[FieldError]:
    try:
        ip_address(word)
    except ValueError:
        yield FieldError(path, invalid(word, ADDRESS))
