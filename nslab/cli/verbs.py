"""The verbs, and `nslab --help`: written here without click and typer, whose import takes twice as long as the rest."""

from __future__ import annotations

import textwrap

ABOUT = "Kubernetes' network on one Linux machine: real namespaces, veth pairs, tunnels, routes and rules."
EXIT_CODES = """\
Exit codes: 0 success; 1 a probe or check failed; 2 wrong usage or lab file; 3 the kernel refused a step; 4 this machine
lacks something; 5 the work is done, but standard output took no report. `exec` exits with its command's code.
"""
MOST_COLUMNS = 120
"""Help is not wider, however wide the terminal is."""

VERBS: dict[str, tuple[str, str]] = {
    "labs": ("look.labs", "List the labs that come with nslab, in the order of the course."),
    "show": ("look.show", "Explain a lab and draw it, or print its guide."),
    "doctor": ("look.doctor", "Show which kernel features work here, and how to get what is missing."),
    "up": ("life.up", "Bring a lab up, or repair or change a running one."),
    "down": ("life.down", "Take a lab away: its processes, its namespaces, its folder."),
    "ps": ("look.ps", "List the running labs, or the pods of one as `kubectl get pods -o wide` does."),
    "inspect": ("look.inspect", "List the interfaces and addresses of a lab, or of one of its hosts."),
    "diff": ("life.diff", "Show where a running lab differs from its file, in the cluster's terms."),
    "plan": ("life.plan", "Print every step of a lab as a shell command."),
    "get": ("objects.get", "List the objects of a running lab, or print them whole, as `kubectl get` does."),
    "describe": (
        "objects.describe",
        "Show objects of a running lab in detail, with what belongs to them, as `kubectl describe` does.",
    ),
    "apply": ("objects.apply", "Create or change objects of a running lab, as `kubectl apply` does."),
    "delete": ("objects.delete", "Delete objects of a running lab, by KIND/NAME or by file."),
    "scale": ("objects.scale", "Set the number of replicas of controllers."),
    "set": ("objects.set_", "Change a setting of a running lab, and show what changed in the kernel."),
    "cni": ("cni.cni", "Wire the pods of a lab with CNI plugins."),
    "render": ("render.render", "Print what kube-proxy would write for a manifest's Services on a node."),
    "exec": ("inside.exec_", "Run a command inside a node, a router, a client, the switch, or a pod's container."),
    "shell": ("inside.shell", "Open a shell inside a node, a router, a client, the switch, or a pod's container."),
    "logs": ("inside.logs", "Print what a container wrote to stdout and stderr since its last start."),
    "probe": ("probe.probe", "Show by real packets who can reach whom."),
    "trace": ("trace.trace", "Follow one packet and its reply, hop by hop."),
    "dump-node": (
        "trace.dump_node",
        "Print a shell script that dumps what a node's kernel would do to packets.",
    ),
    "capture": ("capture.capture", "Capture packets at all interfaces of a lab."),
    "rules": (
        "rules.rules",
        "Show a node's rules as a tree: which chain leads where, for which Service, with live counters.",
    ),
    "policy": ("policy.policy", "Show who may reach a pod and whom it may reach, by the lab's NetworkPolicies."),
    "events": ("events.events", "Print what happens in a lab, a line each, as it happens."),
    "top": ("top.top", "Show a live page of a lab: interfaces, Services, connections, events."),
    "graph": ("graph.graph", "Draw a lab: its nodes, pods, interfaces and addresses, and the wire between them."),
    "check": ("check.check", "Show how far you are with an exercise."),
    "schema": ("look.schema", "Print the JSON Schema of the Lab document, or of a check file."),
    "vm": ("inside.vm", "Boot a second kernel in seconds, and run a command in it."),
    "docs": ("docs.docs", "Print one of nslab's documents, or list them all."),
    "completion": ("look.completion", "Print the completion script for a shell."),
    "help": ("help.help_", "Print the help of a verb, or list the verbs."),
    "version": ("help.version", "Print the version of nslab."),
}
"""Every verb, in the order of --help: its function, in a module of this package, and the first sentence of its help."""


def overview(columns: int) -> str:
    """What `nslab --help` prints on a terminal of `columns`: what click would make of all verbs' functions."""
    width = max(min(columns, MOST_COLUMNS) - 2, 50)
    longest = max(map(len, VERBS))
    verbs = [f"  {verb:{longest}}  {_shortened(about, width - longest - 6)}" for verb, (_, about) in VERBS.items()]
    options = [f"  {flags:{longest}}  {about}" for flags, about in _OPTIONS.items()]
    return "\n".join(
        [
            *("Usage: nslab [OPTIONS] COMMAND [ARGS]...", "", _indented(ABOUT, width)),
            *("", "Options:", *options, "", "Commands:", *verbs, "", _indented(EXIT_CODES, width)),
        ]
    )


_OPTIONS = {"--version": "Print the version.", "-h, --help": "Show this message and exit."}


def _shortened(sentence: str, most: int) -> str:
    """At most `most` characters of a sentence: whole words, then three dots in place of the others."""
    return textwrap.shorten(sentence, most, placeholder="...", break_on_hyphens=False)


def _indented(text: str, width: int) -> str:
    return textwrap.fill(" ".join(text.split()), width, initial_indent="  ", subsequent_indent="  ")
