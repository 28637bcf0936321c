"""A page asks for one script: it is joined from the modules that it imports."""

from __future__ import annotations

import pytest

from adapter.console.modules import joined

SOURCES = {
    "page.js": 'import { b, $ } from "./one.js";\nimport { a } from "./two.js";\nuse(a, b, $);\n',
    "one.js": 'import { a } from "./two.js";\nexport const $ = 1;\nexport function b() { return a; }\nconst own = 2;\n',
    "two.js": "export class a {}\nconst own = 3;\n",
}


def test_each_module_runs_once_before_what_imports_it_and_keeps_its_own_names() -> None:
    assert joined("page.js", SOURCES) == (
        "const _two = (() => {\nclass a {}\nconst own = 3;\nreturn { a };\n})();\n"
        "const _one = (() => {\nconst { a } = _two;\nconst $ = 1;\nfunction b() { return a; }\nconst own = 2;\n"
        "return { $, b };\n})();\n"
        "const { b, $ } = _one;\nconst { a } = _two;\nuse(a, b, $);\n"
    )


def test_a_script_without_imports_stays_as_it_is() -> None:
    assert joined("alone.js", {"alone.js": "act();\n"}) == "act();\n"


def test_a_module_that_is_not_there_is_an_error() -> None:
    with pytest.raises(KeyError):
        joined("page.js", {"page.js": SOURCES["page.js"]})
