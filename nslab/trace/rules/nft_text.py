"""The statements of `nft -j` in nft's own language, as far as people read them (pure)."""

from __future__ import annotations

import json
from typing import Any, Final

LONGEST: Final = 500
"""Characters of a rule's text."""
_MASKS: Final = ("&", "|", "^")
_OPERATIONS: Final = (*_MASKS, "<<", ">>")
_WITHOUT_META: Final = ("iif", "oif", "iifname", "oifname")
_EXPECTED: Final = ("==", "in")


def rule_text(statements: Any) -> str:
    """A rule in nft's words; what has no words here stands as JSON."""
    parts = statements if isinstance(statements, list) else [statements]
    text = " ".join(_statement(part) for part in parts)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _statement(one: Any) -> str:
    match one:
        case {"match": {"op": op, "left": left, "right": right}}:
            masked = isinstance(left, dict) and any(name in _MASKS for name in left)
            sign = "" if op in _EXPECTED and not masked else str(op)
            return " ".join(filter(None, (value_text(left), sign, _bits(right) if masked else value_text(right))))
        case {"vmap": {"key": key, "data": data}}:
            return f"{value_text(key)} vmap {value_text(data)}"
        case {"mangle": {"key": key, "value": value}}:
            return f"{value_text(key)} set {value_text(value)}"
        case {"set": {"op": op, "set": name, "elem": element}}:
            return f"{op} {name} {{ {value_text(element)} }}"
        case {"reject": {"type": kind, **rest}}:
            return f"reject with {kind} {rest.get('expr', '')}".rstrip()
    if isinstance(one, dict) and len(one) == 1:
        ((name, body),) = one.items()
        if name in ("dnat", "snat", "masquerade", "redirect"):
            return f"{name}{_nat(body)}"
        return value_text(one) if name in ("jump", "goto") else _plain(name, body)
    return json.dumps(one, ensure_ascii=False)


def _plain(name: str, body: Any) -> str:
    """A verdict, or a statement of which the name says enough."""
    known = name in ("accept", "drop", "return", "continue", "counter", "log", "limit", "notrack", "queue")
    return name if known or body is None else f"{name} {json.dumps(body, ensure_ascii=False)}"


def _nat(body: Any) -> str:
    if not isinstance(body, dict):
        return ""
    address, port = (value_text(body[key]) if key in body else "" for key in ("addr", "port"))
    flags = body.get("flags", ())
    words = [f" to {address}{f':{port}' if port else ''}"] if address or port else []
    return "".join([*words, *(f" {flag}" for flag in (flags if isinstance(flags, list | tuple) else [flags]))])


def value_text(value: Any) -> str:
    """An expression, or a verdict, in nft's words."""
    match value:
        case {"payload": {"protocol": protocol, "field": name}}:
            return f"{protocol} {name}"
        case {"meta": {"key": key}}:
            return str(key) if key in _WITHOUT_META else f"meta {key}"
        case {"ct": {"key": key, **rest}}:
            return " ".join(["ct", *([str(rest["dir"])] if "dir" in rest else []), str(key)])
        case {"fib": {"result": result, "flags": [*flags]}}:
            return f"fib {' . '.join(map(str, flags))} {result}"
        case {"numgen": {"mode": mode, "mod": mod}}:
            return f"numgen {mode} mod {mod}"
        case {"jhash": {"mod": mod, "expr": expression}}:
            return f"jhash {value_text(expression)} mod {mod}"
        case {"prefix": {"addr": address, "len": length}}:
            return f"{value_text(address)}/{length}"
        case {"range": [first, last]}:
            return f"{value_text(first)}-{value_text(last)}"
        case {"concat": [*parts]}:
            return " . ".join(map(value_text, parts))
        case {"set": [*elements]}:
            return f"{{ {', '.join(map(_element, elements))} }}"
        case {"elem": {"val": inner}}:
            return value_text(inner)
        case {"map": {"key": key, "data": data}}:
            return f"{value_text(key)} map {value_text(data)}"
        case {"jump": {"target": chain}}:
            return f"jump {chain}"
        case {"goto": {"target": chain}}:
            return f"goto {chain}"
    return _other(value)


def _other(value: Any) -> str:
    if isinstance(value, dict) and len(value) == 1:
        ((name, body),) = value.items()
        if name in _OPERATIONS and isinstance(body, list):
            return f" {name} ".join(map(_bits if name in _MASKS else value_text, body))
        return str(name) if body is None else json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return ",".join(map(value_text, value))
    return str(value) if isinstance(value, int | str) else json.dumps(value, ensure_ascii=False)


def _bits(value: Any) -> str:
    """An operand of a bitwise operation: a number in hexadecimal, as nft prints marks."""
    return f"0x{value:08x}" if isinstance(value, int) else value_text(value)


def _element(element: Any) -> str:
    """An element of a set, or of a map with what that has for it."""
    if isinstance(element, list) and len(element) == 2:
        return f"{value_text(element[0])} : {value_text(element[1])}"
    return value_text(element)
