"""The text of a mode's rules on a node, to read and to apply: it needs no root and no kernel.

Each program has a section: a comment with its name, then its input:

| section | program |
|---|---|
| `# sysctl -qw PATH=VALUE …` | none: the comment is the command |
| `# iptables-restore --noflush` | that command; it declares and fills chains, and appends jumps from built-in chains |
| `# nft -f -` | that command |
| `# ipset restore` | `ipset -exist restore` |
| `# kube-ipvs0` | `ip -batch -` |
| `# ipvsadm -R` | that command |

In iptables, nftables and userspace mode the whole text is valid input: the programs ignore the comment, too.
kube-proxy inserts its jumps before those of others (`-I CHAIN 1`); this text appends them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.proxy.mode import whole
from nslab.proxy.model import visible
from nslab.proxy.modes import mode
from nslab.proxy.sync import is_large
from nslab.ruletext.iptables import saved_text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.proxy.model import Proxy, ServiceInfo
    from nslab.ruletext.items import Items, NodeCommand

_TITLES = {"nft": "nft -f -", "ipset": "ipset restore", "ip": "kube-ipvs0", "ipvsadm": "ipvsadm -R"}


def render(services: Iterable[ServiceInfo], proxy: Proxy) -> str:
    """The text of the proxy's mode for these Services."""
    services = sorted(filter(None, map(visible, services)), key=lambda service: service.key)
    proxy = replace(proxy, large=is_large(services))
    module = mode(proxy.mode)
    items = whole(module, services, proxy)
    return "\n".join(_section(command, items) for command in module.commands({}, items, proxy))


def _section(command: NodeCommand, items: Items) -> str:
    program = command.argv[0]
    if program.endswith("-restore"):
        return f"# iptables-restore --noflush\n{saved_text(items)}"
    if not command.text:
        return f"# {' '.join(command.argv)}\n"
    return f"# {_TITLES.get(program) or ' '.join(command.argv)}\n{command.text}"
