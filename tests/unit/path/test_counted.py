"""Rules with their counters: as a tree, for which Service, and what each endpoint gets."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from typing import Any

import pytest

from nslab.errors import UsageError
from nslab.proxy.model import Endpoint, Port, ServiceInfo
from nslab.proxy.names import endpoint_hash, nft_name, port_hash
from nslab.trace.authors import Authors
from nslab.trace.counted.gather import gathered
from nslab.trace.counted.hits import connection_hit, hits
from nslab.trace.counted.names import chosen_service, service_names
from nslab.trace.counted.values import CountedRules, PrintedRules, RuleCounter
from nslab.trace.observed import ConntrackEntry, Header
from nslab.views.hits import hit_json, hit_line
from nslab.views.rule_tree import shares_table, to_json, tree

ENDS = tuple(Endpoint(f"10.1.0.{number}", 80, pod=f"default/web-{number}") for number in (1, 2, 3))
WEB = ServiceInfo("default", "web", "10.96.0.5", (Port("http", 80, node_port=31080, endpoints=ENDS),))
OTHER = ServiceInfo("default", "other", "10.96.0.6", (Port("", 80, endpoints=ENDS[:1]),))
NAMES = service_names((WEB, OTHER))
SVC = f"KUBE-SVC-{port_hash('default/web:http', 'tcp')}"
SEP = [f"KUBE-SEP-{endpoint_hash('default/web:http', 'tcp', f'{end.ip}:80')}" for end in ENDS]
PORTALS = '-m comment --comment "kubernetes service portals"'
CLUSTER_IP = '-m comment --comment "default/web:http cluster IP"'
DRAWS = ("-m statistic --mode random --probability 0.33333333349 ", "-m statistic --mode random --probability 0.5 ", "")


def saved(*counts: int, extra: str = "") -> str:
    """What `iptables-save -c` prints of a node where each endpoint was drawn so often."""
    lines = [
        "*nat",
        ":PREROUTING ACCEPT [0:0]",
        ":KUBE-SERVICES - [0:0]",
        f":{SVC} - [0:0]",
        *(f":{name} - [0:0]" for name in SEP),
        f"[{sum(counts)}:{60 * sum(counts)}] -A PREROUTING {PORTALS} -j KUBE-SERVICES",
        f"[{sum(counts)}:0] -A KUBE-SERVICES -d 10.96.0.5/32 -p tcp {CLUSTER_IP} -m tcp --dport 80 -j {SVC}",
    ]
    for name, draw, count in zip(SEP, DRAWS, counts, strict=True):
        lines.append(f'[{count}:0] -A {SVC} -m comment --comment "default/web:http -> x" {draw}-j {name}')
    for name, end, count in zip(SEP, ENDS, counts, strict=True):
        dnat = f"-p tcp -m tcp -j DNAT --to-destination {end.ip}:80"
        lines.append(f'[{count}:{60 * count}] -A {name} -m comment --comment "default/web:http" {dnat}')
    return "\n".join([*lines, *extra.splitlines(), "COMMIT", ""])


def rules(printed: PrintedRules, *entries: ConntrackEntry, mode: str = "iptables") -> CountedRules:
    return gathered("node1", mode, printed, entries, (WEB, OTHER), NAMES, Authors("lab", ()))


def entry(service: str, port: int, end: str) -> ConntrackEntry:
    client = IPv4Address("10.1.1.9")
    asked = Header(client, IPv4Address(service), 6, (40000, port))
    return ConntrackEntry("node1", asked, Header(IPv4Address(end), client, 6, (80, 40000)))


def test_chances_and_what_endpoints_really_got() -> None:
    (share,) = rules(PrintedRules(iptables=saved(1, 2, 5))).services
    assert (share.service, share.protocol, share.counted_by) == ("default/web:http", "tcp", "rules")
    assert [round(end.chance, 3) for end in share.endpoints] == [0.333, 0.333, 0.333]
    assert [end.hits for end in share.endpoints] == [1, 2, 5]
    assert [end.pod for end in share.endpoints] == ["default/web-1", "default/web-2", "default/web-3"]
    lines = shares_table(rules(PrintedRules(iptables=saved(1, 2, 5)))).splitlines()
    assert lines[3].split() == ["default/web:http/TCP", "10.1.0.3:80", "default/web-3", "33.3%", "5", "62.5%"]


def test_affinity_is_no_draw() -> None:
    recent = f"-m recent --rcheck --seconds 10800 --reap --name {SEP[0]} --mask 255.255.255.255 --rsource"
    line = f'[7:0] -A {SVC} -m comment --comment "default/web:http -> x" {recent} -j {SEP[0]}'
    text = saved(0, 0, 0).replace(f"[0:0] -A {SVC}", f"{line}\n[0:0] -A {SVC}", 1)
    (share,) = rules(PrintedRules(iptables=text)).services
    assert [round(end.chance, 3) for end in share.endpoints] == [0.333, 0.333, 0.333]


def test_a_tree_says_each_chain_once() -> None:
    extra = "[3:9] -A PREROUTING -j KUBE-SERVICES\n[0:0] -A PREROUTING -s 10.0.0.1/32 -j DROP"
    lines = [*tree(rules(PrintedRules(iptables=saved(1, 2, 5, extra=extra))))]
    texts = [line.text for line in lines]
    assert texts[2] == "        8       480  ├─ -j KUBE-SERVICES  # kubernetes service portals  [not the lab's]"
    assert texts[3].endswith(f"│  └─ -d 10.96.0.5/32 -p tcp -m tcp --dport 80 -j {SVC}  # default/web:http cluster IP")
    assert texts[4].startswith(f"        1         0  │     ├─ {DRAWS[0]}-j {SEP[0]}  33.3%")
    assert texts[5].startswith(
        f"        1        60  │     │  └─ -p tcp -m tcp -j DNAT --to-destination {ENDS[0].ip}:80"
    )
    assert any(text.endswith("├─ -j KUBE-SERVICES (above)  [not the lab's]") for text in texts)
    assert [line.role for line in lines if line.text.endswith("-j DROP  [not the lab's]")] == ["hand"]


def test_a_tree_of_one_service() -> None:
    other = f'[0:0] -A KUBE-SERVICES -d 10.96.0.6/32 -m comment --comment "default/other cluster IP" -j {SVC}x\n'
    text = saved(1, 2, 5, extra=other).replace(f":{SVC} -", f":{SVC}x - [0:0]\n:{SVC} -", 1)
    found = rules(PrintedRules(iptables=text))
    assert sum("10.96.0." in line.text for line in tree(found)) == 2
    own = [line.text for line in tree(found, "default/web")]
    assert sum("10.96.0.6" in text for text in own) == 0
    assert sum("DNAT" in text for text in own) == 3
    chains = {chain["chain"] for chain in to_json(found, "default/web")["chains"]}
    assert chains == {"KUBE-SERVICES", SVC, *SEP}


def test_the_legacy_variant_takes_its_counters_from_elsewhere() -> None:
    text = saved(0, 0, 0)
    counters = {("nat", name): [RuleCounter(number, 60)] for number, name in enumerate(SEP, 4)}
    (share,) = rules(PrintedRules(legacy=text, counters=counters)).services
    assert [end.hits for end in share.endpoints] == [4, 5, 6]
    both = rules(PrintedRules(iptables=saved(1, 1, 1), legacy=text, counters={}))
    assert {chain.table for chain in both.chains} == {"nat", "nat (legacy)"}


def nft(*objects: dict[str, Any]) -> str:
    return json.dumps({"nftables": [{"metainfo": {}}, {"table": {"family": "ip", "name": "kube-proxy"}}, *objects]})


def nft_chain(name: str, *rules: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    where = {"family": "ip", "table": "kube-proxy"}
    found = ({"rule": {**where, "chain": name, "expr": rule}} for rule in rules)
    return [{"chain": {**where, "name": name, **more}}, *found]


def test_nftables_draws_by_a_map_and_conntrack_counts() -> None:
    base = nft_name("default/web/tcp/http")
    ends = [f"endpoint-{nft_name(f'default/web/tcp/http__{end.ip}/80')}" for end in ENDS]
    drawn = [[number, {"goto": {"target": name}}] for number, name in enumerate(ends)]
    key = {"concat": ["10.96.0.5", "tcp", 80]}
    services = {"vmap": {"key": {"meta": {"key": "mark"}}, "data": "@service-ips"}}
    numgen = {"key": {"numgen": {"mode": "random", "mod": 3, "offset": 0}}, "data": {"set": drawn}}
    text = nft(
        {"map": {"family": "ip", "table": "kube-proxy", "name": "service-ips", "map": "verdict", "type": "mark",
                 "elem": [[key, {"goto": {"target": f"service-{base}"}}]]}},
        *nft_chain("nat-prerouting", [services], type="nat", hook="prerouting", prio=-100, policy="accept"),
        *nft_chain(f"service-{base}", [{"vmap": numgen}]),
        *(one for end, name in zip(ENDS, ends, strict=True)
          for one in nft_chain(name, [{"counter": {"packets": 1, "bytes": 2}}, {"drop": None}],
                               [{"dnat": {"addr": end.ip, "port": 80}}])),
    )  # fmt: skip
    entries = [
        entry("10.96.0.5", 80, "10.1.0.2"),
        entry("192.168.0.1", 31080, "10.1.0.2"),
        entry("10.1.0.1", 80, "10.1.0.1"),
    ]
    found = rules(PrintedRules(nft=text), *entries, mode="nftables")
    (share,) = found.services
    assert (share.counted_by, [end.hits for end in share.endpoints]) == ("conntrack", [0, 2, 0])
    assert [round(end.chance, 3) for end in share.endpoints] == [0.333, 0.333, 0.333]
    assert found.notes
    texts = [line.text.strip() for line in tree(found, "default/web")]
    assert f"└─ 10.96.0.5 . tcp . 80 : goto service-{base}" in texts
    assert any(text.endswith(f"0 : goto {ends[0]}  33.3%") for text in texts)
    hit = connection_hit(entries[1], NAMES)
    assert hit
    assert hit_line(0, hit).endswith(
        "default/web:http  10.1.1.9:40000 -> 192.168.0.1:31080 => 10.1.0.2:80  # default/web-2"
    )
    assert connection_hit(entries[2], NAMES) is None


LISTED = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.96.0.5:80 rr persistent 10800
  -> 10.1.0.1:80                  Masq    1      0          3
  -> 10.1.0.2:80                  Masq    3      1          0
UDP  10.9.9.9:53 rr
FWM  7 rr
  -> 10.1.0.3:80                  Masq    1      0          0
"""
STATISTICS = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes
  -> RemoteAddress:Port
