"""The volumes of pods: what files they become, where containers have them, and what is said of those that are empty."""

from __future__ import annotations

import pytest

from nslab.admission.change import applied_with_warnings
from nslab.admission.load import parse, parse_stored, parse_with_warnings
from nslab.compiler.environment import Surroundings
from nslab.compiler.placement import assign_addresses
from nslab.compiler.pods import sandbox, workload
from nslab.errors import LabFileError
from nslab.lab.dump import dump
from nslab.objects.container import File, Mount, PodVolume

MIB = 1 << 20
OBJECTS = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {site.conf: "server {}", run.sh: echo}
binaryData: {raw: AAEC/w==}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
data: {password: czNjcmV0}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {tier: front, app: web}, annotations: {note: 'say "hi"'}}
"""

MORE = "resources: {limits: {cpu: 1500m}}, env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]"


def text_of(volume: str, mount: str = "mountPath: /data", more: str = "") -> str:
    container = f"{{name: app, image: busybox, volumeMounts: [{{name: v, {mount}}}], {MORE}}}"
    return f"{OBJECTS}spec: {{{more}containers: [{container}], volumes: [{{name: v, {volume}}}]}}\n"


def made(volume: str, mount: str = "mountPath: /data", more: str = "") -> tuple[PodVolume, tuple[Mount, ...]]:
    lab = assign_addresses(parse(text_of(volume, mount, more), "shop.yaml"))
    pod = next(one for one in lab.pods if one.name == "web")
    (found,) = sandbox(lab, pod).volumes
    return found, workload(lab, pod, pod.containers[0], Surroundings(lab)).begun.mounts


def files_of(volume: str) -> dict[str, str]:
    return {one.path: one.data for one in made(volume)[0].files or ()}


def said(text: str) -> list[str]:
    return [one.sentence for one in parse_with_warnings(text, "shop.yaml")[1]]


def test_an_empty_folder_is_as_large_as_it_says_and_never_very_large() -> None:
    assert made("emptyDir: {}") == (PodVolume(64 * MIB), (Mount(0, "/data"),))
    assert made("emptyDir: {sizeLimit: 1Mi}")[0] == PodVolume(MIB)
    assert made("emptyDir: {medium: Memory, sizeLimit: 1Ti}")[0] == PodVolume(512 * MIB)


def test_all_keys_of_a_config_map_are_files() -> None:
    volume, mounts = made("configMap: {name: conf, defaultMode: 0500}")
    assert volume.files == (
        File("raw", 0o500, "\0\1\2\xff"),
        File("site.conf", 0o500, "server {}"),
        File("run.sh", 0o500, "echo"),
    )
    assert mounts == (Mount(0, "/data", read_only=True),)


def test_or_some_of_them_elsewhere() -> None:
    volume, _ = made("configMap: {name: conf, items: [{key: run.sh, path: bin/run, mode: 0755}, {key: raw, path: r}]}")
    assert volume.files == (File("bin/run", 0o755, "echo"), File("r", 0o644, "\0\1\2\xff"))


def test_the_group_of_a_pods_volumes_may_read_them() -> None:
    volume, _ = made("secret: {secretName: keys, defaultMode: 0400}", more="securityContext: {fsGroup: 2000}, ")
    assert volume == PodVolume(64 * MIB, 2000, (File("password", 0o440, "s3cret"),))


def test_fields_of_the_pod_are_files() -> None:
    items = (
        "{path: labels, fieldRef: {fieldPath: metadata.labels}},"
        "{path: notes, fieldRef: {fieldPath: metadata.annotations}},"
        "{path: me/name, fieldRef: {fieldPath: metadata.name}},"
        "{path: cpu, resourceFieldRef: {containerName: app, resource: limits.cpu}}"
    )
    assert files_of(f"downwardAPI: {{items: [{items}]}}") == {
        "labels": 'app="web"\ntier="front"',
        "notes": 'note="say \\"hi\\""',
        "me/name": "web",
        "cpu": "2",
    }


def test_a_projected_volume_has_the_files_of_all() -> None:
    sources = (
        "{configMap: {name: conf, items: [{key: run.sh, path: run}]}}, {secret: {name: keys}}, "
        "{serviceAccountToken: {path: token}},"
        "{downwardAPI: {items: [{path: n, fieldRef: {fieldPath: metadata.name}}]}}"
    )
    assert files_of(f"projected: {{sources: [{sources}]}}") == {"run": "echo", "password": "s3cret", "n": "web"}


@pytest.mark.parametrize(
    ("mount", "wanted"),
    [
        ("mountPath: /data/", Mount(0, "/data")),
        ("mountPath: //a/./b/../c", Mount(0, "/a/c")),
        ("mountPath: relative", Mount(0, "/relative")),
        ("mountPath: /data, subPath: a/b, readOnly: true", Mount(0, "/data", "a/b", read_only=True)),
        ("mountPath: /data, subPath: $(HOSTNAME)", Mount(0, "/data", "$(HOSTNAME)")),
        ("mountPath: /data, subPathExpr: x-$(POD)", Mount(0, "/data", "x-web")),
    ],
)
def test_where_a_container_has_it(mount: str, wanted: Mount) -> None:
    assert made("emptyDir: {}", mount)[1] == (wanted,)


def test_what_nobody_mounts_is_not_made() -> None:
    text = text_of("emptyDir: {}").replace("volumeMounts: [{name: v, mountPath: /data}], ", "")
    lab = assign_addresses(parse(text, "shop.yaml"))
    assert [sandbox(lab, pod).volumes for pod in lab.pods if pod.name == "web"] == [()]


def test_what_a_config_map_says_later_changes_nothing_and_another_volume_does() -> None:
    first, later, other = (
        sandbox(lab, next(one for one in lab.pods if one.name == "web"))
        for text in (
            text_of("configMap: {name: conf}"),
            text_of("configMap: {name: conf}").replace("server", "client"),
            text_of("configMap: {name: conf, optional: true}"),
        )
        for lab in [assign_addresses(parse(text, "shop.yaml"))]
    )
    assert first == later
    assert first.volumes != later.volumes
    assert first != other


def test_each_pod_of_a_stateful_set_has_a_volume_for_each_claim() -> None:
    claim = "{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}"
    container = "{name: db, image: mysql, volumeMounts: [{name: data, mountPath: /var/lib/mysql}]}"
    text = (
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\n"
        "spec: {replicas: 2, serviceName: db, selector: {matchLabels: {a: b}},"
        f" template: {{metadata: {{labels: {{a: b}}}}, spec: {{containers: [{container}]}}}},"
        f" volumeClaimTemplates: [{claim}]}}\n"
    )
    lab, found = parse_with_warnings(text, "db.yaml")
    pods = [one for one in lab.pods if one.owner]
    assert [one.document["spec"]["volumes"] for one in pods] == [
        [{"name": "data", "persistentVolumeClaim": {"claimName": f"data-db-{number}"}}] for number in (0, 1)
    ]
    assert sandbox(assign_addresses(lab), assign_addresses(lab).pods[-1]).volumes == (PodVolume(64 * MIB),)
    assert "an empty folder each, gone with its pod: 1 persistentVolumeClaim" in [one.sentence for one in found]
    assert parse_stored(dump(lab), "kept") == lab


def test_a_claim_is_named_once_as_an_empty_folder() -> None:
    claim = (
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: NAME}\nspec: {accessModes: [ReadWriteOnce]}\n"
    )
    pod = text_of("persistentVolumeClaim: {claimName: mine}")
    both = "---\n".join([pod, claim.replace("NAME", "mine"), claim.replace("NAME", "other")])
    sentences = said(both)
    assert "an empty folder each, gone with its pod: 1 persistentVolumeClaim" in sentences
    assert not [one for one in sentences if one.startswith("kept")]
    text = (
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\n"
        "spec: {selector: {matchLabels: {a: b}},"
        " template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: x}]}},"
        " volumeClaimTemplates: [{metadata: {name: data}, spec: {}}]}\n"
    )
    assert "kept, not acted on: StatefulSet.spec.volumeClaimTemplates" in said(text)


def test_what_is_empty_here_and_where_nothing_is_mounted_is_said() -> None:
    assert "an empty folder each, gone with its pod: 1 hostPath" in said(text_of("hostPath: {path: /etc}"))
    for path in ("/", "/proc/1", "/sys", "/dev/disk", "/run/../proc"):
        shown = path.replace("/run/..", "")
        line = f"nothing is mounted at {shown}: each container has its own there"
        assert line in said(text_of("emptyDir: {}", f"mountPath: {path}"))
    assert not any("volume" in one.lower() for one in said(text_of("emptyDir: {}", "mountPath: /dev/shm")))
    lab = parse("{apiVersion: nslab/v1, kind: Lab, metadata: {name: a}, spec: {nodes: [{name: n}]}}", "a")
    _, _, doubts = applied_with_warnings(lab, text_of("nfs: {server: a, path: /b}"))
    assert "an empty folder each, gone with its pod: 1 nfs" in [one.sentence for one in doubts]


@pytest.mark.parametrize(
    ("volume", "sentence"),
    [
        ("configMap: {name: cnf}", "there is no ConfigMap cnf in namespace default: volume v has no files of it"),
        ("secret: {secretName: key}", "there is no Secret key in namespace default: volume v has no files of it"),
        (
            "configMap: {name: conf, items: [{key: run, path: r}]}",
            "ConfigMap conf has no key run: volume v has no file r",
        ),
    ],
)
def test_what_is_not_there_is_said(volume: str, sentence: str) -> None:
    (found,) = [one for one in said(text_of(volume)) if one.startswith(sentence)]
    assert "did you mean" in found
    optional = volume.replace("me: cnf", "me: cnf, optional: true").replace("me: key", "me: key, optional: true")
    assert optional == volume or not any(one.startswith(sentence) for one in said(text_of(optional)))


@pytest.mark.parametrize(
    ("volume", "mount", "sentence"),
    [
        (
            "emptyDir: {}",
            "mountPath: /a}, {name: w, mountPath: /b",
            "pod web has no volume w, which container app mounts",
        ),
        ("emptyDir: {}", "mountPath: /a}, {name: v, mountPath: /a/", "container app mounts two volumes at /a"),
        ("emptyDir: {}", "mountPath: /a, subPath: ../b", "../b must be a relative path without '..'"),
        ("emptyDir: {}", "mountPath: /a, subPath: a/../../b", "a/../../b must be a relative path without '..'"),
        ("emptyDir: {}", "mountPath: /a, subPath: /b", "/b must be a relative path without '..'"),
        ("configMap: {name: conf, items: [{key: raw, path: ../x}]}", "mountPath: /a", "../x must be a relative path"),
        ("emptyDir: {}", "mountPath: 'a:b'", "a:b must be a path without ':'"),
    ],
)
def test_what_is_refused(volume: str, mount: str, sentence: str) -> None:
    with pytest.raises(LabFileError) as refused:
        parse(text_of(volume, mount), "shop.yaml")
    assert sentence in str(refused.value)


def test_a_key_of_a_config_map_is_a_files_name() -> None:
    with pytest.raises(LabFileError, match="letters, digits"):
        parse(text_of("configMap: {name: conf}").replace("run.sh", "../run.sh"), "shop.yaml")
