"""Write text in two languages into a page; results/pages/templates/language.js shows one of them."""

import re

from markupsafe import Markup, escape

# The names of facts about a run, as the scripts give them.
_FACTS = {
    "videos": "视频", "list": "列表", "protocol": "测试协议", "weights": "权重", "configuration": "配置",
    "training": "训练", "validation": "验证", "seed": "随机种子", "warnings": "警告",
    "least similarity": "最低相似度", "groups": "组数", "videos of each class": "各类别的视频数",
}  # fmt: skip
_CHINESE = re.compile(r'<(span|tspan) lang="zh-CN">.*?</\1>', re.DOTALL)


def both(english: str, chinese: str, *values: object, tag: str = "span") -> Markup:
    """Return both texts as elements; `{}` in them stands for the values, which are escaped.

    tag: tspan within a drawing's text.
    """
    said = [_filled(text, values) for text in (english, chinese)]
    if said[0] == said[1]:
        return said[0]
    return Markup('<{0} lang="en">{1}</{0}><{0} lang="zh-CN">{2}</{0}>').format(tag, *said)


def both_in(attribute: str, english: str, chinese: str, *values: object) -> Markup:
    """Return an attribute (one of `ATTRIBUTES` in page.js) with both texts, like `both`."""
    said = [_filled(text, values) for text in (english, chinese)]
    return Markup('{0}="{1}" data-zh-{0}="{2}"').format(attribute, *said)


def fact(name: str) -> Markup:
    """Return a fact's name in both languages, or unchanged if it is unknown."""
    return both("{}", "{}", name) if name not in _FACTS else both(name, _FACTS[name])


def in_english(markup: str) -> str:
    """Return the English text of a result of `both`, without markup, for the title of a window."""
    return " ".join(Markup(_CHINESE.sub("", markup)).striptags().split())


def shown(text: str) -> str:
    """Return the text as valid UTF-8: other bytes in a path become escapes, as on the screen."""
    return text.encode("utf-8", "backslashreplace").decode()


def _filled(text: str, values: tuple) -> Markup:
    return Markup(text).format(*(escape(shown(v)) if type(v) is str else v for v in values))
