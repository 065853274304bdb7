"""CNI plugins as a person runs them: the parameters before the program, the configuration behind it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nslab.cni.chain import order
from nslab.objects.plan import Add, Remove, Replace
from nslab.quote import fill, quote

if TYPE_CHECKING:
    from nslab.cni.chain import Command
    from nslab.objects.attachment import Attachment
    from nslab.objects.plan import Step

FUNCTION = """
state=$(mktemp -d)         # what plugins keep of each node: a node's /var/lib is its own, and so is iptables' lock

cni() {  # NETNS PLUGIN: run it in a node's namespace
  mkdir -p "$state/$1"
  XTABLES_LOCKFILE="$state/$1/lock" ip netns exec "$1" sh -c 'mount --bind "$0" /var/lib && exec "$1"' "$state/$1" "$2"
}
"""
"""For a script: `ip netns exec` gives a program a mount namespace of its own, but /var/lib in it is the machine's."""


def lines(step: Step, obj: Attachment, way: str = "ip netns exec") -> list[str]:
    """ADD through the list, each plugin told what the one before it made; or DEL, last first; or both.

    `way`: the command that runs a program on a node; in a script that has `FUNCTION`, `cni`.
    """
    match step:
        case Add():
            return _add(obj, way)
        case Remove():
            return _delete(obj, way)
        case Replace(old=old):
            assert type(old) is type(obj)
            return [*_delete(old, way), *_add(obj, way)]


def _add(obj: Attachment, way: str) -> list[str]:
    places = range(len(obj.wiring.network.types))
    return [f"made=$({_run(obj, way, place, 'ADD', chained=place > 0)})" for place in places]


def _delete(obj: Attachment, way: str) -> list[str]:
    return [_run(obj, way, place, "DEL") for place in reversed(range(len(obj.wiring.network.types)))]


def _run(obj: Attachment, way: str, place: int, command: Command, *, chained: bool = False) -> str:
    told = order(obj.wiring, place, command, obj.address, {} if chained else None)
    parameters = " ".join(f"{name}={quote(value)}" for name, value in told.env.items())
    config = json.loads(told.stdin)
    text = quote(told.stdin)
    if config.pop("prevResult", None) is not None:
        text = f"{quote(json.dumps(config, ensure_ascii=False)[:-1])}', \"prevResult\": '\"$made\"'}}'"
    return f"{parameters} {way} {fill('{} {}', obj.node, told.program)} <<< {text}"
