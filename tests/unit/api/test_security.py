"""securityContext and resources: from a file to what a node is asked to start, and back into a file."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nslab.admission.load import parse, parse_stored, parse_with_warnings
from nslab.api import security
from nslab.api.pod_types import Resources, SecurityContext
from nslab.api.quantity import MOST, whole
from nslab.app.plan import beyond
from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.components.kubelet import rights
from nslab.components.kubelet.container import Spec
from nslab.lab.dump import dump
from nslab.linux.processes.agents import _requests
from nslab.objects.container import ROOT, USUAL, Limits, Security, Workload
from nslab.objects.needs import FULL
from nslab.objects.plan import Add
from nslab.runtime.cgroups import machine_memory

if TYPE_CHECKING:
    from nslab.lab.types import Lab

LAB = "apiVersion: nslab/v1\nkind: Lab\nmetadata: {name: small}\nspec: {nodes: [{name: a}]}\n"


def lab(container: str, pod: str = "") -> Lab:
    """A lab with one pod of one container, and more of what each says."""
    spec = f"{{{pod and f'securityContext: {pod}, '}containers: [{{name: c, image: agnhost{container}}}]}}"
    return parse(f"{LAB}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {spec}\n", "small")


def started(made: Lab) -> Workload:
    """Its container, as a node is asked to start it."""
    (found,) = (obj for obj in compile_lab(assign_addresses(made), FULL) if isinstance(obj, Workload))
    return found


def context(container: str, pod: str = "") -> Security:
    return started(lab(f", securityContext: {container}", pod)).security


def test_root_with_what_runtimes_leave_unless_told_otherwise() -> None:
    made = started(lab(""))
    assert (made.security, made.limits) == (ROOT, USUAL) == (Security(0, 0, (), (), False), Limits(0, 0, 0))
    assert context("{}") == context("{privileged: false, runAsUser: 0}") == ROOT


def test_a_container_says_it_before_its_pod() -> None:
    pod = "{runAsUser: 1000, runAsGroup: 2000, supplementalGroups: [5, 6, 5], fsGroup: 7}"
    assert context("{}", pod) == Security(1000, 2000, (5, 6, 7))
    assert context("{runAsUser: 0}", pod) == Security(0, 2000, (5, 6, 7))
    assert context("{runAsGroup: 3000}", pod) == Security(1000, 3000, (5, 6, 7))
    assert context("{runAsUser: 5}") == Security(5)
    assert context("{runAsNonRoot: false}", "{runAsNonRoot: true}") == ROOT
    assert context("{runAsUser: 1}", "{runAsNonRoot: true}") == Security(1)


@pytest.mark.parametrize(
    ("capabilities", "dropped"),
    [
        ("{drop: [ALL]}", security.DEFAULT),
        ("{drop: [all], add: [cap_net_raw]}", tuple(name for name in security.DEFAULT if name != "NET_RAW")),
        ("{drop: [MKNOD, net_raw, CAP_CHOWN]}", ("CHOWN", "NET_RAW", "MKNOD")),
        ("{drop: [SYS_ADMIN, NET_ADMIN]}", ()),
        ("{add: [NET_RAW], drop: [NET_RAW]}", ("NET_RAW",)),
        ("{add: [NET_RAW]}", ()),
    ],
)
def test_capabilities(capabilities: str, dropped: tuple[str, ...]) -> None:
    assert context(f"{{capabilities: {capabilities}}}").dropped == dropped


def test_limits_are_bytes() -> None:
    limits = "{memory: 64Mi, ephemeral-storage: 1.5k, cpu: 500m}"
    assert started(lab(f", resources: {{limits: {limits}, requests: {{memory: 1Mi}}}}")).limits == Limits(1 << 26, 1500)
    assert started(lab(", resources: {limits: {memory: 128974848}}")).limits == Limits(128974848)
    assert started(lab(", resources: {requests: {memory: 1Mi}}")).limits == USUAL


def test_a_node_is_asked_for_it_and_takes_it() -> None:
    made = started(
        lab(
            ", resources: {limits: {memory: 1Gi, ephemeral-storage: 5}}, securityContext: "
            "{runAsUser: 1, runAsGroup: 2, readOnlyRootFilesystem: true, capabilities: {drop: [KILL]}}",
            "{fsGroup: 3}",
        )
    )
    (request,) = (json.loads(json.dumps(one)) for one in _requests(Add(made)))
    assert (request["security"], request["limits"]) == ([1, 2, [3], ["KILL"], True], [1 << 30, 5, 0])
    del request["op"], request["what"]
    spec = Spec(**request)
    assert (spec.security, spec.limits) == ([1, 2, [3], ["KILL"], True], [1 << 30, 5, 0])
    del request["security"], request["limits"]  # as a node of an earlier release wrote it down
    usual = Spec(**request)
    assert (usual.security, usual.limits) == (json.loads(json.dumps(ROOT)), json.loads(json.dumps(USUAL)))
    assert not usual.equals(spec)


def test_both_sides_know_the_same_capabilities() -> None:
    assert tuple(rights.CAPABILITIES) == security.DEFAULT
    assert rights.MASK == 0xA80425FB
    assert len({*security.DEFAULT, *security.OTHERS}) == 41


def test_it_survives_being_written() -> None:
    made = lab(
        ", securityContext: {runAsUser: 0, runAsNonRoot: false, readOnlyRootFilesystem: true, "
        "capabilities: {add: [KILL], drop: [ALL]}}, resources: {limits: {memory: 64Mi, ephemeral-storage: 1G}}",
        "{runAsUser: 5, runAsGroup: 0, supplementalGroups: [1], fsGroup: 0, runAsNonRoot: true}",
    )
    pod = made.pods[0]
    assert pod.security == SecurityContext(user=5, group=0, non_root=True, groups=(1,), fs_group=0)
    assert pod.containers[0].limits == Resources(1 << 26, 10**9)
    assert parse_stored(dump(made), "kept") == made
    assert parse_stored(dump(lab("")), "kept") == lab("")
    assert "security" not in dump(lab(""))


def test_replicas_are_made_anew_when_their_rights_change_and_only_then() -> None:
    def names(more: str) -> list[str]:
        template = f"{{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{{name: c, image: agnhost{more}}}]}}}}"
        spec = f"{{selector: {{matchLabels: {{a: b}}}}, template: {template}}}"
        made = parse(f"{LAB}---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: d}}\nspec: {spec}\n", "x")
        assert parse_stored(dump(made), "kept") == made
        return [pod.name for pod in made.pods]

    plain = names("")
    assert names(", securityContext: {}, resources: {}") == plain
    changed = [
        plain,
        names(", securityContext: {runAsUser: 1}"),
        names(", resources: {limits: {memory: 64Mi}}"),
        names(", resources: {limits: {memory: 65Mi}}"),
    ]
    assert all(one != other for one, other in pairwise(changed))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0), ("128974848", 128974848), ("129e6", 129000000), ("129M", 129000000), ("123Mi", 123 << 20),
        ("128974848000m", 128974848), ("100m", 1), ("1.5", 2), (".5Ki", 512), ("5.", 5), ("+1k", 1000), ("1E", 10**18),
        ("1Ei", 1 << 60), ("1E3", 1000), ("1e-3", 1), ("1n", 1), ("999999999n", 1), ("1000000001n", 2), ("2u", 1),
        ("1e99", MOST), ("9223372036854775808", MOST), ("16Ei", MOST), ("0.1Gi", 107374183), ("00064", 64),
    ],
)  # fmt: skip
def test_quantities(text: str, number: int) -> None:
    assert whole(text) == number


@pytest.mark.parametrize(
    "text",
    ["", " ", "Mi", ".", "1 Mi", "1MB", "1mi", "1K", "1ki", "-1", "-0", "1e", "1e1e1", "1e1Mi", "1.2.3", "0x10",
     "1_000", "inf", "nan", "1e999", "1" * 41, "1\n", "\n1", "\u0661", "1Mi ", "--1", "1+"],
)  # fmt: skip
def test_what_is_no_quantity(text: str) -> None:
    assert whole(text) is None


@given(st.integers(0, 10**12), st.integers(0, 999), st.sampled_from(["", "n", "u", "m", "k", "M", "Ki", "Mi"]))
def test_a_quantity_is_rounded_up(number: int, thousandths: int, suffix: str) -> None:
    factors = {"": 1, "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "k": 1000, "M": 10**6}
    exact = (number + Fraction(thousandths, 1000)) * {**factors, "Ki": 1 << 10, "Mi": 1 << 20}[suffix]
    found = whole(f"{number}.{thousandths:03}{suffix}")
    assert found is not None
    assert 0 <= found - exact < 1


def test_too_little_memory_is_probably_not_meant() -> None:
    pod = "containers: [{name: c, image: agnhost, resources: {limits: {memory: 64m}}}]"
    text = f"{LAB}---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p}}\nspec: {{{pod}}}\n"
    (warning,) = parse_with_warnings(text, "x.yaml")[1]
    output = "container c may have 1 byte of memory, in which no program starts; 64Mi is a usual limit"
    assert str(warning).endswith(f": {output}")
    assert str(warning).startswith("x.yaml:9:")
    assert parse_with_warnings(text.replace("64m", "64Mi"), "x.yaml")[1] == ()


def doubts(*pods: str) -> list[str]:
    """The warnings about a file with these pods' specs: LINE:COLUMN: what."""
    documents = [
        f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{number}}}\nspec: {spec}\n"
        for number, spec in enumerate(pods)
    ]
    return [str(one).removeprefix("x.yaml:") for one in parse_with_warnings("".join([LAB, *documents]), "x.yaml")[1]]


