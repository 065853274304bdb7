"""What a node keeps of what happens to its pods: equal events counted, similar ones put together, and not too many."""

from __future__ import annotations

from nslab.components.kubelet.container import Spec
from nslab.components.kubelet.events import COMBINED, LONGEST, MOST, SIMILAR, Events, back_off, path, pulled
from nslab.components.kubelet.sandbox import PodSandbox

POD = PodSandbox("nslab.l.web", "default", "web", "uid-1", "web", "20.96.0.1", share_pid=False)
WEB = "spec.containers{web}"


def test_equal_events_count_up() -> None:
    events = Events()
    for _ in range(3):
        events.record(POD, WEB, "Unhealthy", "Readiness probe failed: no")
        events.record(POD, WEB, "Created", "Container created")
    first, second = events.listed()
    assert [first["count"], second["count"]] == [3, 3]
    assert (first["reason"], second["reason"]) == ("Unhealthy", "Created")
    assert first["first"] < first["last"]
    assert (first["pod"], first["uid"], first["path"]) == ("web", "uid-1", WEB)


def test_messages_that_always_differ_are_put_together() -> None:
    events = Events()
    for number in range(SIMILAR + 5):
        events.record(POD, WEB, "Unhealthy", f"Readiness probe failed: {number}")
    found = events.listed()
    assert len(found) == SIMILAR + 1
    last = found[-1]
    assert (last["message"], last["count"]) == (f"{COMBINED}Readiness probe failed: {SIMILAR + 4}", 5)


def test_there_is_an_end_to_their_number_and_to_their_length() -> None:
    events = Events()
    for number in range(MOST + 7):
        events.record(POD, f"spec.containers{{c{number}}}", "Created", "x" * 2 * LONGEST)
    found = events.listed()
    assert (len(found), found[0]["path"]) == (MOST, "spec.containers{c7}")
    assert {len(one["message"]) for one in found} == {LONGEST}


def test_the_kubelets_words() -> None:
    spec = Spec("nslab.l.web", "web", ["agnhost"], [], "/", 0, "", image="agnhost:2", init="init")
    assert path(spec) == "spec.initContainers{web}"
    assert pulled(spec) == 'Container image "agnhost:2" already present on machine and can be accessed by the pod'
    assert pulled(Spec("ns", "web", ["standin"], [], "/", 0, "", image="nginx")).startswith("A stand-in plays")
    where = "web_default(uid-1)"
    assert back_off(POD, "c", 80)[0] == f"back-off 1m20s restarting failed container=c pod={where}"
    assert back_off(POD, "c", 10) == (
        f"back-off 10s restarting failed container=c pod={where}",
        f"Back-off restarting failed container c in pod {where}",
    )
