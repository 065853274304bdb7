"""Every kind of kernel object, found by looking: no list of them is kept anywhere."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING

from nslab import objects
from nslab.objects.base import KernelObject

if TYPE_CHECKING:
    from collections.abc import Iterator


def kinds() -> tuple[type[KernelObject], ...]:
    """The kinds that nslab has: what has no kind of its own below it."""
    for module in pkgutil.iter_modules(objects.__path__, "nslab.objects."):
        importlib.import_module(module.name)
    found = (kind for kind in _leaves(KernelObject) if kind.__module__.startswith("nslab."))
    return tuple(sorted(found, key=lambda kind: kind.__name__))


def _leaves(kind: type[KernelObject]) -> Iterator[type[KernelObject]]:
    # A class with slots is made twice; the first, which nobody can make objects of, may not be collected yet.
    below = [cls for cls in kind.__subclasses__() if _is_whole(cls)]
    if not below:
        yield kind
    for cls in below:
        yield from _leaves(cls)


def _is_whole(cls: type) -> bool:
    module = importlib.import_module(cls.__module__)
    return getattr(module, cls.__name__, cls) is cls
