"""The page in a browser: no complaint, every hop by key and by button, every choice, both languages, axe's rules.

They take chromium, one with Korean letters fonts-noto-cjk; NSLAB_CHROMIUM names another browser, NSLAB_AXE the file
axe.min.js of the npm package axe-core. Without them these tests are skipped.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nslab.app.predict import predict
from nslab.dataclass import replace
from nslab.linux.packages import how_to_install
from nslab.trace.hops import Accepted
from nslab.trace.observed import Match, Visit
from nslab.views.graph.model import Difference
from nslab.views.page import page
from tests.browser import browser, chromium
from tests.unit.views.drawn import fifty, shipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.trace.hops import Hop
    from tests.browser import Browser

PROGRAM = chromium() or ""
pytestmark = pytest.mark.skipif(not PROGRAM, reason=f"no browser: {how_to_install('chromium')}")
POSITION = "document.getElementById('position').textContent"
STEP = "document.querySelector('#step h3').textContent"
DETAIL = "document.getElementById('detail').textContent"


def axe() -> str:
    """The rules' script; skips without it."""
    named = os.environ.get("NSLAB_AXE")
    try:
        done = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        done = None
    file = Path(named) if named else Path(done.stdout.strip() if done else "/", "axe-core/axe.min.js")
    if not file.exists():
        pytest.skip("no axe-core: npm install -g axe-core, or NSLAB_AXE=…/axe.min.js")
    return file.read_text()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages: a journey, several, chains that accept, a lost packet, what differs, 50 pods."""
    folder = tmp_path_factory.mktemp("pages")
    two, balanced = shipped("calico-two-node"), shipped("services-iptables")
    broken = replace(two.graph, findings=(Difference("node1", "tunl0", "node1 has no route"),))
    many = fifty()
    [journey] = predict("calico-two-node", "pod-d", "svc-b")
    texts = {
        "journey": page(two.graph, two.state, [journey]),
        "several": page(balanced.graph, balanced.state, predict("services-iptables", "box-1", "web")),
        "accepted": page(
            two.graph, two.state, [replace(journey, hops=(_accepted(journey.hops[0]), *journey.hops[1:]))]
        ),
        "lost": page(two.graph, two.state, predict("calico-two-node", "pod-d", "20.111.156.50:80")),
        "broken": page(broken, two.state),
        "many": page(many.graph, many.state),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text)
    return {name: folder / f"{name}.html" for name in texts}


def _accepted(hop: Hop) -> Hop:
    """The hop as its chain, and the policy of another one, accepted it."""
    rule = Match("filter", "cali-wl-to-host", "accept", rule="-j ACCEPT", comment="by <default>")
    visit = Visit("filter", "OUTPUT", 3, 0, hop.header, 0, (rule,), "accept")
    return replace(hop, accepted=(Accepted(visit, "Felix"), Accepted(replace(visit, policy=True))))


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(PROGRAM, tmp_path_factory.mktemp("browser")) as one:
        yield one


def choose(opened: Browser, label: str) -> None:
    """Focus what has that label, and press Enter."""
    found = f"[...document.querySelectorAll('.picture [role=button]')].find(e => e.ariaLabel === {label!r})"
    assert opened.run(f"(e => {{ e?.focus(); return document.activeElement === e; }})({found})"), label
    opened.press("Enter")


def packet(opened: Browser) -> Any:
    return opened.run("['cx', 'cy'].map(name => Number(document.querySelector('circle.packet').getAttribute(name)))")


@pytest.mark.parametrize("name", ["journey", "several", "broken", "many"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_opens_without_a_complaint_and_as_wide_as_the_window(
    opened: Browser, pages: dict[str, Path], name: str, width: int
) -> None:
    opened.open(pages[name], width=width)
    assert opened.complaints() == []
    assert opened.run("document.documentElement.scrollWidth") <= width
    assert opened.run("performance.getEntriesByType('resource').length") == 0


def test_the_packet_walks_every_hop_there_and_back_by_keys(opened: Browser, pages: dict[str, Path]) -> None:
    opened.open(pages["journey"])
    count = opened.run("document.querySelectorAll('#hops button').length")
    assert count == 14
    seen = []
    for number in range(1, count + 1):
        assert opened.run(POSITION) == f"{number} of {count}"
        seen.append((opened.run(STEP), packet(opened)))
        opened.press("ArrowRight")
    assert opened.run(POSITION) == f"{count} of {count}"
    assert seen[0][0] == "The packet · pod-d eth0: send"
    assert seen[-1][0] == "The reply · pod-d eth0: receive"
    assert len({(place[0], place[1]) for _, place in seen}) > 5
    for number in range(count, 0, -1):
        assert (opened.run(STEP), packet(opened)) == seen[number - 1]
        opened.press("ArrowLeft")
    opened.press("End")
    assert opened.run(POSITION) == f"{count} of {count}"
    opened.press("Home")
    assert opened.run(POSITION) == f"1 of {count}"
    assert opened.complaints() == []


def test_buttons_step_too_and_say_where_they_lead_nowhere(opened: Browser, pages: dict[str, Path]) -> None:
    opened.open(pages["journey"])
    ends = "['first', 'back', 'forward', 'last'].map(id => document.getElementById(id).ariaDisabled)"
    assert opened.run(ends) == ["true", "true", "false", "false"]
    opened.run("document.getElementById('forward').click()")
    assert opened.run(STEP) == "The packet · node2 calid6b219bf875: DNAT"
    headers = opened.run(
        "[...document.querySelectorAll('#step tbody tr')].map(r => [...r.children].map(c => c.textContent))"
    )
    assert ["target", "10.103.9.116:8080", "20.111.156.7:8080"] in headers
    assert opened.run("[...document.querySelectorAll('#step .changed')].map(e => e.textContent)") == [
        "20.111.156.7:8080"
    ]
    opened.run("document.getElementById('last').click()")
    assert opened.run(ends) == ["false", "false", "true", "true"]
    opened.run("document.querySelectorAll('#hops button')[3].click()")
    assert opened.run(POSITION) == "4 of 14"
    assert "outer header" in opened.run("document.getElementById('step').textContent")
    assert opened.run("document.querySelector('#hops [aria-current]').textContent") == "4. node2: encapsulate eth0"


def test_a_choice_by_keyboard_shows_addresses_routes_rules_and_commands(
    opened: Browser, pages: dict[str, Path]
) -> None:
    opened.open(pages["journey"])
    choose(opened, "node1")
    shown = opened.run(DETAIL)
    commands = ("ip -n nslab.calico-two-node.node1 route", "nslab shell calico-two-node/node1")
    for part in ("Routes", "ip route add 20.109.131.0/26", "Rules (iptables)", "KUBE-SVC", "Addresses", *commands):
        assert part in shown
    choose(opened, "pod-b: eth0 20.111.156.7/32")
    assert "ip -n nslab.calico-two-node.pod-b -d addr show dev eth0" in opened.run(DETAIL)
    choose(opened, "svc-b  10.103.9.116:8080, node port 31080  → pod-b")
    assert "nslab describe calico-two-node service/svc-b" in opened.run(DETAIL)
    assert opened.run("document.querySelectorAll('.picture .chosen').length") == 1


def test_everything_in_the_picture_can_be_chosen(opened: Browser, pages: dict[str, Path]) -> None:
    opened.open(pages["journey"])
    missing = opened.run(
        "(all => all.filter(e => { e.dispatchEvent(new MouseEvent('click'));"
        "  return !document.querySelector('#detail h3') || !e.classList.contains('chosen'); }).map(e => e.ariaLabel))"
        "([...document.querySelectorAll('.picture [role=button]')])"
    )
    assert missing == []
    assert opened.complaints() == []


def test_of_several_journeys_each_can_be_chosen(opened: Browser, pages: dict[str, Path]) -> None:
    opened.open(pages["several"])
    options = opened.run("[...document.querySelectorAll('#which option')].map(e => e.textContent)")
    assert len(options) > 1
    assert all("chance" in text for text in options)
    last = len(options) - 1
    opened.run(
        f"(e => {{ e.value = '{last}'; e.dispatchEvent(new Event('change')); }})(document.getElementById('which'))"
    )
    assert opened.run("document.getElementById('which').selectedIndex") == last
    opened.press("End")
    assert opened.complaints() == []


def test_a_step_has_the_rules_that_accepted_the_packet(opened: Browser, pages: dict[str, Path]) -> None:
    opened.open(pages["accepted"])
    shown = "[...document.querySelectorAll('#step .rules p')].map(e => e.textContent)"
    assert opened.run(shown) == ["filter cali-wl-to-host: -j ACCEPT “by <default>” by Felix"]


def test_it_speaks_korean_when_asked_and_by_its_button(opened: Browser, pages: dict[str, Path]) -> None:
    opened.open(pages["journey"], "?lang=ko")
    heading = "document.getElementById('journey-heading').textContent"
    assert (opened.run(heading), opened.run("document.documentElement.lang")) == ("패킷의 여정", "ko")
    assert opened.run(POSITION) == "14단계 중 1"
    opened.press("ArrowRight")
    opened.run("document.getElementById('language').click()")
    assert (opened.run(heading), opened.run("document.documentElement.lang")) == ("Journey of a packet", "en")
    assert opened.run(POSITION) == "2 of 14", "it stays where it is"


def test_why_a_packet_is_lost_is_korean_too_with_the_cause_within(opened: Browser, pages: dict[str, Path]) -> None:
    opened.open(pages["lost"], "?lang=ko")
    summary = "document.getElementById('journey-summary').textContent"
    assert opened.run(summary) == "응답 없음: node1에서 더 나아가지 못합니다. blackhole 경로가 버립니다"
    opened.run("document.getElementById('language').click()")
    assert opened.run(summary) == "timed out: node1 does not pass it on: a blackhole route drops it"


def test_it_is_light_or_dark_as_the_system_is_or_as_its_button_says(opened: Browser, pages: dict[str, Path]) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    for dark in (False, True):
        opened.open(pages["journey"], dark=dark)
        colours = ["rgb(255, 255, 255)", "rgb(13, 17, 23)"]
        assert opened.run(ground) == colours[dark]
        opened.run("document.getElementById('theme').click()")
        assert opened.run(ground) == colours[not dark]


def test_what_differs_is_said_first(opened: Browser, pages: dict[str, Path]) -> None:
    opened.open(pages["broken"])
    assert opened.run("document.getElementById('findings').textContent").split("\n")[-2:] == ["node1 has no route", ""]
    assert opened.run("document.querySelectorAll('.picture .differs').length") == 1
    assert opened.run("document.getElementById('journey').hidden") is True


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["journey", "broken"])
def test_axe_finds_nothing(opened: Browser, pages: dict[str, Path], name: str, dark: bool) -> None:
    rules = axe()
    opened.open(pages[name], dark=dark)
    choose(opened, "node2")
    opened.run(f"{rules};0")
    found = opened.run("axe.run().then(done => done.violations.map(one => [one.id, one.impact, one.nodes[0].html]))")
    assert found == []
