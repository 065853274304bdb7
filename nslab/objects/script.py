"""A plan as bash commands.

Names, arguments and environments come from lab files: every word is quoted (`nslab.quote`).
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from nslab.objects.plan import transactions
from nslab.quote import comment, one_line, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nslab.objects.plan import Plan, Step

_PREAMBLE = """\
#!/usr/bin/env bash
# {title}
# Made by `nslab plan --script`. Run it as root. Containers get all of root's rights, so read their commands first.
# Containers' variables stand here with the values of Secrets: keep the file from others (chmod 600).
# Everything is in network namespaces named {prefix}*. To remove it:
#   for ns in $(ip netns list | grep -o '^{pattern}[^ ]*'); do
#     ip netns pids $ns | xargs -r kill -9; ip netns del $ns
#   done
set -euo pipefail
PYTHON=${{PYTHON:-{python}}}
"""


def commands(step: Step) -> list[str]:
    """The commands that do one step (more than one for a chain with its rules)."""
    return step.obj.lines(step)


def inside(step: Step) -> list[str]:
    """The same as they are typed within the object's namespace."""
    ns = step.obj.ns
    return [line.replace(f" -n {ns}", "", 1).removeprefix(f"ip netns exec {ns} ") for line in commands(step)]


def command(step: Step) -> str:
    """The commands of a step in one line, for messages."""
    return "; ".join(commands(step))


def script(plan: Plan, title: str, prefix: str, python: str = "python3") -> str:
    """A bash script that runs the plan. The names of all its namespaces begin with `prefix`; `python` imports nslab."""
    pattern = prefix.replace(".", "[.]")
    lines = [_PREAMBLE.format(title=one_line(title), prefix=prefix, pattern=pattern, python=quote(python))]
    lines[0] += "".join(dict.fromkeys(step.obj.functions for step in plan))
    everything = {step.obj.key: step.obj for step in plan}
    heading = ""
    for by, typed in numbered(plan, lambda step: step.obj.script_lines(step, everything)):
        lines += [f"\n{comment(by)}"] if by != heading else []
        lines += typed
        heading = by
    return "\n".join(lines) + "\n"


def numbered(plan: Plan, say: Callable[[Step], list[str]] = commands) -> Iterator[tuple[str, list[str]]]:
    """The plan's commands in an order that works in a shell, with the component that does them on a real node.

    A transaction may refer to objects that it adds later; separate commands must declare a chain before a jump to it.
    """
    for transaction in transactions(plan):
        for by, some in groupby(transaction.steps, key=lambda step: step.obj.by):
            steps = tuple(some)
            ordered = steps[0].obj.typed(steps)
            yield by, [line for step in steps for line in say(step)] if ordered is None else ordered