TCP  10.96.0.5:80                    12345    61725    49380  3827000  5432100
  -> 10.1.0.1:80                      3000    15000    12000   930000  1320000
  -> 10.1.0.2:80                      9345    46725    37380  2897000  4112100
UDP  10.9.9.9:53                         0        0        0        0        0
FWM  7                                   1        2        3        4        5
  -> 10.1.0.3:80                         1        2        3        4        5
"""


def test_ipvs_counts_connections() -> None:
    found = rules(PrintedRules(ipvs=LISTED, statistics=STATISTICS), mode="ipvs")
    share = found.services[0]
    assert (share.service, share.counted_by) == ("default/web:http", "IPVS")
    assert [(end.chance, end.hits, end.pod) for end in share.endpoints] == [
        (0.25, 3000, "default/web-1"), (0.75, 9345, "default/web-2")
    ]  # fmt: skip
    assert [(one.service, [end.address for end in one.endpoints]) for one in found.services[1:]] == [
        ("10.9.9.9:53", []), ("7", ["10.1.0.3:80"])
    ]  # fmt: skip
    texts = [line.text for line in tree(found, "default/web")]
    assert texts[1] == "    61725   3827000  ipvs TCP 10.96.0.5:80 rr persistent 10800"
    assert texts[2].startswith("    15000    930000  ├─ -> 10.1.0.1:80 weight 1  25.0%  # default/web-1")


def test_userspace_takes_endpoints_in_turn() -> None:
    found = rules(PrintedRules(), mode="userspace")
    assert [(end.hits, round(end.chance, 3)) for end in found.services[0].endpoints] == [(None, 0.333)] * 3
    assert shares_table(found).splitlines()[1].split()[-2:] == ["-", "-"]


def test_hits_are_differences() -> None:
    before, after = (rules(PrintedRules(iptables=saved(*counts))).chains for counts in ((1, 2, 5), (1, 3, 2)))
    found = {(hit.chain, hit.text.rpartition(" ")[2]): hit.packets for hit in hits(before, after)}
    # The third endpoint's rules were written again: their counters begin anew.
    assert found[SEP[1], "10.1.0.2:80"] == 1
    assert found[SEP[2], "10.1.0.3:80"] == 2
    assert (SEP[0], "10.1.0.1:80") not in found
    assert [*hits(after, after)] == []
    (one,) = [hit for hit in hits(before, after) if hit.chain == SEP[1]]
    assert hit_json(1_500_000_000, one) == {
        "time": 1.5, "table": "nat", "chain": SEP[1], "rule": "-p tcp -m tcp -j DNAT --to-destination 10.1.0.2:80",
        "service": "default/web:http", "comment": "default/web:http", "packets": 1, "bytes": 60,
    }  # fmt: skip


def test_hits_are_in_the_order_of_the_walk() -> None:
    text = """*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:A-ENDPOINT - [0:0]
