"""The pages in the order of the menu, and the forms."""

from __future__ import annotations

from typing import Final

from adapter.console import alarms, letters, overview, playground, reconcile, status
from adapter.console.forms import Form
from adapter.console.language import marked as _
from adapter.console.page import Page

PAGES: Final = (
    Page("overview", _("Overview"), "/ui/", "overview.html", overview.load),
    Page("alarms", _("Alarms"), "/ui/alarms", "alarms.html", alarms.load),
    Page("trail", _("Alarm"), "/ui/alarms/{integration:[^/]+}/{fingerprint:[^/]+}", "trail.html", alarms.load_trail,
         in_menu=False, under="alarms"),
    Page("dead-letters", _("Dead letters"), "/ui/dead-letters", "letters.html", letters.load),
    Page("replay", _("Replay"), "/ui/dead-letters/replay", "replay.html", letters.load_replay, in_menu=False,
         under="dead-letters"),
    Page("discard", _("Discard"), "/ui/dead-letters/discard", "discard.html", letters.load_discard, in_menu=False,
         under="dead-letters"),
    Page("rejects", _("Rejects"), "/ui/rejects", "rejects.html", letters.load_rejects),
    playground.PAGE,
    Page("reconcile", _("Reconcile"), "/ui/reconcile", "reconcile.html", reconcile.load),
    Page("status", _("Status"), "/ui/status", "status.html", status.load),
)  # fmt: skip

FORMS: Final = (
    Form("/ui/integrations/{name:[^/]+}/pause", overview.pause),
    Form("/ui/integrations/{name:[^/]+}/resume", overview.resume),
    Form("/ui/mappings", playground.submit, changes=False),
    Form("/ui/dead-letters/replay", letters.replay),
    Form("/ui/dead-letters/discard", letters.discard),
    Form("/ui/reconcile/{name:[^/]+}/approve", reconcile.approve),
)
