"""What Felix would write on a node of a file: read, decided, as text; without root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.errors import UsageError
from nslab.lab.network_rules import RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.api.values import Source


def felix_text(
    sources: Sequence[Source], file: str, name: str, version: str | None, dataplane: str | None = None
) -> str:
    """The chains and sets of node `name`, for manifests or a lab file. `file`: their name.

    `version`, `dataplane`: Felix's, not the file's. Raises LabFileError and UsageError.
    """
    from nslab.admission.load import load_sources
    from nslab.compiler.placement import assign_addresses
    from nslab.compiler.policies import cluster, felix_node
    from nslab.policy import felix
    from nslab.policy.model import DATAPLANES
    from nslab.policy.release import RELEASES
    from nslab.policy.render import render

    if version is not None and version not in RELEASES:
        raise UsageError(f"--calico-version is one of {', '.join(RELEASES)}, not {version!r}")
    if dataplane is not None and dataplane not in DATAPLANES:
        raise UsageError(f"--dataplane is one of {', '.join(DATAPLANES)}, not {dataplane!r}")
    lab = assign_addresses(load_sources(sources, file))
    lab = replace(lab, calico_version=version or lab.calico_version, dataplane=dataplane or lab.dataplane)
    if not RULES[lab.plugin].policies:
        raise UsageError(f"{file}: {RULES[lab.plugin].label} no Felix, which is a part of calico")
    for node in lab.nodes:
        if node.name == name:
            return render(felix.items(cluster(lab), felix_node(lab, node)))
    raise UsageError(f"{file} has no node {name!r}; there are {', '.join(node.name for node in lab.nodes)}")
