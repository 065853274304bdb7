"""The picture as SVG: valid, laid out without overlaps, with words for who does not see it."""

from __future__ import annotations

import re
from itertools import combinations
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from nslab.admission.load import parse
from nslab.app.graph import pictured
from nslab.compiler.placement import assign_addresses
from nslab.lab.find import names
from nslab.quote import visible
from nslab.views.graph.colours import COLOURS, variables
from nslab.views.graph.layout import Depicted, abridged, wide
from nslab.views.graph.place import place
from nslab.views.graph.svg import style, svg
from nslab.views.graph.text import text
from tests.unit.views.drawn import fifty, hostile, shipped

if TYPE_CHECKING:
    from nslab.views.graph.layout import Drawing, Rectangle
    from nslab.views.graph.model import Graph

SPACE = "{http://www.w3.org/2000/svg}"


def parsed(graph: Graph) -> ET.Element:
    return ET.fromstring(svg(graph))


@pytest.fixture(scope="module", params=[*names(), "50 pods", "8 nodes", "hostile"])
def drawn(request: pytest.FixtureRequest) -> Graph:
    made = {"50 pods": lambda: fifty().graph, "8 nodes": lambda: fifty(nodes=8).graph, "hostile": hostile}
    name: str = request.param
    return made[name]() if name in made else shipped(name).graph


def test_it_is_xml_of_known_elements(drawn: Graph) -> None:
    """Whatever names say, no element of theirs gets in, and nothing from elsewhere is asked for."""
    root = parsed(drawn)
    elements = {one.tag.removeprefix(SPACE) for one in root.iter()}
    assert elements <= {"svg", "title", "desc", "style", "g", "rect", "text", "polyline", "circle"}
    assert [one for one in root.iter() for name in one.attrib if name.startswith("on") or "href" in name] == []
    assert re.findall(r"url\(|@import|https?://", svg(drawn).replace("http://www.w3.org/2000/svg", "")) == []
    assert visible(svg(drawn)) == svg(drawn)


def test_it_says_in_words_what_it_shows(drawn: Graph) -> None:
    root = parsed(drawn)
    title, described = root.find(f"{SPACE}title"), root.find(f"{SPACE}desc")
    assert title is not None
    assert described is not None
    assert root.get("role") == "img"
    assert (root.get("aria-labelledby"), root.get("aria-describedby")) == (title.get("id"), described.get("id"))
    assert title.text
    assert len((described.text or "").splitlines()) == text(drawn).count("\n")


def inside(inner: Rectangle, outer: Rectangle) -> bool:
    return (
        outer.x <= inner.x
        and outer.y <= inner.y
        and inner.x + inner.width <= outer.x + outer.width
        and inner.y + inner.height <= outer.y + outer.height
    )


def apart(one: Rectangle, other: Rectangle) -> bool:
    return (
        one.x + one.width <= other.x
        or other.x + other.width <= one.x
        or one.y + one.height <= other.y
        or other.y + other.height <= one.y
    )


def test_nothing_overlaps(drawn: Graph) -> None:
    """Two shapes are apart, or one is inside the other: a pod in its node, an interface in its host."""
    shapes = place(drawn).shapes
    wrong = [
        (one.name, other.name)
        for one, other in combinations(shapes, 2)
        if not (apart(one, other) or inside(one, other) or inside(other, one))
    ]
    assert wrong == []


def test_nothing_stands_out_of_the_picture_or_of_its_box(drawn: Graph) -> None:
    drawing = place(drawn)
    for one in drawing.shapes:
        assert one.x >= 0
        assert one.x + one.width <= drawing.width
        assert one.y + one.height <= drawing.height
        assert wide(one.text) <= one.width, one.text
    points = [point for line in drawing.lines for point in line.points]
    assert [point for point in points if not (0 <= point[0] <= drawing.width and 0 <= point[1] <= drawing.height)] == []


def test_each_interface_is_drawn_but_the_ports_of_the_switch(drawn: Graph) -> None:
    ends = {one.end for one in place(drawn).shapes}
    ports = {(box.host, one.name) for box in drawn.of_role("switch") for one in box.interfaces if one.bridge}
    assert {(box.host, one.name) for box in drawn.boxes for one in box.interfaces} - ends == ports
    assert {(box.host, "") for box in drawn.boxes if box.role != "switch"} <= ends


def reached(drawing: Drawing) -> set[tuple[str, str]]:
    """What a packet comes to along the lines, from the first wire."""
    todo = [next(one.end for one in drawing.shapes if one.kind is Depicted.WIRE)]
    seen = {*todo}
    while todo:
        here = todo.pop()
        for line in drawing.lines:
            if line.ends and here in line.ends:
                other = line.ends[line.ends.index(here) - 1]
                todo += [other] if other not in seen else []
                seen.add(other)
    return seen


