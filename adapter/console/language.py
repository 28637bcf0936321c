"""PURE: English and Chinese. English text is the key; `zh.toml` has the Chinese of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

LANGUAGES: Final = {"en": "en", "zh": "zh-Hans"}
"""The names in links and cookies, and as HTML's `lang` has them."""

_MESSAGE: Final = re.compile(r"""\b_\(\s*(?:"((?:[^"\\]|\\.)+)"|'([^']+)')""")


def marked(text: str) -> str:
    """The text itself, for one that is translated elsewhere; imported as `_`."""
    return text


def messages(source: str) -> set[str]:
    """The English texts that a template, a module or a script translates: every call of `_` with one."""
    return {(double or single).replace('\\"', '"') for double, single in _MESSAGE.findall(source)}


def preferred(accepted: str) -> str:
    """By the header Accept-Language: the first of ours with the greatest weight, else English."""
    best, weight = "en", 0.0
    for item in accepted.split(","):
        tag, _, parameter = item.strip().lower().partition(";")
        name = tag.partition("-")[0]
        try:
            q = float(parameter.strip().removeprefix("q=") or 1)
        except ValueError:
            continue
        if name in LANGUAGES and q > weight:
            best, weight = name, q
    return best


@dataclass(frozen=True, slots=True)
class Language:
    """Translates; called `_` where it is used. For English itself both tables are empty.

    `texts`: English to this language.
    """

    name: str
    texts: Mapping[str, str]
    sentences: Mapping[str, str]  # of the admin API, by their code

    @property
    def html(self) -> str:
        return LANGUAGES[self.name]

    def __call__(self, text: str, /, **values: Any) -> str:
        """`values` take the places of their names in braces. Only `text` is a format, so they may hold anything."""
        return self.texts.get(text, text).format(**values)

    def sentence(self, item: Any) -> str:
        """A sentence of the admin API: by its code and args where this language has it, else its English text."""
        if item.code not in self.sentences:
            return str(item.text)
        args = {
            name: value if isinstance(value, str | int) else self.sentence(value) for name, value in item.args.items()
        }
        return self.sentences[item.code].format(**args)

    def of_script(self, source: str) -> dict[str, str]:
        """What a script needs of the catalogue."""
        return {text: self.texts[text] for text in sorted(messages(source)) if text in self.texts}
