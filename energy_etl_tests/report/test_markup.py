"""No text of anybody's becomes markup, and nothing of it is lost that can be shown."""

from html.parser import HTMLParser

from hypothesis import example, given, settings
from hypothesis import strategies as st

from energy_etl.report.markup import clean, el, join, name, prose
from energy_etl_tests.report.world import HOSTILE

ANY_TEXT = st.text(max_size=60) | st.sampled_from(HOSTILE)


class Read(HTMLParser):
    """What a browser would make of it: tags, attributes, texts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"a declaration: {decl}")


@given(text=ANY_TEXT, attribute=ANY_TEXT)
@example(text="</p><script>alert(1)</script>", attribute="\" onload='alert(1)'")
@settings(max_examples=30, deadline=None)
def test_any_text_or_attribute_stays_text(text: str, attribute: str) -> None:
    read = Read(el("p", name(text), el("b", text), title=attribute))
    assert [tag for tag, _ in read.tags] == ["p", "bdi", "b"]
    assert [key for key, _ in read.tags[0][1]] == ["title"]
    assert read.text.startswith(clean(text))


@given(text=ANY_TEXT)
@settings(max_examples=30, deadline=None)
def test_cleaned_text_can_be_encoded_and_turns_no_line_around(text: str) -> None:
    cleaned = clean(text)
    cleaned.encode("utf-8")
    assert len(cleaned) <= 80
    assert not set(cleaned) & {chr(code) for code in (0x202E, 0x2066, 0x0, 0x7, 0x1B, 0x85, 0xA)}
    assert clean(cleaned) == cleaned


def test_surrogate_and_long_name_become_a_mark_and_an_ellipsis() -> None:
    assert clean("a\ud800b") == "a\ufffdb"
    assert clean("W" * 200) == "W" * 79 + "…"


@given(text=ANY_TEXT)
@example(text="run `<b>x</b>` then `y`")
@settings(max_examples=25, deadline=None)
def test_backticks_are_the_only_markup_of_prose(text: str) -> None:
    assert {tag for tag, _ in Read(prose(text)).tags} <= {"code"}


def test_html_of_ours_is_not_escaped_again() -> None:
    assert join([el("b", "1 < 2"), " & "]) == "<b>1 &lt; 2</b> &amp; "
