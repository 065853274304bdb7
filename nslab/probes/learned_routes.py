"""Routes that a user adds to a router by hand; a router is outside the cluster, so probes rely on them (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.compiler.addresses import announced
from nslab.compiler.subnets import egress
from nslab.compiler.underlay import interface
from nslab.dataclass import replace
from nslab.objects.names import netns
from nslab.objects.plan import Remove
from nslab.objects.routes import Route

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.lab.types import Lab, Router
    from nslab.objects.plan import Plan


def with_learned_routes(lab: Lab, differences: Plan) -> Lab:
    """The lab in which a router with correct routes to every node's blocks counts as one with BGP.

    `differences`: the plan of `up`, whose removals include the user's routes.
    """
    by_hand = [step.obj for step in differences if isinstance(step, Remove) and isinstance(step.obj, Route)]
    return replace(
        lab,
        routers=tuple(
            replace(router, bgp=router.bgp or _knows(lab, router, [route for route in by_hand if route.ns == ns]))
            for router in lab.routers
            for ns in [netns(lab.name, router.name)]
        ),
    )


def _knows(lab: Lab, router: Router, routes: Sequence[Route]) -> bool:
    for node in lab.nodes:
        number, via = egress(lab, router, node.address)
        for block in announced(lab, node):
            # Longest prefix wins.
            found = max((route for route in routes if block.subnet_of(route.to)), key=_length, default=None)
            if found is None or (found.dev, found.via) != (interface(number), via):
                return False
    return True


def _length(route: Route) -> int:
    return route.to.prefixlen
