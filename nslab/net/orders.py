"""CNI plugins as a person runs them: the parameters before the program, the configuration behind it."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from nslab.cni.chain import order
from nslab.net.steps import Add, Remove, Replace

if TYPE_CHECKING:
    from nslab.cni.chain import Command
    from nslab.net.attachment import Attachment
    from nslab.net.steps import Step

FUNCTION = """
state=$(mktemp -d)         # what plugins keep of each node: a node's /var/lib is its own, and so is iptables' lock

cni() {  # NETNS PLUGIN: run it in a node's namespace
  mkdir -p "$state/$1"
  XTABLES_LOCKFILE="$state/$1/lock" ip netns exec "$1" sh -c 'mount --bind "$0" /var/lib && exec "$1"' "$state/$1" "$2"
}
"""
"""For a script: `ip netns exec` gives a program a mount namespace of its own, but /var/lib in it is the machine's."""


def lines(step: Step, obj: Attachment) -> list[str]:
    """ADD through the list, each plugin told what the one before it made; or DEL, last first; or both."""
    match step:
        case Add():
            return _add(obj)
        case Remove():
            return _delete(obj)
        case Replace(old=old):
            assert type(old) is type(obj)
            return [*_delete(old), *_add(obj)]


def scripted(line: str, obj: Attachment) -> str:
    """The line for a script that has `FUNCTION`."""
    return line.replace(f"ip netns exec {obj.node} ", f"cni {obj.node} ", 1)


def _add(obj: Attachment) -> list[str]:
    places = range(len(obj.wiring.network.types))
    return [f"made=$({_run(obj, place, 'ADD', chained=place > 0)})" for place in places]


def _delete(obj: Attachment) -> list[str]:
    return [_run(obj, place, "DEL") for place in reversed(range(len(obj.wiring.network.types)))]


def _run(obj: Attachment, place: int, command: Command, *, chained: bool = False) -> str:
    told = order(obj.wiring, place, command, obj.address, {} if chained else None)
    parameters = " ".join(f"{name}={shlex.quote(value)}" for name, value in told.env.items())
    config = json.loads(told.stdin)
    text = shlex.quote(told.stdin)
    if config.pop("prevResult", None) is not None:
        text = f"{shlex.quote(json.dumps(config, ensure_ascii=False)[:-1])}', \"prevResult\": '\"$made\"'}}'"
    return f"{parameters} ip netns exec {obj.node} {shlex.quote(told.program)} <<< {text}"
