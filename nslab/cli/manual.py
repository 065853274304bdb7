"""The manual page nslab(1): the verbs as in `--help`, and more than `--help` has room for.

`python -m nslab.cli.manual` prints it; the wheel contains it.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DESCRIPTION = """\
A lab is a small cluster without a cluster: every node, pod and client is a network namespace of this machine, and the
kernel's own veth pairs, bridges, tunnels, routes and rules join them. All of it lies in namespaces named
nslab.LAB.HOST; nslab changes nothing of the machine's own network.

LAB names a lab that comes with nslab (`nslab labs`); FILE or DIR is a lab of your own: a Lab document and ordinary
Kubernetes objects in one YAML stream. A verb that makes or enters namespaces takes root; labs, show, plan,
graph, render, schema, docs, completion, help, version and vm do not."""

ENVIRONMENT = (
    ("NSLAB_TIMEOUT_FACTOR", "Multiplies every timeout, for a slow machine: 10, say."),
    ("NO_COLOR", "If set, nslab prints no colours."),
    ("LC_ALL, LC_MESSAGES, LANG", "The first that is set chooses the language of guides and checks: ko_KR is Korean."),
    ("PAGER", "What shows guides and documents on a terminal; default, and always as root: less."),
    ("SHELL", "The shell that `nslab vm` runs without a command."),
    (
        "PATH",
        (
            "Where `nslab vm` looks for its command. nslab itself looks for the programs that it runs as root in "
            "sbin and bin of /usr/local, /usr and /, and where NixOS and Guix have theirs, never in PATH."
        ),
    ),
)

FILES = (
    (
        "/run/nslab/LAB/lab.yaml",
        "The lab's desired state, with the addresses that nslab assigned; the files beside it are nslab's own.",
    ),
    ("/run/netns/nslab.LAB.HOST", "A host's network namespace, where `ip netns` looks for it."),
)

EXAMPLES = (
    (
        "Build a lab, see who can reach whom, take it away:",
        "nslab up calico-two-node\nnslab probe calico-two-node\nnslab down calico-two-node",
    ),
    ("Call a Service from inside a pod:", "nslab exec calico-two-node/pod-d -- curl -s http://svc-b:8080/hostname"),
    ("Read the guide of a lab:", "nslab show calico-two-node --guide"),
    ("Read the rest of the documents:", "nslab docs\nnslab docs services"),
)

SEE_ALSO = ("ip", "ip-netns", "ip-route", "bridge", "iptables", "ipset", "nft", "ipvsadm", "conntrack", "tcpdump")
"""All in section 8."""


def page(command: click.Group, version: str) -> str:
    """The page in roff's man macros, for a group of commands."""
    return "\n".join(_lines(command, version)) + "\n"


def _lines(command: click.Group, version: str) -> Iterator[str]:
    # No date: the page changes with the program's version.
    yield f'.TH NSLAB 1 "" "nslab {_text(version)}" "User Commands"'
    yield from (".SH NAME", *_filled(f"nslab - {str(command.help).rstrip('.')}"))
    yield from (".SH SYNOPSIS", ".B nslab", r"[\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]")
    yield from (".SH DESCRIPTION", *_paragraphs(DESCRIPTION))
    context = click.Context(command, info_name="nslab", **command.context_settings)
    yield from (".SH OPTIONS", *_parameters(command.get_params(context), context))
    yield ".SH COMMANDS"
    for name, verb in command.commands.items():
        yield from _verb(name, verb, context)
    yield from (".SH EXIT STATUS", *_paragraphs(command.epilog or ""))
    yield from (".SH ENVIRONMENT", *_terms(ENVIRONMENT))
    yield from (".SH FILES", *_terms(FILES))
    yield ".SH EXAMPLES"
    for index, (what, typed) in enumerate(EXAMPLES):
        yield from ([".PP"] if index else [])
        yield from (*_filled(what), *_typed(typed))
    yield ".SH SEE ALSO"
    yield ",\n".join(rf"\fB{_text(name)}\fR(8)" for name in SEE_ALSO)


def _verb(name: str, verb: click.Command, above: click.Context) -> Iterator[str]:
    context = click.Context(verb, info_name=name, parent=above)
    pieces = " ".join(verb.collect_usage_pieces(context))
    yield f'.SS "nslab {name} {_text(pieces)}"'
    about, _, example = inspect.cleandoc(verb.help or "").partition("Example: ")
    yield from _paragraphs(about)
    yield from _parameters(verb.params, context)
    if example:
        yield from (".PP", "Example:", *_typed(example))


def _parameters(parameters: Sequence[click.Parameter], context: click.Context) -> Iterator[str]:
    """The options and arguments as in --help, without arguments that have no help: the usage line has those."""
    records = filter(None, (parameter.get_help_record(context) for parameter in parameters))
    yield from _terms([(term, about) for term, about in records if about not in ("", "[required]")])


def _terms(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    for term, about in pairs:
        yield from (".TP", rf"\fB{_text(term)}\fR", *_filled(about))


def _paragraphs(text: str) -> Iterator[str]:
    for index, paragraph in enumerate(text.strip().split("\n\n")):
        if index:
            yield ".PP"
        yield from _filled(paragraph)


def _filled(text: str) -> Iterator[str]:
    """Wrap running text."""
    lines = textwrap.wrap(_escaped(" ".join(text.split())), 78, break_long_words=False, break_on_hyphens=False)
    return map(_guarded, lines)


def _typed(lines: str) -> Iterator[str]:
    """Example commands, verbatim."""
    yield from (
        ".RS 4",
        ".EX",
        *(_text(line).replace("'", r"\(aq") for line in lines.strip().splitlines()),
        ".EE",
        ".RE",
    )


def _text(text: str) -> str:
    return _guarded(_escaped(text))


def _escaped(text: str) -> str:
    """Escape text for roff: backslashes, quotes, and characters outside of ASCII."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-").replace('"', r"\(dq")
    escaped = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", escaped)
    return "".join(char if char.isascii() else rf"\[u{ord(char):04X}]" for char in escaped)


def _guarded(line: str) -> str:
    """Protect a line that starts with a dot or a quote, which roff would read as a request."""
    return rf"\&{line}" if line.startswith((".", "'")) else line


if __name__ == "__main__":
    from nslab.cli.commands import tree
    from nslab.version import version

    print(page(tree(), version()), end="")