:B-MASK - [0:0]
:SERVICES - [0:0]
[{0}:60] -A A-ENDPOINT -p tcp -j DNAT --to-destination 10.1.0.1:80
[{0}:60] -A B-MASK -j MASQUERADE
[{0}:60] -A SERVICES -d 10.96.0.1/32 -j A-ENDPOINT
[{0}:60] -A POSTROUTING -j B-MASK
[{0}:60] -A PREROUTING -j SERVICES
COMMIT
*filter
:FORWARD ACCEPT [0:0]
[{0}:60] -A FORWARD -j ACCEPT
COMMIT
"""
    before, after = (rules(PrintedRules(iptables=text.format(count))).chains for count in (1, 2))
    assert [hit.chain for hit in hits(before, after)] == [
        "PREROUTING", "SERVICES", "A-ENDPOINT", "FORWARD", "POSTROUTING", "B-MASK"
    ]  # fmt: skip


def test_a_service_by_its_name() -> None:
    elsewhere = ServiceInfo("shop", "web", "10.96.0.7")
    assert chosen_service((WEB, elsewhere), "web") == "default/web"
    assert chosen_service((WEB, elsewhere), "shop/web") == "shop/web"
    with pytest.raises(UsageError, match=r"there is no Service wep; did you mean web\?"):
        chosen_service((WEB, OTHER), "wep")
