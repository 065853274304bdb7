"""What a shell may complete."""

from __future__ import annotations


def shipped_labs(incomplete: str) -> list[str]:
    """Labs that come with nslab."""
    from nslab.lab.find import names

    return [name for name in names() if name.startswith(incomplete)]


def running_labs(incomplete: str) -> list[str]:
    """Labs that are up."""
    from nslab.linux.netns import labs

    return [name for name in labs() if name.startswith(incomplete)]


def hosts(incomplete: str) -> list[str]:
    """LAB/HOST of the labs that are up."""
    from nslab.linux.netns import labs, named

    found = [f"{lab}/{ns.removeprefix(f'nslab.{lab}.')}" for lab in labs() for ns in named(lab)]
    return [host for host in found if host.startswith(incomplete)]