def test_what_is_asked_for_in_vain_is_named() -> None:
    context = "{allowPrivilegeEscalation: true, seccompProfile: {type: Unconfined}}"
    resources = "{limits: {cpu: 500m, memory: 64Mi}, requests: {cpu: 1}}"
    own = "securityContext: {seccompProfile: {type: Localhost, localhostProfile: x}}"
    pod = f"{{{own}, containers: [{{name: c, image: agnhost, resources: {resources}, securityContext: {context}}}]}}"
    (line,) = doubts(pod)
    what, _, fields = line.partition(": ")
    assert what == "kept, not acted on"
    assert sorted(fields.split(", ")) == [
        "Pod.spec.containers.securityContext.allowPrivilegeEscalation",
        "Pod.spec.containers.securityContext.seccompProfile.type",
        "Pod.spec.securityContext.seccompProfile.localhostProfile",
    ]
    (twice,) = doubts(pod, pod)
    assert twice.count("(2 times)") == 3


@pytest.mark.parametrize(
    "output",
    ["securityContext: {allowPrivilegeEscalation: false, seccompProfile: {type: RuntimeDefault}}",
     "securityContext: {seccompProfile: null}", "resources: {limits: {memory: 64Mi}, requests: null}", "resources: {}"],
)  # fmt: skip
def test_nothing_is_said_of_what_holds_anyway(output: str) -> None:
    assert doubts(f"{{containers: [{{name: c, image: agnhost, {output}}}]}}") == []


def test_more_memory_than_there_is() -> None:
    """The machine's is the limit: said of all such containers at once."""
    (output,) = beyond(lab(", resources: {limits: {memory: 100Ti}}"))
    there = machine_memory() / 2**30
    assert output == f"the memory limit of p/c is more than this machine has ({there:.1f}Gi)"
    assert [*beyond(lab(", resources: {limits: {memory: 64Mi}}"))] == [*beyond(lab(""))] == []
