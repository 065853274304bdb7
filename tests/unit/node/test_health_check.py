"""One probe, from the lab file to the node's process."""

from __future__ import annotations

import json

from nslab.components.kubelet.container import Spec
from nslab.objects.container import Workload
from nslab.runtime.health_check import HealthCheck

ASKED = HealthCheck("httpGet", 8080, "/up", period=5, failures=2)


def test_one_of_the_same_fields_is_the_same() -> None:
    same = HealthCheck("httpGet", 8080, "/up", period=5, failures=2)
    assert (same, hash(same), repr(same)) == (ASKED, hash(ASKED), repr(ASKED))
    assert HealthCheck("httpGet", 8080, "/up", period=5, failures=3) != ASKED
    assert ASKED.fields() != ASKED


def test_a_node_reads_what_was_sent() -> None:
    app = Workload("nslab.l.pod", "nslab.l.node1", "app", ("sleep", "1"), (), "/", 0, readiness=ASKED)
    request = json.loads(json.dumps(app.request()))
    del request["what"]
    spec = Spec(**request)
    assert spec.readiness is not None
    assert HealthCheck(**spec.readiness) == ASKED
    assert spec.liveness is None
