"""The messages to components that watch (pure): a line, its generation, and the keys that the next one has to have."""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    Update: TypeAlias = tuple[bytes, int, set[str]]


def changes(generation: int, published: Mapping[str, str], keys: frozenset[str] | None) -> Update:
    """For a kube-proxy: Services with these keys, None for all."""
    begin = f'{{"generation": {generation}, '
    if keys is None:
        line = f'{begin}"whole": true, "services": [{", ".join(published.values())}]}}\n'
    else:
        services = ", ".join(published[key] for key in sorted(keys) if key in published)
        line = f'{begin}"services": [{services}], "removed": {json.dumps(sorted(keys - published.keys()))}}}\n'
    return line.encode(), generation, set()


def taken_over(generation: int, existing: Mapping[str, str], published: Mapping[str, str]) -> Update:
    """For a kube-proxy whose rules exist already, for the Services `existing`."""
    dirty = {key for key in existing.keys() | published.keys() if existing.get(key) != published.get(key)}
    now = 0 if dirty else generation
    begin = f'{{"generation": {now}, "whole": true, "written": true, '
    return f'{begin}"services": [{", ".join(existing.values())}]}}\n'.encode(), now, dirty


def policy(generation: int, published: str, *, written: bool) -> Update:
    """For a Felix: everything, and whether its rules for it exist already."""
    begin = f'{{"generation": {generation}, "written": {json.dumps(written)}, '
    return f'{begin}"policy": {published or "null"}}}\n'.encode(), generation, set()
