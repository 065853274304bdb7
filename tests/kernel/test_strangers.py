"""What strangers put into a lab, many at a time: `diff` finds each, `up` mends or leaves it, `up --reset` removes it.

In a round there is at most one of a kind on a host, so that none hides another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from nslab.admission.load import load
from nslab.app.drift import drift_of
from nslab.app.up import up
from nslab.linux.netns import folder
from nslab.linux.observe.objects import KINDS
from nslab.objects.names import netns
from nslab.views.changes import changes
from tests.kernel.strangers import OTHERS, OURS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _pytest.mark import ParameterSet

    from nslab.pytest_plugin.running import RunningLab
    from tests.kernel.strangers import Stranger

pytestmark = [pytest.mark.root, pytest.mark.lab("calico-two-node", encapsulation="VXLAN", scope="module")]

LINKS = {"interfaces", "addresses", "attributes of interfaces", "states of interfaces"}
"""As one kind: with an interface that goes to another bridge, go what others set there."""


class Seen(NamedTuple):
    """The lab's own that differs, a line each; and what is not the lab's, by namespace and name."""

    differences: list[str]
    others: list[tuple[str, str]]


class Round(NamedTuple):
    """What `diff` sees when all strangers have come, after `up`, and after `up --reset`; which pod answers then."""

    come: Seen
    mended: Seen
    reset: Seen
    answer: str


def rounds(strangers: Mapping[str, Stranger]) -> list[tuple[str, ...]]:
    """The names of those who come together."""
    found: list[dict[tuple[str, str], str]] = []
    for name, stranger in strangers.items():
        where = stranger.host, "links" if stranger.kind in LINKS else stranger.kind
        free = next((taken for taken in found if where not in taken), {})
        if not free:
            found.append(free)
        free[where] = name
    return [tuple(taken.values()) for taken in found]


def each_of(strangers: Mapping[str, Stranger]) -> list[ParameterSet]:
    """Each stranger, with its round."""
    return [pytest.param(names, name, id=name) for names in rounds(strangers) for name in names]


@pytest.fixture(scope="module")
def played(module_lab: RunningLab, request: pytest.FixtureRequest) -> Round:
    """A round of strangers, by their names; nothing of it is left for the next."""
    for stranger in ((OTHERS | OURS)[name] for name in request.param):
        module_lab.sh(stranger.host, stranger.command)
    come = seen(module_lab)
    module_lab.mend()
    mended = seen(module_lab)
    done = up(load(folder(module_lab.name) / "lab.yaml"), unwanted=drift_of(module_lab.name).others)
    assert done.refused == {}
    answer = module_lab.pod("pod-b").http("20.109.131.3:8080/hostname").text
    return Round(come, mended, seen(module_lab), answer)


def seen(lab: RunningLab) -> Seen:
    """What `nslab diff` sees."""
    found = drift_of(lab.name)
    return Seen(changes(found.lab, found.plan), [(thing.ns, thing.what) for thing in found.others])


@pytest.mark.parametrize(("played", "what"), each_of(OTHERS), indirect=["played"], scope="module")
def test_what_is_not_the_labs_is_named_and_left_alone(module_lab: RunningLab, played: Round, what: str) -> None:
    stranger = OTHERS[what]
    found = [ns for ns, name in played.come.others if stranger.named in name]
    assert found == [netns(module_lab.name, stranger.host)], played.come.others
    assert any(stranger.named in name for _, name in played.mended.others), "it is left alone"
    assert played.come.differences == played.mended.differences == []
    assert played.reset == ([], [])


@pytest.mark.parametrize(("played", "what"), each_of(OURS), indirect=["played"], scope="module")
def test_what_is_the_labs_to_say_is_mended(played: Round, what: str) -> None:
    lines = played.come.differences
    sentences = [OURS[name].named for name in next(names for names in rounds(OURS) if what in names)]
    assert len([line for line in lines if line.startswith(OURS[what].named)]) == 1, lines
    assert [line for line in lines if not line.startswith(tuple(sentences))] == []
    assert played.mended.differences == []
    assert played.reset == ([], [])
    assert played.answer == "pod-d"


def test_a_routing_rule_that_somebody_put_back_is_the_one_that_was_there(module_lab: RunningLab) -> None:
    module_lab.sh("node1", "ip rule del pref 32766; ip rule add pref 32766 lookup main")
    assert seen(module_lab) == ([], [])


def test_each_kind_has_a_stranger() -> None:
    made_elsewhere = {"processes", "sockets", "XDP programs", "IPVS servers"}
    assert {made.kind for made in (*OTHERS.values(), *OURS.values())} | made_elsewhere == {kind.name for kind in KINDS}
