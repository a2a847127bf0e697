"""Text in, HTML out: nothing gets through unescaped."""

from hypothesis import given
from hypothesis import strategies as st

from perceiver_jax.report.markup import Markup, element, escape, join, table
from tests.report.runs import parse


def test_elements() -> None:
    inner = element("b", "1 < 2", style_class="x y", attributes={"title": '"&'})
    assert inner == '<b class="x y" title="&quot;&amp;">1 &lt; 2</b>'
    assert element("p", inner, " & ") == f"<p>{inner} &amp; </p>"
    assert element("img", attributes={"width": 3}) == '<img width="3">'
    assert element("line", attributes={"x1": 0}) == '<line x1="0"/>'
    assert join(["<", Markup("<i>")], "|") == "&lt;|<i>"
    assert escape(escape("<")) == "&lt;"


@given(st.text(), st.text())
def test_any_text_comes_back_as_it_was(text: str, attribute: str) -> None:
    page = parse(element("p", text, attributes={"title": attribute}))
    (found,) = page.children
    assert not isinstance(found, str)
    # Parsers take line breaks and nulls for others.
    same = str.maketrans({"\r": "\n", "\0": "\ufffd"})
    assert "".join(map(str, found.children)).translate(same) == text.translate(same)
    assert found.attributes["title"].translate(same) == attribute.translate(same)


def test_a_stacked_table_repeats_the_names_of_its_columns() -> None:
    page = parse(table(["run", "loss <"], [["a", 1], ["b", 2]], numbers=(1,), stacked=True))
    cells = [each.text() for each in page.all("td")]
    assert cells == ["a", "loss < 1", "b", "loss < 2"]
    assert [each.text() for each in page.all("span", "column")] == ["loss <", "loss <"]
    assert [each.attributes.get("class") for each in page.all("td")][1] == "number"
