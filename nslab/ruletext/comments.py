"""The comment in the text of a rule, as iptables-save and nft write it."""

from __future__ import annotations

import re

_COMMENT = re.compile(r'(?:-m comment --comment |comment )(?:"((?:[^"\\]|\\.)*)"|(\S+))\s*')


def comment_of(rule: str) -> str:
    """The comment of a rule; "" if it has none."""
    found = _COMMENT.search(rule)
    return (found[1] or found[2] or "") if found else ""


def without_comment(rule: str) -> str:
    """The rule without its comments."""
    return _COMMENT.sub("", rule).strip()
