"""Texts in two languages, and the colours of classes."""

import pytest
from markupsafe import Markup

from report_rows import HOSTILE
from results.pages.palette import NOTHING, OTHERS, Palette
from results.pages.words import both, both_in, fact, in_english


@pytest.mark.parametrize(
    "made, expected",
    [
        (both("{} of {}", "{1} 中的 {0}", 1, 2), '<span lang="en">1 of 2</span><span lang="zh-CN">2 中的 1</span>'),
        (both("<b>{}</b>", "{}", "<a>"), '<span lang="en"><b>&lt;a&gt;</b></span><span lang="zh-CN">&lt;a&gt;</span>'),
        (both("{}", "{}", Markup("<i></i>")), "<i></i>"),
        (both("a", "甲", tag="tspan"), '<tspan lang="en">a</tspan><tspan lang="zh-CN">甲</tspan>'),
        (both_in("title", "of {}", "{} 的", '"'), 'title="of &#34;" data-zh-title="&#34; 的"'),
        (both_in("alt", "{}", "{}", "\udcff"), 'alt="\\udcff" data-zh-alt="\\udcff"'),
        (fact("seed"), '<span lang="en">seed</span><span lang="zh-CN">随机种子</span>'),
        (fact("<x>"), "&lt;x&gt;"),
    ],
)
def test_both_languages(made, expected):
    assert made == expected and isinstance(made, Markup)


def test_english_without_markup():
    hostile = both("{} of\n {}", "{} 中 {}", HOSTILE, both("a", "甲"))
    assert in_english(hostile) == f"{Markup(Markup.escape(HOSTILE)).striptags()} of a"


def test_few_classes_have_their_colours_by_id():
    palette = Palette({5: 1.0, 2: 9.0, -1: 3.0}, {5: "e", 2: "b"})
    assert [palette.of(k) for k in (2, 5, -1, 7)] == [0, 1, NOTHING, OTHERS]
    assert (palette.legend, palette.others, palette.nothing) == ([(0, "b"), (1, "e")], 0, True)


def test_the_most_important_of_many_classes_have_colours():
    palette = Palette({k: k for k in range(20)}, {k: str(k) for k in range(20)})
    assert palette.legend == [(place, str(14 + place)) for place in range(6)] and palette.others == 14
    assert palette.of(13) == OTHERS and not palette.nothing
