"""What rules have just matched: a line each, or an object of JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.views.packets import clock

if TYPE_CHECKING:
    from nslab.trace.counted.values import RuleHit


def hit_line(at: int, hit: RuleHit) -> str:
    """A line. `at`: nanoseconds since 1970."""
    comment = f"  # {hit.comment}" if hit.comment else ""
    if not hit.table:
        return f"{clock(at)}  {hit.service}  {hit.text}{comment}"
    return f"{clock(at)}  +{hit.packets} ({hit.bytes} B)  {hit.table} {hit.chain}  {hit.text}{comment}"


def hit_json(at: int, hit: RuleHit) -> dict[str, Any]:
    """The same as an object; without a table it is a connection."""
    names = {"table": hit.table, "chain": hit.chain, "rule": hit.text} if hit.table else {"connection": hit.text}
    counted = {"packets": hit.packets, "bytes": hit.bytes} if hit.table else {}
    return {"time": at / 1e9, **names, "service": hit.service, "comment": hit.comment, **counted}
