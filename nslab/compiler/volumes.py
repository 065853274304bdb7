"""The volumes of a pod as its node makes them: sizes, and files from ConfigMaps, Secrets and the pod's fields (pure).

Like the environment, files have the contents of other objects at the moment when the pod starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.api.sources import FIELD
from nslab.api.volumes import FILES
from nslab.compiler.environment import expand
from nslab.objects.container import File, Mount, PodVolume
from nslab.runtime.cgroups import MEMORY
from nslab.runtime.mounts import VOLUME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nslab.api import volumes as views
    from nslab.api.pod_types import Container, Pod
    from nslab.compiler.environment import Surroundings

OWN = ("metadata.labels", "metadata.annotations")
"""Fields that only files can have, not variables."""


def volumes(around: Surroundings, pod: Pod) -> tuple[PodVolume, ...]:
    """A pod's volumes that some container mounts; its node makes no others."""
    return tuple(_volume(around, pod, one) for one in pod.mounted)


def mounts(pod: Pod, container: Container, variables: Mapping[str, str]) -> tuple[Mount, ...]:
    """A container's mounts; each names its volume by its index in `volumes(…)`. Volumes of files are read-only."""
    known = {one.name: (index, one.kind in FILES) for index, one in enumerate(pod.mounted)}
    return tuple(
        Mount(
            known[one.volume][0],
            one.path,
            expand(one.sub_path, variables) if one.expands else one.sub_path,
            one.read_only or known[one.volume][1],
        )
        for one in container.mounts
        if one.volume in known
    )


def _volume(around: Surroundings, pod: Pod, one: views.Volume) -> PodVolume:
    group = -1 if pod.security.fs_group is None else pod.security.fs_group
    if one.kind not in FILES:
        return PodVolume(min(one.size or VOLUME, MEMORY), group)
    more = 0o440 if group >= 0 else 0
    found = {path: (mode, data) for path, mode, data in _files(around, pod, one)}
    files = tuple(File(path, mode | more, data.decode("latin-1")) for path, (mode, data) in found.items())
    return PodVolume(VOLUME, group, files)


def _files(around: Surroundings, pod: Pod, one: views.Volume) -> Iterator[tuple[str, int, bytes]]:
    for source in one.sources:
        if source.kind == FIELD:
            for item in source.items:
                text = field(around, pod, item.key) if item.text is None else item.text
                if text is not None:
                    yield item.path, _mode(item, one), text.encode("utf-8", "surrogatepass")
            continue
        held = around.held(source.kind, pod.namespace, source.name)
        yield from ((key, one.mode, data) for key, data in held.items() if source.whole)
        yield from ((item.path, _mode(item, one), held[item.key]) for item in source.items if item.key in held)


def _mode(item: views.FileItem, one: views.Volume) -> int:
    return one.mode if item.mode is None else item.mode


def field(around: Surroundings, pod: Pod, path: str) -> str | None:
    """A field of a pod as the contents of a file; labels and annotations one per line, as the kubelet writes them."""
    if path in OWN:
        pairs = pod.labels if path == OWN[0] else pod.annotations
        return "\n".join(f'{name}="{_quoted(value)}"' for name, value in sorted(pairs))
    return around.field(pod, path)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
