"""The difference between two lists of rules, in words."""

from __future__ import annotations


def compared(before: tuple[str, ...], rules: tuple[str, ...]) -> str:
    """The missing and the extra rules of a chain, by the number and the first of each."""
    actual, desired = {*before}, {*rules}
    missing = _counted([rule for rule in rules if rule not in actual])
    extra = _counted([rule for rule in before if rule not in desired])
    parts = [f"lacks {missing}"] * bool(missing) + [f"was given {extra}"] * bool(extra)
    return ", and ".join(parts)


def _counted(rules: list[str]) -> str:
    """The number of rules and the first one, in words."""
    if not rules:
        return ""
    return f"{len(rules)} rules, the first being {rules[0]}" if len(rules) > 1 else f"the rule {rules[0]}"