@pytest.mark.parametrize("name", ["calico-cross-subnet", "kubenet-two-node", "services-ipvs", "calico-routing"])
def test_lines_lead_from_the_wire_to_every_pod(name: str) -> None:
    drawn = shipped(name).graph
    assert reached(place(drawn)) >= {(box.host, one.name) for box in drawn.of_role("pod") for one in box.interfaces}


CNI = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: plugged}
spec:
  cni:
    plugin: exec
    config: |
      {"cniVersion": "1.0.0", "name": "n", "plugins": [{"type": "bridge", "ipam":
        {"type": "host-local", "ranges": [[{"subnet": "{{ node.podCIDR }}"}]]}}]}
  proxy: {mode: none}
  nodes: [{name: n1}]
"""
POD = """\
---
apiVersion: v1
kind: Pod
metadata: {name: pod-%d}
spec: {containers: [{name: app, image: agnhost}]}
"""


def test_pods_that_plugins_wire_are_joined_to_their_node() -> None:
    """By which of its interfaces, only the plugins know."""
    own = assign_addresses(parse(CNI + "".join(POD % number for number in range(20)), "plugged.yaml"))
    drawing = place(pictured(own).graph)
    assert reached(drawing) >= {(f"pod-{number}", "eth0") for number in range(20)}
    assert_at_their_ends(drawing)


def test_a_line_begins_and_ends_at_the_shapes_that_it_joins() -> None:
    assert_at_their_ends(place(shipped("calico-cross-subnet").graph))


def assert_at_their_ends(drawing: Drawing) -> None:
    for line in drawing.lines:
        for end, (x, y) in zip(line.ends or (), (line.points[0], line.points[-1]), strict=False):
            shape = drawing.shape(end)
            assert shape is not None
            assert shape.x <= x <= shape.x + shape.width
            assert shape.y <= y <= shape.y + shape.height


def test_fifty_pods_stand_in_rows_that_fit_a_screen() -> None:
    drawing = place(fifty().graph)
    pods = [one for one in drawing.shapes if one.kind is Depicted.POD]
    assert len(pods) == 50
    assert drawing.width <= 1700
    assert drawing.height <= 1000
    assert [one.text for one in pods if one.text.endswith("…")] == []


def test_nodes_stand_above_their_wire_and_pods_above_their_router() -> None:
    drawing = place(shipped("calico-two-node").graph)
    heights = [
        drawing.shape(end)
        for end in (("pod-b", "eth0"), ("node1", "cali2f5353dd8c5"), ("node1", ""), ("node1", "tunl0"),
                    ("node1", "eth0"), ("switch", "br0"))
    ]  # fmt: skip
    places = [one.y for one in heights if one]
    assert places == sorted(places)
    assert len(places) == 6


def test_what_differs_is_marked_by_a_sign_and_told() -> None:
    root = parsed(hostile())
    marked = [one for one in root.iter(f"{SPACE}g") if "differs" in (one.get("class") or "").split()]
    told = [one.find(f"{SPACE}title") for one in marked]
    assert marked
    assert all(one is not None and "; " in (one.text or "") for one in told[:3])
    assert root.find(f".//{SPACE}circle[@class='mark']") is not None


def test_colours_are_there_for_light_and_dark() -> None:
    (sheet,) = (one.text or "" for one in parsed(shipped("pause-pod").graph).iter(f"{SPACE}style"))
    light, dark = sheet.split("@media (prefers-color-scheme: dark)")
    assert (COLOURS["text"][0] in light, COLOURS["text"][1] in dark) == (True, True)
    assert "var(" not in sheet
    assert {*re.findall(r"var\(--([a-z-]+)\)", style())} <= {*COLOURS}
    assert variables().count("--ground:") == 3


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("ground", ["ground", "node", "pod", "chip", "router", "overlay", "wire"])
@pytest.mark.parametrize("dark", [0, 1])
def test_text_stands_out_from_every_ground(ground: str, dark: int) -> None:
    one, other = sorted(luminance(COLOURS[name][dark]) for name in ("text", ground))
    assert (other + 0.05) / (one + 0.05) >= 4.5


def test_a_text_without_room_is_cut() -> None:
    assert abridged("short", 100) == "short"
    assert abridged("한국어" * 20, 100).endswith("…")
    assert wide(abridged("한국어" * 20, 100)) <= 100
