"""CronJobs are kept, named, and checked whole."""

from __future__ import annotations

import pytest

from nslab.admission.change import applied
from nslab.admission.load import parse, parse_with_warnings
from nslab.errors import LabFileError

GOOD = """\
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "*/5 * * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: OnFailure
          containers: [{name: c, image: x}]
"""
POD = "spec.jobTemplate.spec.template.spec"


def test_a_cron_job_is_kept_and_named() -> None:
    lab, found = parse_with_warnings(GOOD, "f")
    assert [one.kind for one in lab.others] == ["CronJob"]
    assert [one.sentence for one in found] == ["kept, not acted on: 1 CronJob"]
    assert [pod.name for pod in lab.pods] == ["kube-dns"]
    assert applied(lab, GOOD)[1] == ("cronjob.batch/tick unchanged",)


@pytest.mark.parametrize("zone", ["Etc/UTC", "Europe/Berlin"])
def test_what_it_may_say(zone: str) -> None:
    more = f"spec:\n  timeZone: {zone}\n  concurrencyPolicy: Forbid\n  suspend: true\n  successfulJobsHistoryLimit: 0\n"
    assert len(parse(GOOD.replace("spec:\n", more, 1), "f").others) == 1


REFUSED = """\
*/5 * -> */5
spec.schedule: Invalid value: "*/5 * * *": expected exactly 5 fields, found 4: [*/5 * * *]

*/5 * * * * ->
spec.schedule: Required value

*/5 -> TZ=UTC */5
spec.schedule: Invalid value: "TZ=UTC */5 * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead

jobT -> timeZone: Nowhere/Land\\n  jobT
spec.timeZone: Invalid value: "Nowhere/Land": unknown time zone Nowhere/Land

jobT -> timeZone: local\\n  jobT
spec.timeZone: Invalid value: "local": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones

jobT -> concurrencyPolicy: Never\\n  jobT
spec.concurrencyPolicy: Unsupported value: "Never": supported values: "Allow", "Forbid", "Replace"

jobT -> startingDeadlineSeconds: -1\\n  jobT
spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0

OnFailure -> Always
POD.restartPolicy: Unsupported value: "Always": supported values: "Never", "OnFailure"

template: -> completions: -2\\n      template:
spec.jobTemplate.spec.completions: Invalid value: -2: must be greater than or equal to 0

template: -> selector: {matchLabels: {a: b}}\\n      template:
spec.jobTemplate.spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: `selector` will be auto-generated

template: -> manualSelector: true\\n      template:
spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false"

image: x -> image: x, livenessProbe: {}
POD.containers[0].livenessProbe: Required value: must specify a handler type
"""


@pytest.mark.parametrize("case", REFUSED.replace("POD", POD).strip().split("\n\n"))
def test_the_api_server_refuses(case: str) -> None:
    change, sentence = case.split("\n")
    old, new = (word.strip().replace("\\n", "\n") for word in change.split("->"))
    assert old in GOOD
    with pytest.raises(LabFileError) as wrong:
        parse(GOOD.replace(old, new, 1), "f")
    (one,) = wrong.value.errors
    assert one.sentence == f'The CronJob "tick" is invalid: {sentence}'


def test_its_name_leaves_room_for_the_jobs() -> None:
    assert parse(GOOD.replace("tick", "t" * 52), "f")
    with pytest.raises(LabFileError, match=r'metadata.name: Invalid value: "t+": must be no more than 52 characters'):
        parse(GOOD.replace("tick", "t" * 53), "f")


def test_its_containers_are_checked() -> None:
    with pytest.raises(LabFileError, match="two containers of CronJob tick are called c"):
        parse(GOOD.replace("[{name: c, image: x}]", "[{name: c, image: x}, {name: c, image: y}]"), "f")


def test_a_job_cannot_have_fewer_than_no_pods() -> None:
    job = GOOD.partition("spec:\n      template")[2].replace("\n    ", "\n")
    text = f"apiVersion: batch/v1\nkind: Job\nmetadata: {{name: one}}\nspec:\n  parallelism: -1\n  template{job}"
    with pytest.raises(LabFileError, match=r"spec.parallelism: Invalid value: -1: must be greater than or equal to 0"):
        parse(text, "f")
