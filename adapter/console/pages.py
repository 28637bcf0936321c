"""The pages in the order of the menu, and the forms."""

from __future__ import annotations

from typing import Final

from adapter.console import overview, playground
from adapter.console.forms import Form
from adapter.console.language import marked as _
from adapter.console.page import Page

PAGES: Final = (
    Page("overview", _("Overview"), "/ui/", "overview.html", overview.load),
    playground.PAGE,
)  # fmt: skip

FORMS: Final = (
    Form("/ui/integrations/{name:[^/]+}/pause", overview.pause),
    Form("/ui/integrations/{name:[^/]+}/resume", overview.resume),
    Form("/ui/mappings", playground.submit, changes=False),
)
