"""How a pod resolves names, and by which names it is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nslab.admission.load import parse, parse_with_warnings
from nslab.compiler.endpoints import resolve
from nslab.compiler.placement import assign_addresses
from nslab.compiler.pods import sandbox
from nslab.errors import LabFileError

if TYPE_CHECKING:
    from nslab.lab.types import Lab

CLUSTERS = "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"

MORE = """
dnsConfig: {nameservers: [10.1.1.1, 10.96.0.10], searches: [a.b], options: [{name: ndots, value: "2"}, {name: x}]}
"""

MANY = "dnsConfig: {nameservers: [10.1.1.1, fd00::1, 10.1.1.3], searches: [.]}"


def lab_of(spec: str) -> Lab:
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop, labels: {app: a}}\n"
    text += f"spec: {{{spec}, containers: [{{name: c, image: pause}}]}}\n"
    text += "---\napiVersion: v1\nkind: Service\nmetadata: {name: peers, namespace: shop}\n"
    text += "spec: {clusterIP: None, selector: {app: a}, ports: [{port: 80}]}\n"
    return assign_addresses(parse(text, "f"))


def resolv_conf(spec: str) -> str:
    lab = lab_of(spec)
    return sandbox(lab, next(one for one in lab.pods if one.name == "a")).resolv_conf


@pytest.mark.parametrize(
    ("spec", "output"),
    [
        ("dnsPolicy: ClusterFirst", CLUSTERS),
        ("dnsPolicy: ClusterFirstWithHostNet", CLUSTERS),
        ("dnsPolicy: Default", ""),
        ("hostNetwork: true", ""),
        ("hostNetwork: true, dnsPolicy: ClusterFirstWithHostNet", CLUSTERS),
        (
            MANY,
            CLUSTERS.replace("local\nname", "local .\nname").replace(
                "\nopt", "\nnameserver 10.1.1.1\nnameserver fd00::1\nopt"
            ),
        ),
        ("dnsPolicy: None, dnsConfig: {nameservers: [10.1.1.1], searches: [a.b]}", "search a.b\nnameserver 10.1.1.1\n"),
        (MORE, f"{CLUSTERS.splitlines()[0]} a.b\nnameserver 10.96.0.10\nnameserver 10.1.1.1\noptions ndots:2 x\n"),
    ],
)
def test_the_policy_and_the_configuration_make_resolv_conf(spec: str, output: str) -> None:
    assert resolv_conf(spec) == output


def test_search_domains_are_as_many_as_a_resolver_takes() -> None:
    names = [f"{number}.test" for number in range(40)]
    line = resolv_conf(f"dnsConfig: {{searches: [{', '.join(names[:32])}]}}").splitlines()[0]
    assert line.split()[4:] == names[:29]
    long = [f"{number}{'.a' * 120}" for number in range(8)]
    line = resolv_conf(f"dnsConfig: {{searches: [{', '.join(long)}]}}").splitlines()[0]
    assert (line.split()[4:], len(line) - len("search ") <= 2048) == (long, True)
    long = [f"{number}{'.a' * 126}" for number in range(8)]
    line = resolv_conf(f"dnsConfig: {{searches: [{', '.join(long)}]}}").splitlines()[0]
    assert line.split()[4:] == long[:7]


def test_aliases_and_a_domain_are_for_its_hosts_file() -> None:
    lab = lab_of("subdomain: peers, hostAliases: [{ip: 10.1.2.3, hostnames: [x.test, y.test]}]")
    pod = sandbox(lab, next(one for one in lab.pods if one.name == "a"))
    assert pod.domain == "peers.shop.svc.cluster.local"
    assert pod.aliases == "\n# Entries added by HostAliases.\n10.1.2.3\tx.test\ty.test\n"
    with pytest.raises(LabFileError, match="lower case letters"):
        lab_of(r'hostAliases: [{ip: 10.1.2.3, hostnames: ["x\n10.9.9.9 y"]}]')


@pytest.mark.parametrize(
    ("spec", "hostname"),
    [
        ("hostname: first, subdomain: peers", "first"),
        ("hostname: first, subdomain: others", ""),
        ("hostname: first", ""),
        ("subdomain: peers", ""),
    ],
)
def test_an_endpoint_has_the_hostname_of_a_pod_below_its_service(spec: str, hostname: str) -> None:
    services = {service.name: service for service in resolve(lab_of(spec))}
    assert [end.hostname for end in services["peers"].ports[0].endpoints] == [hostname]


def test_a_stateful_sets_pods_have_names_below_its_service() -> None:
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: db}\n"
    text += "spec: {clusterIP: None, selector: {a: b}, ports: [{port: 1}]}\n"
    text += "---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec: {replicas: 2, serviceName: db,"
    text += " selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}},"
    text += " spec: {containers: [{name: c, image: pause}]}}}\n"
    lab, found = parse_with_warnings(text, "f")
    (service,) = (one for one in resolve(assign_addresses(lab)) if one.name == "db")
    assert {end.hostname for end in service.ports[0].endpoints} == {"db-0", "db-1"}
    assert [one.document["spec"]["hostname"] for one in lab.pods if one.owner] == ["db-0", "db-1"]
    assert found == ()


FOUR = '["10.1.1.1", "10.1.1.2", "10.1.1.3", "10.1.1.4"]'
ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
SERVERS = "must provide at least one DNS nameserver when `dnsPolicy` is None"


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("dnsPolicy: None", "dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
        ("dnsPolicy: None, dnsConfig: {searches: [a.b]}", f"dnsConfig.nameservers: Required value: {SERVERS}"),
        (
            f"dnsConfig: {{nameservers: {FOUR}}}",
            f"dnsConfig.nameservers: Invalid value: {FOUR.replace(' ', '')}: must not have more than 3 nameservers",
        ),
        (
            "dnsConfig: {nameservers: [dns.test]}",
            f'dnsConfig.nameservers[0]: Invalid value: "dns.test": {ADDRESS}',
        ),
        ("dnsConfig: {options: [{value: a}]}", "dnsConfig.options[0]: Required value: must not be empty"),
        (
            "hostAliases: [{ip: 10.1.2, hostnames: [a]}]",
            f'hostAliases[0].ip: Invalid value: "10.1.2": {ADDRESS}',
        ),
    ],
)
def test_what_no_kubelet_can_write_is_refused(spec: str, sentence: str) -> None:
    with pytest.raises(LabFileError) as refused:
        lab_of(spec)
    assert [one.sentence for one in refused.value.errors] == [f'The Pod "a" is invalid: spec.{sentence}']


@pytest.mark.parametrize("search", ["A.b", "a..b", r"a\nb", "-a"])
def test_a_search_domain_is_a_domain(search: str) -> None:
    with pytest.raises(LabFileError, match="a lowercase RFC 1123 subdomain"):
        lab_of(f'dnsConfig: {{searches: ["{search}"]}}')
    lab_of("dnsConfig: {searches: [a.b., _tcp.a_b, .]}")
