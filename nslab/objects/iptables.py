"""Sets, chains and jumps: the commands that a person types, and what `ipset restore` and `iptables-restore` take.

A restore is one transaction of the kernel. `--noflush` leaves what it does not name: our chains are named (and so
emptied) and filled in one go; the built-in chains, which have other owners, only gain and lose single rules.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from nslab.objects.kinds import Chain, IpSet, Jump, SetMember
from nslab.objects.plan import Add, Remove
from nslab.quote import fill, quote
from nslab.ruletext.iptables import iptables_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nslab.objects.kinds import Key
    from nslab.objects.plan import Step
    from nslab.ruletext.items import Items

Rules: TypeAlias = Chain | Jump
Sets: TypeAlias = IpSet | SetMember

_RULE = re.compile(r'"((?:[^"\\]|\\.)*)"|[^\s"]+')
_ESCAPE = re.compile(r"\\(.)")
_ACTIVE = frozenset('$`"\\!')


def lines(step: Step, obj: Rules | Sets) -> list[str]:
    """The commands for one step."""
    match obj:
        case IpSet() | SetMember():
            return [" ".join([fill("ip netns exec {} ipset", obj.ns), *map(quote, _set_command(step, obj).split())])]
        case Chain():
            tool, name = fill("ip netns exec {} iptables -t {}", obj.ns, obj.table), quote(obj.name)
            if isinstance(step, Remove):
                return [f"{tool} -F {name}", f"{tool} -X {name}"]
            filled = [f"{tool} -A {name} {_for_shell(rule)}" for rule in obj.rules]
            return [f"{tool} -{'N' if isinstance(step, Add) else 'F'} {name}", *filled]
        case Jump():
            tool = fill("ip netns exec {} iptables -t {}", obj.ns, obj.table)
            return [f"{tool} {_for_shell(_jump_command(step, obj))}"]


def _for_shell(rule: str) -> str:
    """A rule as iptables-save writes it, for a shell. What is in quotes there is one word, with backslashes in it."""
    return " ".join(_word(found[1], found[0]) for found in _RULE.finditer(rule))


def _word(quoted: str | None, bare: str) -> str:
    if quoted is None:
        return bare if bare == "!" else quote(bare)
    text = _ESCAPE.sub(r"\1", quoted)
    # As everybody writes comments, unless there is something in it that a shell acts on between such quotes, too.
    return f'"{text}"' if text.isprintable() and not _ACTIVE & {*text} else quote(text)


def typed(steps: Iterable[Step]) -> list[str]:
    """The commands for steps of one table, in an order in which one works after the other.

    Typed singly, a rule needs the chain that it jumps to, and a chain that goes must be empty and jumped to by none.
    """
    declared: list[str] = []
    filled: list[str] = []
    jumps: list[str] = []
    emptied: list[str] = []
    gone: list[str] = []
    for step in steps:
        match step, step.obj:
            case Remove(), Chain() as chain:
                flush, delete = lines(step, chain)
                emptied.append(flush)
                gone.append(delete)
            case _, Chain() as chain:
                first, *rest = lines(step, chain)
                declared.append(first)
                filled += rest
            case _, Jump() as jump:
                jumps += lines(step, jump)
    return [*declared, *filled, *jumps, *emptied, *gone]


def ipset_restore(steps: Iterable[Step]) -> str:
    """Input for `ipset restore`, a line a step."""
    return "".join(f"{_set_command(step, step.obj)}\n" for step in steps if isinstance(step.obj, IpSet | SetMember))


def iptables_restore(table: str, steps: Iterable[Step], block: int = 0) -> str:
    """Input for `iptables-restore --noflush`: one table, all steps.

    Chains are declared first (which empties them) and deleted last; what `settled` leaves is in no other order.
    `block`: so many chains in one transaction at the most, see nslab.ruletext.iptables.
    """
    old: Items = {}
    new: Items = {}
    for step in settled(steps):
        match step.obj:
            case Chain() as chain:
                (old if isinstance(step, Remove) else new)["chain", table, chain.name] = chain.rules
            case Jump() as jump:
                key = ("jump", table, jump.chain, jump.rule, jump.place)
                (old if isinstance(step, Remove) else new)[key] = ()
    return iptables_text(old, new, block)


def settled(steps: Iterable[Step]) -> tuple[Step, ...]:
    """What a restore is told of a table's steps: of each chain the last, and of each jump what is not taken back again.

    Text for a restore says where a table is to end, so that a step and its inverse in one transaction are nothing. A
    jump that goes and comes at the other end of its chain is two steps.
    """
    first: dict[Key, Step] = {}
    last: dict[Key, Step] = {}
    for step in steps:
        first.setdefault(step.obj.key, step)
        last[step.obj.key] = step
    told: list[Step] = []
    for key, step in last.items():
        begun = first[key]
        if isinstance(step.obj, Chain) or isinstance(begun, Remove) == isinstance(step, Remove):
            told.append(step)
        elif isinstance(begun, Remove) and begun.obj != step.obj:
            told += begun, step
    return tuple(told)


def _set_command(step: Step, obj: Sets) -> str:
    match step, obj:
        case Remove(), IpSet():
            return f"destroy {obj.name}"
        case Remove(), SetMember():
            return f"del {obj.set} {obj.member}"
        case _, IpSet():
            return f"create {obj.name} {obj.type} {obj.options}"
        case _, SetMember():
            return f"add {obj.set} {obj.member}"
    raise AssertionError(step)


def _jump_command(step: Step, obj: Jump) -> str:
    if isinstance(step, Remove):
        return f"-D {obj.chain} {obj.rule}"
    return f"-I {obj.chain} 1 {obj.rule}" if obj.place == "first" else f"-A {obj.chain} {obj.rule}"


def ipset_found(saved: str) -> list[tuple[str, str, str, list[str]]]:
    """Name, type, options and members of each set in the output of `ipset save`."""
    found: dict[str, tuple[str, str, list[str]]] = {}
    for line in saved.splitlines():
        match line.split():
            case ["create", name, kind, *options]:
                found[name] = (kind, _created_with(options), [])
            case ["add", name, member, *_]:
                found[name][2].append(member)
    return [(name, *body) for name, body in found.items()]


def _created_with(options: Sequence[str]) -> str:
    """The options that a person gives, out of all that the kernel tells: it salts its hashes, and they grow."""
    match options:
        case ["family", family, "hashsize", _, "maxelem", most, *_]:
            return f"family {family} hashsize 1024 maxelem {most}"
        case _:
            return " ".join(options)


def iptables_found(saved: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """Table, chain and rules (without `-A CHAIN`) of each chain in the output of `iptables-save`."""
    found: dict[tuple[str, str], list[str]] = {}
    table = ""
    for line in saved.splitlines():
        match line[:1], line.split(maxsplit=2):
            case "*", _:
                table = line[1:]
            case ":", [chain, *_]:
                found[table, chain[1:]] = []
            case "-", ["-A", chain, rule]:
                found[table, chain].append(rule)
    return [(table, chain, tuple(rules)) for (table, chain), rules in found.items()]
