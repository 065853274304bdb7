"""Shell completion."""

from __future__ import annotations

SHELLS = {
    "bash": "share/bash-completion/completions/nslab",
    "zsh": "share/zsh/site-functions/_nslab",
    "fish": "share/fish/vendor_completions.d/nslab.fish",
}
"""The shells, and the path below a prefix where each finds the script of `nslab completion`."""


def script(shell: str) -> str:
    """The completion script of a shell."""
    from typer._completion_shared import get_completion_script

    text = get_completion_script(prog_name="nslab", complete_var="_NSLAB_COMPLETE", shell=shell)
    if shell == "zsh":
        # zsh loads the file from its function path at the first completion, as the body of the function `_nslab`.
        text += '\n\nif [ "$funcstack[1]" = _nslab ]; then _nslab_completion "$@"; fi'
    return text


def shipped_labs(incomplete: str) -> list[str]:
    """Labs that come with nslab."""
    from nslab.lab.find import names

    return [name for name in names() if name.startswith(incomplete)]


def running_labs(incomplete: str) -> list[str]:
    """Labs that are up."""
    from nslab.linux.netns import labs

    return [name for name in labs() if name.startswith(incomplete)]


def exercises(incomplete: str) -> list[str]:
    """Labs that are up and have goals."""
    from nslab.lab.find import FILE, check_file
    from nslab.linux.netns import folder

    up = running_labs(incomplete)
    try:
        return [name for name in up if check_file(folder(name) / FILE)]
    except PermissionError:  # only root can read a lab's folder
        return up


def hosts(incomplete: str) -> list[str]:
    """LAB/HOST of the labs that are up."""
    from nslab.linux.netns import IP_NETNS, entries

    names = [ns.split(".")[1:] for ns in entries(IP_NETNS) if ns.startswith("nslab.") and ns.count(".") == 2]
    return [host for host in map("/".join, names) if host.startswith(incomplete)]
