"""Wrong usage: the error and exit code 2."""

from __future__ import annotations

from tests.golden.recording import same
from tests.golden.terminal import ON_PYTHON_3_11, run

WRONG = (
    "", "nonsense", "--conf", "serve --config=x", "serve extra", "serve --web.listen-address=x",
    "serve --web.admin-address=127.0.0.1:99999", "serve --log.level=loud", "serve --log.format=xml",
    "demo --twice", "sandbox --listen-address=nowhere", "check --nonsense", "render", "render --output=xml x.json",
    "diff x.json", "diff --mappings=a --against=b", "test --junit", "store", "store move", "store copy",
    "store copy --from=memory:", "alarms nonsense", "alarms list --status=burning", "alarms explain",
    "dead-letters replay", "dead-letters replay seven", "dead-letters discard 1 --as-sent", "integrations pause",
    "integrations list --output=xml",
)  # fmt: skip


@ON_PYTHON_3_11
def test_wrong_usage_is_reported_as_recorded() -> None:
    outputs = [run(*words.split()) for words in WRONG]
    assert {ran.code for ran in outputs} == {2}
    same("usage.txt", "\n".join(ran.text() for ran in outputs))
