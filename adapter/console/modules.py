"""PURE: joins a script with the modules it imports, so that a page asks for one script only.

Of JavaScript's modules it takes one form: `import { a, b } from "./name.js";` on a line of its own, and `export` before
a declaration at the start of a line. Each module becomes a function that runs once, where its first importer needs it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_IMPORT: Final = re.compile(r'^import \{(.*)\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT: Final = re.compile(r"^export ((?:async )?(?:const|let|function|class) ([\w$]+))", re.MULTILINE)


def joined(name: str, sources: Mapping[str, str]) -> str:
    """The script without imports. `sources`: the text of each file; KeyError where an imported one is missing."""
    done: dict[str, str] = {}
    _join(name.removesuffix(".js"), sources, done)
    *modules, (_, script) = done.items()
    return "".join(f"const _{module} = (() => {{\n{text}}})();\n" for module, text in modules) + script


def _join(module: str, sources: Mapping[str, str], done: dict[str, str]) -> None:
    source = sources[f"{module}.js"]
    for _, imported in _IMPORT.findall(source):
        if imported not in done:
            _join(imported, sources, done)
    text = _IMPORT.sub(lambda found: f"const {{{found[1]}}} = _{found[2]};\n", source)
    exported = ", ".join(found[2] for found in _EXPORT.finditer(text))
    done[module] = _EXPORT.sub(r"\1", text) + (f"return {{ {exported} }};\n" if exported else "")
