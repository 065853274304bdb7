"""The comment in the text of a rule, as iptables-save and nft write it."""

from __future__ import annotations

import re

_COMMENT = re.compile(r'(?:-m comment --comment |comment )(?:"((?:[^"\\]|\\.)*)"|(\S+))\s*')
_SIGNATURE = re.compile(r"cali:[\w-]{16}; (?=.)")


def comment_of(rule: str) -> str:
    """The comment of a rule in words: Felix's signature only if there is no other; "" if it has none."""
    found = [in_words(one[1] or one[2] or "") for one in _COMMENT.finditer(rule)]
    return next((one for one in found if not one.startswith("cali:")), next(iter(found), ""))


def in_words(comment: str) -> str:
    """A comment without Felix's signature, which nft has before the words of the same comment."""
    return _SIGNATURE.sub("", comment)


def without_comment(rule: str) -> str:
    """The rule without its comments."""
    return _COMMENT.sub("", rule).strip()
