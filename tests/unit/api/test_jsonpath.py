"""kubectl's JSONPath templates. What comes of each is what kubectl prints, by its documentation and its source."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nslab.api.jsonpath import TemplateError, parse, relaxed
from nslab.api.jsonpath_values import found, rendered

PODS: dict[str, Any] = {
    "kind": "List",
    "items": [
        {
            "metadata": {"name": "a", "labels": {"app": "web", "app.kubernetes.io/name": "shop"}},
            "spec": {"containers": [{"name": "c", "ports": [{"name": "http", "port": 80}, {"port": 443}]}]},
            "status": {"phase": "Running", "ready": True, "ip": "10.0.0.1", "load": 0.5},
        },
        {
            "metadata": {"name": "b", "labels": {"app": "db"}},
            "spec": {"containers": [{"name": "d"}, {"name": "e"}], "nodeName": None},
            "status": {"phase": "Pending", "ready": False},
        },
    ],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("plain text", "plain text"),
        (".items", ".items"),
        ("{.kind}", "List"),
        ("{@.kind}{$.kind}{ .kind }", "ListListList"),
        ("kind={.kind};", "kind=List;"),
        ("{.items[*].metadata.name}", "a b"),
        ("{.items..name}", "a c http b d e"),
        ("{..phase}", "Running Pending"),
        ("{.items[0].metadata.name}", "a"),
        ("{.items[-1].metadata.name}", "b"),
        ("{.items[-1:].metadata.name}", "b"),
        ("{.items[0:1].metadata.name}", "a"),
        ("{.items[:].metadata.name}", "a b"),
        ("{.items[::2].metadata.name}", "a"),
        ("{.items[0,1].metadata.name}", "a b"),
        ("{.items[1,0].metadata.name}", "b a"),
        ("{.items[1:1].metadata.name}", ""),
        ("{.items[*]['metadata.name','status.phase']}", "a b Running Pending"),
        ("{.items[0].metadata.labels.app\\.kubernetes\\.io/name}", "shop"),
        ("{.items[0].metadata.labels['app\\.kubernetes\\.io/name']}", "shop"),
        ("{.items[0].metadata.labels['app.kubernetes.io/name']}", ""),
        ("{.items[0].metadata.labels}", '{"app":"web","app.kubernetes.io/name":"shop"}'),
        ("{.items[0].metadata.labels.*}", "web shop"),
        ("{.items[0].spec.containers[*].ports}", '[{"name":"http","port":80},{"port":443}]'),
        ("{.items[*].status.ready}", "true false"),
        ("{.items[0].status.load}", "0.5"),
        ("{.items[1].spec.nodeName}", "null"),
        ("{.items[*].spec.nothing.at.all}", ""),
        ("{.kind.deeper}", ""),
        ("{.items[1].spec.nodeName[0]}", ""),
        ('{range .items[*]}{.metadata.name}{"\\t"}{.status.phase}{"\\n"}{end}', "a\tRunning\nb\tPending\n"),
        ("{range .items[*]}{.metadata.name}:{end}.", "a:b:."),
        ("{range .items[*]}{.metadata.name}-{range .spec.containers[*]}{.name},{end};{end}", "a-c,;b-d,e,;"),
        ("{range .nothing[*]}{.x[0].y}{end}after", "after"),
        ("{range .items[*]}{.metadata.name} ", "a b "),
        ("{range .items[*]}[{.metadata.name}, {.status.ip}]{end}", "[a, 10.0.0.1][b, ]"),
        ('{"say \\"hi\\""} {\'it\\\'s\'}', 'say "hi" it\'s'),
        ('{"\\u00e9\\x41"}', "éA"),
        ("{3} {-1.5} {true}", "3 -1.5 true"),
        ('{.items[?(@.status.phase=="Running")].metadata.name}', "a"),
        ("{.items[?(@.status.phase!='Running')].metadata.name}", "b"),
        ('{.items[?(@.metadata.name=="a)]")].metadata.name}', ""),
        ("{.items[?(@.status.ready==true)].metadata.name}", "a"),
        ("{.items[?(@.status.ip)].metadata.name}", "a"),
        ("{.items[0].spec.containers[0].ports[?(@.port>80)].port}", "443"),
        ("{.items[0].spec.containers[0].ports[?(@.port<=80)].port}", "80"),
        ("{.items[0].spec.containers[0].ports[?(@.name=='http')].port}", "80"),
        ("{.items[?(@.metadata.labels.app=='web')].spec.containers[*].name}", "c"),
        ("{.items[*].spec.containers[?(@.name>'c')].name}", "d e"),
    ],
)
def test_what_a_template_prints(template: str, text: str) -> None:
    assert rendered(template, PODS) == text


def test_objects_are_printed_as_go_prints_json() -> None:
    assert rendered("{.a}", {"a": {"b": "<&>", "a": [None, "é"]}}) == '{"a":[null,"é"],"b":"\\u003c\\u0026\\u003e"}'


@pytest.mark.parametrize(
    ("template", "error"),
    [
        ("{.items", "error parsing jsonpath {.items, unclosed action"),
        ("{.items\n}", "unclosed action"),
        ("{.items[0}", "unterminated array"),
        ("{.items[x]}", "invalid array index x"),
        ("{.items[]}", "invalid array index "),
        ("{.items[-]}", "array index - is not a number"),
        ("{.items[?(@.a==1}", "unterminated filter"),
        ("{.items[?(@.a==1)}", "unclosed array expect ]"),
        ('{"a}', "unterminated quoted string"),
        ("{names}", "unrecognized identifier names"),
        ("{#}", "unrecognized character in action: U+0023 '#'"),
        ("{1.2.3}", "cannot parse number 1.2.3"),
        ("{....a}", "invalid multiple recursive descent"),
        ("{end}", "not in range, nothing to end"),
        ("{range .items[*]}{end}{end}", "not in range, nothing to end"),
        ('{"\\U00110000"}', "invalid syntax"),
        ("{.items[2]}", "Error executing template: array index out of bounds: index 2, length 2"),
        ("{.items[0:3]}", "array index out of bounds: index 2, length 2"),
        ("{.items[1:0]}", "starting index 1 is greater than ending index 0"),
        ("{.items[::0]}", "step must be > 0"),
        ("{.kind[0]}", "string is not array or slice"),
        ("{.items[0][0]}", "map[string]interface {} is not array or slice"),
        ("{.kind[?(@.a)]}", "List is not array or slice and cannot be filtered"),
        ("{.items[?(@.status.ready=='x')]}", "incompatible types for comparison"),
        ("{.items[?(@.metadata=='x')]}", "invalid type for comparison"),
        ("{.items[?(@.status.ready<true)]}", "invalid type for comparison"),
        ("{.items[?(@.metadata.name=~'x')]}", "unrecognized filter operator =~"),
        ("{.items[?(@.metadata.labels.*=='x')]}", "can only compare one element at a time"),
    ],
)
def test_errors_are_kubectls(template: str, error: str) -> None:
    with pytest.raises(TemplateError) as raised:
        rendered(template, PODS)
    assert error in str(raised.value)


def test_an_error_of_execution_names_the_template() -> None:
    with pytest.raises(TemplateError) as raised:
        rendered("{.items[5]}", PODS)
    begin = 'error: error executing jsonpath "{.items[5]}": Error executing template: '
    assert str(raised.value) == f"{begin}array index out of bounds: index 5, length 2"


@pytest.mark.parametrize("text", ["metadata.name", ".metadata.name", "{metadata.name}", "{.metadata.name}"])
def test_a_way_without_braces(text: str) -> None:
    assert relaxed(text) == "{.metadata.name}"
    assert found(relaxed(text), PODS["items"][0]) == ["a"]


@pytest.mark.parametrize("text", ["", "{", "{.a}{.b}", "a}"])
def test_what_is_no_way(text: str) -> None:
    with pytest.raises(TemplateError, match=r"unexpected path string, expected a 'name1.name2'"):
        relaxed(text)


@pytest.mark.parametrize("text", ["{range .}" * 3000, "{range .}" * 3000 + "{end}" * 3000])
def test_a_template_that_is_nested_without_end(text: str) -> None:
    with pytest.raises(TemplateError, match=r", too deeply nested$"):
        rendered(text, PODS)


def test_a_number_without_end_is_told_in_our_words() -> None:
    with pytest.raises(TemplateError, match=r"array index 9{5000} is not a number$"):
        parse(f"{{.items[{'9' * 5000}]}}")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(st.text(alphabet=f"{{}}[]().,:?@$*'\"\\=!<>-+01abc \n{string.whitespace}rangeend", max_size=24), VALUES)
def test_any_text_is_a_template_or_one_error(text: str, value: object) -> None:
    try:
        printed = rendered(text, value)
    except TemplateError:
        return
    assert isinstance(printed, str)
    assert parse(text) is not None
