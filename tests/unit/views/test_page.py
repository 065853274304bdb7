"""The page: one file, safe whatever names say, and complete: each host, each hop, each word in both languages."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from nslab.app.predict import predict
from nslab.dataclass import replace
from nslab.probes.evidence import Unanswered, What
from nslab.quote import visible
from nslab.trace.ending import Ending, described
from nslab.trace.hops import (
    BLACKHOLE,
    BY_CONNTRACK,
    NO_FORWARDING,
    NO_FORWARDING_THERE,
    NO_ROUTE,
    PROHIBITED,
    RP_FILTER,
    TTL_OVER,
    UNREACHABLE,
    Action,
    End,
    Journey,
    too_big,
)
from nslab.views import page as package
from nslab.views.graph.model import Role
from nslab.views.page import SCRIPTS, page
from nslab.views.page.details import _COMMANDS
from tests.unit.views.drawn import HOSTILE, fifty, hostile, shipped

FOLDER = Path(package.__file__).parent
WORDS = (FOLDER / "words.js").read_text()


class Parts(HTMLParser):
    """The elements of a page, their attributes, and the text of those that hold code or data."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._within = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within = tag in ("script", "style")
        self.texts += [""] if self._within else []

    def handle_data(self, data: str) -> None:
        if self._within:
            self.texts[-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._within = False


def parts(html: str) -> Parts:
    found = Parts()
    found.feed(html)
    found.close()
    return found


def data(html: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(parts(html).texts[1])
    return value


@pytest.fixture(scope="module")
def journeys() -> list[Journey]:
    return predict("calico-two-node", "pod-d", "svc-b")


@pytest.fixture(scope="module")
def html(journeys: list[Journey]) -> str:
    found = shipped("calico-two-node")
    return page(found.graph, found.state, journeys)


def hostile_page(journeys: list[Journey]) -> str:
    (one, *_) = journeys
    hops = tuple(
        replace(hop, host=HOSTILE, dev=HOSTILE, cause=HOSTILE, by=HOSTILE, command=HOSTILE, note=HOSTILE)
        for hop in one.hops
    )
    return page(hostile(), (), [replace(one, hops=hops, why=HOSTILE, notes=(HOSTILE,))])


def test_it_is_one_file_that_asks_for_nothing(html: str) -> None:
    found = parts(html)
    assert [tag for tag, _ in found.elements if tag in ("link", "img", "iframe", "object", "form", "base")] == []
    names = {name for tag, attributes in found.elements for name in attributes}
    assert {
        name for name in names if name.startswith("on") or name in ("src", "style", "action", "xlink:href")
    } == set()
    assert {attributes["href"] for _, attributes in found.elements if "href" in attributes} == {"#after"}
    urls = {*re.findall(r"https?://[\w./]+", html)}
    assert urls == {"http://www.w3.org/2000/svg"}
    for word in ("fetch(", "XMLHttpRequest", "WebSocket", "innerHTML", "eval(", "import(", "document.write"):
        assert word not in html


def test_its_policy_allows_its_own_style_and_script_alone(html: str) -> None:
    found = parts(html)
    style, _, script = found.texts
    (policy,) = (a["content"] for tag, a in found.elements if a.get("http-equiv") == "Content-Security-Policy")
    style_hash, script_hash = (b64encode(sha256(text.encode()).digest()).decode() for text in (style, script))
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; "
        "base-uri 'none'; form-action 'none'"
    )


def test_no_name_becomes_an_element_or_ends_the_data(html: str, journeys: list[Journey]) -> None:
    bad = hostile_page(journeys)
    assert bad.count("<script") == html.count("<script") == 2
    assert bad.count("</script") == 2
    assert "<!--" not in bad
    found = data(bad)
    assert found["lab"] == HOSTILE
    assert {hop["host"] for hop in found["journeys"][0]["hops"]} == {HOSTILE}
    assert [tag for tag, _ in parts(bad).elements if tag == "script"] == ["script", "script"]
    assert visible(bad) == bad


def test_what_is_put_in_is_not_searched_for_places() -> None:
    assert "{{data}}" in page(replace(hostile(), title="{{data}}"), ())


def test_each_hop_is_at_a_shape_and_has_the_header_before_it(html: str, journeys: list[Journey]) -> None:
    found = data(html)
    hops, shapes = found["journeys"][0]["hops"], found["shapes"]
    assert len(hops) == len(journeys[0].hops)
    places = [(shapes[hop["at"]]["host"], shapes[hop["at"]]["dev"]) for hop in hops]
    assert places[:4] == [("pod-d", "eth0"), ("node2", ""), ("node2", "tunl0"), ("node2", "eth0")]
    assert [hop["was"]["target"] if hop["was"] else None for hop in hops[:3]] == [None, "10.103.9.116", "20.111.156.7"]
    turn = next(number for number, hop in enumerate(hops) if hop["reply"])
    assert hops[turn]["was"] is None
    encapsulated = next(hop for hop in hops if hop["action"] == "decapsulate")
    assert encapsulated["wasOuter"] == encapsulated["outer"]


def test_lines_join_shapes(html: str) -> None:
    found = data(html)
    ends = [end for line in found["lines"] for end in line["ends"]]
    assert {type(end) for end in ends} == {int}
    assert {found["shapes"][end]["kind"] for end in ends} == {"interface", "router", "tunnel", "wire"}
    assert html.count('<g id="shape-') == len(found["shapes"])


def test_a_wire_of_several_rows_is_joined_row_by_row() -> None:
    """So a packet between nodes of two rows takes the way around them, and not through their boxes."""
    found = fifty(nodes=8)
    plain = data(page(found.graph, found.state))
    wires = [number for number, one in enumerate(plain["shapes"]) if one["kind"] == "wire"]
    assert len(wires) > 1
    pairs = [tuple(line["ends"]) for line in plain["lines"]]
    assert [pair for pair in pairwise(wires) if pair not in pairs] == []
    cabled = [end for pair in pairs for end in pair if end in wires]
    assert {*cabled} == {*wires}


def test_each_host_has_its_routes_its_rules_and_the_commands_that_show_them(html: str) -> None:
    hosts = data(html)["hosts"]
    sections = {one["what"]: one for one in hosts["node1"]["sections"]}
    assert list(sections) == ["addresses", "neighbours", "routes", "iptables", "ipset", "settings", "processes"]
    route = {"text": "ip route add 20.109.131.0/26 via 192.168.59.23 dev tunl0 proto bird onlink", "by": "BIRD"}
    assert {**route, "dev": "tunl0"} in sections["routes"]["lines"]
    assert sections["routes"]["command"] == "ip -n nslab.calico-two-node.node1 route"
    assert any("KUBE-SVC" in one["text"] and one["by"] == "kube-proxy" for one in sections["iptables"]["lines"])
    (eth0,) = hosts["pod-b"]["interfaces"]
    assert (eth0["addresses"], eth0["far"]) == (["20.111.156.7/32"], ["node1", "cali2f5353dd8c5"])
    (service,) = hosts["service/svc-b"]["sections"]
    assert service["command"] == "nslab describe calico-two-node service/svc-b"
    assert service["lines"][0]["text"] == "10.103.9.116:8080, node port 31080 → pod-b"


def test_values_of_secrets_are_not_in_it() -> None:
    """Containers' environments are in their commands: of processes the page has the names alone."""
    found = shipped("real-app")
    hosts = data(page(found.graph, found.state))["hosts"]
    lines = [
        line["text"]
        for host in hosts.values()
        for section in host["sections"]
        if section["what"] == "processes"
        for line in section["lines"]
    ]
    assert lines
    assert [line for line in lines if "=" in line or "exec" in line] == []


def words(language: str) -> str:
    begin = WORDS.index(f"  {language}: {{")
    return WORDS[begin : WORDS.index("\n  },\n", begin)]


def keys(language: str) -> set[str]:
    """The words at the first level of one language."""
    flat = re.sub(r"\{[^{}]*\}", "{}", words(language).partition("{")[2].replace("${", "$("))
    return {*re.findall(r'(?:^|[,{\s])(\w+): (?=["({])', re.sub(r'"[^"]*"', '""', flat))}


def test_both_languages_have_every_word() -> None:
    assert keys("en") == keys("ko")
    scripts = "".join((FOLDER / f"{name}.js").read_text() for name in SCRIPTS)
    used = {
        *re.findall(r'word\("(\w+)"\)', scripts),
        *re.findall(r'data-word="(\w+)"', (FOLDER / "page.html").read_text()),
    }
    used |= set(re.findall(r'\brules\("(\w+)"', scripts))
    assert used | {*_COMMANDS, "plugins", "service"} <= keys("en")


def test_korean_has_every_action_end_and_role() -> None:
    for what in (*Action, *(end.name.lower() for end in End), *Role):
        name = str(what)
        assert f"{name}:" in words("ko") or f'"{name}":' in words("ko"), name


CAUSES = (
    BY_CONNTRACK, BLACKHOLE, RP_FILTER, NO_ROUTE, NO_FORWARDING, UNREACHABLE, PROHIBITED, TTL_OVER,
    "policy DROP of chain FORWARD (table filter)", "route default via 10.0.0.1 dev eth0 proto boot",
    "route default dev eth0; after DNAT 10.0.0.0/24 dev tunl0", "cali0 to eth0", "10.0.0.1 is at ee:ee:ee:ee:ee:ee",
    "no program takes it from the queue of filter FORWARD",
    "no rule that the kernel traces drops it; route 10.0.0.0/24 dev eth0", NO_FORWARDING_THERE,
    too_big(1500, "tunl0", 1480),
    f"{Unanswered('node1', 'cbr0', IPv4Address('10.0.0.7'))}", f"node1 does not pass the reply on: {NO_ROUTE}",
    *(described([one]) for one in (
        Ending("a"), Ending("a", "eth0", because=("x",)), Ending("a", "eth0", leaving=True, back=True),
        Ending("a", "eth0", leaving=True, because=("x",)), Ending("a", "eth0", arrived=True),
        Ending("a", "eth0", sent=What.RESET), Ending("a", "eth0", sent=What.ERROR, code=(3, 1)),
    )),
)  # fmt: skip


def test_korean_has_every_cause() -> None:
    listed = WORDS[WORDS.index("KOREAN_CAUSES") :]
    patterns = re.findall(r'^  \[/(\^.+\$)/, "(.+)"\],$', listed, re.MULTILINE)
    for cause in CAUSES:
        [text, *_] = [text for pattern, text in patterns if re.search(pattern, cause)]
        assert re.search("[가-힣]|→", text), cause
    assert len(patterns) == listed.count("[/^"), "each is in a line of its own"


def test_each_script_is_put_in_once_and_in_order(html: str) -> None:
    script = parts(html).texts[2]
    at = [script.index((FOLDER / f"{name}.js").read_text()) for name in SCRIPTS]
    assert at == sorted(at)
    assert {path.stem for path in FOLDER.glob("*.js")} == {*SCRIPTS}
