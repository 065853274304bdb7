"""Each object has the time at which it was created, also when the lab's file is read again."""

from __future__ import annotations

from nslab.admission.change import applied, deleted
from nslab.admission.load import parse_stored
from nslab.lab.creation import created, with_creation
from nslab.lab.dump import dump
from tests.unit.lab.test_change import FILE, running

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: later}\nspec: {ports: [{port: 80}]}\n"


def test_what_comes_later_has_its_own_time() -> None:
    first = with_creation(running(), None, 1000.5)
    assert first.created == (("", 1000),), "one time for all that came with the lab"
    second = with_creation(applied(first, SERVICE)[0], first, 2000)
    assert parse_stored(dump(second), "kept").created == second.created
    assert (created(second, "Service", "default", "later"), created(second, "Service", "default", "web")) == (
        2000,
        1000,
    )
    third = with_creation(applied(second, FILE.partition("---\n")[2])[0], second, 3000)
    assert third.created == second.created


def test_another_object_of_the_name_is_another_object() -> None:
    first = with_creation(running(), None, 1000)
    second = with_creation(deleted(first, ("svc/web",))[0], first, 2000)
    third = with_creation(applied(second, FILE.partition("---\n")[2])[0], second, 3000)
    assert created(third, "Service", "default", "web") == 3000
    pod = next(pod for pod in third.pods if pod.owner)
    fourth = with_creation(deleted(third, ("pod", pod.name))[0], third, 4000)
    new = fourth.pods[-1]
    times = [created(fourth, "Pod", one.namespace, one.name, one.uid) for one in fourth.pods if one.owner]
    assert (sorted(times), created(fourth, "Pod", "default", new.name, new.uid)) == ([1000, 1000, 4000], 4000)


def test_a_new_template_makes_a_new_replica_set() -> None:
    first = with_creation(running(), None, 1000)
    text = FILE.partition("---\n")[2].replace("image: agnhost}]}\n---", "image: agnhost, args: [netexec]}]}\n---")
    second = with_creation(applied(first, text)[0], first, 2000)
    later = {key.partition("/")[0] for key, time in second.created if time == 2000}
    assert later == {"Pod", "ReplicaSet"}
    assert created(second, "Deployment", "default", "web") == 1000
