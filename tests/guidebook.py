"""What a guide promises, as data: its command blocks in order, and whether an output is the one that is shown.

The rule, as guides use it. A fence of the kind `console` holds commands (behind `$ `; lines behind `> ` belong to
the command above), each followed by what it prints; nothing shown means that nothing is printed. What is shown is
exact, but
    …       as a whole line: any lines, or none; within a line: anything
    <n> <port> <time> <mac>   a number; a port; a time of day; a link-layer address
and blanks at the end of a line do not count. A command must succeed, unless `# exits with N` stands behind it.
A fence `console on node1` is typed in a shell of that host of the lab.
A fence `console terminal-2` is typed in another terminal: its command goes on running, what it says meanwhile is what
is shown, and a later fence of that terminal that begins without a prompt shows what it said since.
A fence `console if MODE` is for kernels that have that proxy mode.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

HOLES = {
    "…": r"[^\n]*",
    "<n>": r"\d+",
    "<port>": r"\d{1,5}",
    "<time>": r"\d\d:\d\d:\d\d(?:\.\d+)?",
    "<mac>": r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}",
}


@dataclass(frozen=True)
class Command:
    """One command, and the lines that it prints; `text` is "" where another terminal goes on.

    `host`: typed in a shell there; "": in one's own.
    `mode`: the proxy mode that it is about, if it is typed only where the kernel has that one.
    """

    text: str
    shown: tuple[str, ...]
    terminal: int
    line: int
    host: str = ""
    mode: str = ""

    @property
    def status(self) -> int:
        """How it ends."""
        promised = re.search(r"# exits with (\d+)", self.text)
        return int(promised[1]) if promised else 0


def commands(markdown: str) -> list[Command]:
    """Every command of a guide, in order."""
    found: list[Command] = []
    kinds = r"^```console(?: terminal-(\d))?(?: on (\S+))?(?: if (\w+))?\n(.*?)^```$"
    for fence in re.finditer(kinds, markdown, re.MULTILINE | re.DOTALL):
        first = markdown.count("\n", 0, fence.start()) + 2
        typed = _of_fence(fence[4].splitlines(), int(fence[1] or 1), first)
        found += [replace(command, host=fence[2] or "", mode=fence[3] or "") for command in typed]
    return found


def _of_fence(block: list[str], terminal: int, first: int) -> list[Command]:
    found: list[Command] = []
    for number, line in enumerate(block, first):
        if line.startswith("$ "):
            found.append(Command(line[2:], (), terminal, number))
        elif line.startswith("> ") and not found[-1].shown:
            last = found.pop()
            found.append(Command(f"{last.text}\n{line[2:]}", (), terminal, last.line))
        else:
            last = found.pop() if found else Command("", (), terminal, number)
            found.append(Command(last.text, (*last.shown, line), terminal, last.line))
    assert terminal > 1 or all(command.text for command in found), f"line {first}: an output without a command"
    return found


def matches(shown: tuple[str, ...], output: str) -> bool:
    """Whether an output is the one that is shown."""
    return re.fullmatch("".join(map(_line, shown)), _plain(output)) is not None


def wrong(shown: tuple[str, ...], output: str) -> str:
    """What is wrong with an output, for a person; "" if nothing is."""
    if matches(shown, output):
        return ""
    good = max(count for count in range(len(shown) + 1) if re.match("".join(map(_line, shown[:count])), _plain(output)))
    marked = [f"{'  ' if place < good else '! '}{line}" for place, line in enumerate(shown)]
    return "\n".join(["shown:", *marked, "but it said:", *(f"  {line}" for line in output.splitlines())])


def _plain(output: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in output.replace("\r", "").splitlines())


def _line(shown: str) -> str:
    if shown.strip() == "…":
        return r"(?:[^\n]*\n)*?"
    parts = re.split(f"({'|'.join(HOLES)})", shown.rstrip())
    return "".join(HOLES.get(part, re.escape(part)) for part in parts) + r"\n"
