"""`nslab policy`: who may reach a pod, and whom it may reach."""

from __future__ import annotations

from typing import Annotated

import typer

from nslab.cli.arguments import LabSource, Output
from nslab.cli.complete import probed
from nslab.cli.output import Format, document, say, terminal_columns


def policy(
    source: LabSource,
    pod: Annotated[str, typer.Argument(metavar="POD", autocompletion=probed, help="A pod: NAME or NAMESPACE/NAME.")],
    output: Output = Format.TABLE,
) -> None:
    """Show who may reach a pod and whom it may reach, by the lab's NetworkPolicies.

    For each host it shows the declared ports that may be asked, `yes` if policies allow any port, `no` if they allow
    none, and which policies deny the rest. It reads the policies, neither rules nor routes: a client that may reach a
    pod may have no way to its address. `probe` sends packets, and `trace` shows the rule that drops one. A lab that is
    not up needs no root.

    Example: nslab policy calico-two-node pod-a
    """
    from nslab.app.access import pod_access
    from nslab.views.access import lines, to_json

    found = pod_access(source, pod)
    if output is not Format.TABLE:
        document(to_json(found), output)
        return
    for line in lines(found, terminal_columns()):
        say(line)
