"""What a lab file may ask for: what would lead out of a container is refused by a sentence, or has no effect."""

from __future__ import annotations

import json
import os
import re
import secrets
from typing import TYPE_CHECKING, Any

import pytest

from tests.kernel.attacks import intruder
from tests.kernel.attacks.attackkit import HEAD, MARKS, SLEEP, inside, pod, running, together
from tests.kernel.labkit import nslab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kernel.labkit import OwnLab

pytestmark = MARKS
MB = 1 << 20


def secured(**fields: Any) -> dict[str, Any]:
    """A container's fields with this securityContext."""
    return {"securityContext": fields}


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "privileged": (secured(privileged=True), {}),
    "SYS_ADMIN": (secured(capabilities={"add": ["SYS_ADMIN"]}), {}),
    "SYS_PTRACE": (secured(capabilities={"add": ["CAP_SYS_PTRACE"]}), {}),
    "SYS_MODULE": (secured(capabilities={"add": ["sys_module"]}), {}),
    "have ALL": (secured(capabilities={"add": ["ALL"]}), {}),
    "NET_ADMIN": (secured(capabilities={"drop": ["ALL"], "add": ["NET_ADMIN"]}), {}),
    "runAsUser: -1": (secured(runAsUser=-1), {}),
    "4294967295": (secured(runAsUser=0xFFFFFFFF), {}),
    "4294967296": (secured(runAsUser=1 << 32), {}),
    "runAsGroup: -1": (secured(runAsGroup=-1), {}),
    "supplementalGroups": ({}, secured(supplementalGroups=[-1])),
    "run as root": (secured(runAsNonRoot=True), {}),
    "../../etc": ({"workingDir": "../../etc"}, {}),
    "hostname": ({}, {"hostname": "../x"}),
    "limits.pids": ({"resources": {"limits": {"pids": "9999999"}}}, {}),
    "-1 is not a quantity": ({"resources": {"limits": {"memory": "-1"}}}, {}),
}
"""A word of the sentence, the container's fields, and the pod's."""
KEPT_OF_A_POD: dict[str, Any] = {
    "hostPID": True,
    "hostNetwork": True,
    "hostIPC": True,
    "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
    **secured(sysctls=[{"name": "kernel.core_pattern", "value": "x"}]),
}
KEPT_OF_A_CONTAINER: dict[str, Any] = {
    "volumeMounts": [{"name": "v", "mountPath": "/x"}],
    "lifecycle": {"postStart": {"exec": {"command": ["touch", "/tmp/started"]}}},
    "livenessProbe": {"exec": {"command": ["touch", "/tmp/asked"]}},
    **secured(windowsOptions={"hostProcess": True}),
}
"""What Kubernetes has, and nslab keeps and does not act on."""
NAMED = ("hostPID", "hostIPC", "sysctls")
WITHOUT_EFFECT = secured(
    allowPrivilegeEscalation=True,
    procMount="Unmasked",
    seccompProfile={"type": "Unconfined"},
    appArmorProfile={"type": "Unconfined"},
    seLinuxOptions={"type": "spc_t"},
)
ORDINARY = secured(runAsUser=12345, runAsGroup=23456)
NO_RIGHTS = "0" * 16


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    pods = [
        pod("asks", {"app": {**SLEEP, **WITHOUT_EFFECT}}),
        pod("user", {"app": {**SLEEP, **ORDINARY}}, securityContext={"supplementalGroups": [34567]}),
        pod("fixed", {"app": {**SLEEP, **secured(readOnlyRootFilesystem=True)}}),
        pod("less", {"app": {**SLEEP, **secured(capabilities={"drop": ["ALL"], "add": ["CHOWN"]})}}),
        pod("small", {"app": {**SLEEP, "resources": {"limits": {"ephemeral-storage": "1Mi"}}}}),
    ]
    with running(tmp_path_factory.mktemp("lab"), *pods) as made:
        yield made


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What nslab says of a file with a pod for each wrong field: a line each."""
    file = tmp_path_factory.mktemp("refused") / "lab.yaml"
    pods = [
        pod(f"p{number}", {"app": {**SLEEP, **container}}, **fields)
        for number, (container, fields) in enumerate(REFUSED.values())
    ]
    file.write_text(HEAD.format(name=f"t{secrets.token_hex(4)}") + "".join(pods))
    done = nslab("up", file)
    assert done.returncode == 2
    return done.stderr.splitlines()


@pytest.mark.parametrize("word", REFUSED)
def test_what_would_lead_out_is_refused(refusals: list[str], word: str) -> None:
    assert any(word in line for line in refusals)


def test_each_refusal_is_a_sentence(refusals: list[str]) -> None:
    assert len(refusals) >= len(REFUSED)
    assert not [line for line in refusals if "Traceback" in line]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    container = {**SLEEP, **KEPT_OF_A_CONTAINER}
    with running(tmp_path_factory.mktemp("kept"), pod("host", {"app": container}, **KEPT_OF_A_POD)) as made:
        yield made


def test_what_would_lead_out_is_kept_and_named_and_leads_nowhere(kept: OwnLab) -> None:
    output = nslab("up", kept.file).stderr
    assert [name for name in NAMED if not re.search(rf"kept, not acted on: .*\.{name}\b", output)] == []
    assert nslab("exec", f"{kept.name}/host", "--", "ls", "-A", "/x").stdout == "", (
        "an empty folder, not the machine's /"
    )
    seen = inside(kept, "host", intruder.namespaces_and_names, ["/x/etc", "/x/proc"])
    ours = {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "pid", "ipc", "uts", "mnt")}
    assert [kind for kind, number in seen["namespaces"].items() if number == ours[kind]] == []
    assert seen["there"] == []
    assert not os.path.exists("/tmp/started"), "hooks and probes run in the container"
    assert not os.path.exists("/tmp/asked")


@pytest.fixture(scope="module")
def asked(lab: OwnLab) -> dict[str, Any]:
    return together(
        lab,
        "asks",
        settings=(intruder.settings,),
        container=(intruder.settings, "1"),
        calls=(intruder.calls, ["mount tmpfs", "bpf", "keyctl", "io_uring_setup"]),
        masked=(intruder.read, ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"]),
        setuid=(intruder.setuid_copies,),
    )


def test_fields_that_would_unbind_a_container_do_not(asked: dict[str, Any]) -> None:
    for output in (asked["settings"], asked["container"]):
        assert (output["NoNewPrivs"], output["Seccomp"], output["CapBnd"]) == ("1", "2", "00000000a80425fb")
    assert {*asked["calls"].values()} == {"EPERM"}
    assert {*asked["masked"].values()} <= {"", "ENOENT"}
    assert {*asked["setuid"].values()} <= {"1000", "EACCES"}


@pytest.fixture(scope="module")
def user(lab: OwnLab) -> dict[str, Any]:
    name = f"attack-{secrets.token_hex(4)}"
    places = ["/", "/usr", "/etc", "/var", "/run", "/root", "/home", "/dev", "/tmp", "/dev/shm"]
    return together(
        lab,
        "user",
        settings=(intruder.settings,),
        container=(intruder.settings, "1"),
        create=(intruder.create_in, places, name),
        setuid=(intruder.setuid_programs,),
        calls=(intruder.calls, [*intruder.CALLS]),
        limits=(intruder.raise_limits,),
        leases=(intruder.leases, ["/usr/bin/env"]),
    )


def test_an_ordinary_user_has_no_rights(user: dict[str, Any]) -> None:
    for output in (user["settings"], user["container"]):
        assert [output[name].split() for name in ("Uid", "Gid", "Groups")] == [["12345"] * 4, ["23456"] * 4, ["34567"]]
        assert [output[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")] == [NO_RIGHTS] * 4
        assert (output["NoNewPrivs"], output["Seccomp"]) == ("1", "2")


def test_nor_gets_any(user: dict[str, Any]) -> None:
    assert {*user["setuid"].values()} == {"12345"}, user["setuid"]
    assert "done" not in {**user["calls"], **user["limits"], **user["leases"]}.values()


def test_and_writes_where_everybody_may(user: dict[str, Any]) -> None:
    assert [place for place, output in user["create"].items() if output == "done"] == ["/tmp", "/dev/shm"]


@pytest.fixture(scope="module")
def fixed(lab: OwnLab) -> dict[str, str]:
    return dict(together(lab, "fixed", create=(intruder.create_everywhere, "attack"))["create"])


def test_a_root_that_is_to_be_read_only_is(fixed: dict[str, str]) -> None:
    assert [place for place, output in fixed.items() if output == "done"] == ["/dev/shm"]


def test_capabilities_that_are_dropped_are_a_commands_neither(lab: OwnLab) -> None:
    output = together(lab, "less", mine=(intruder.settings,), its=(intruder.settings, "1"))
    assert output["mine"] == output["its"]
    assert (output["mine"]["CapEff"], output["mine"]["CapBnd"]) == ("0" * 15 + "1",) * 2


def test_storage_is_as_small_as_the_file_says(lab: OwnLab) -> None:
    output = together(lab, "small", **{place: (intruder.fill, place, 2 * MB) for place in intruder.PLACES})
    assert {json.dumps(one) for one in output.values()} == {json.dumps({"had": MB, "answer": "ENOSPC"})}
