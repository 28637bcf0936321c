"""The bill of materials lists every locked package; the audit reports what it could not look up."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements" / "run.txt"


def sbom() -> str:
    command = [sys.executable, ".ci/sbom.py", str(LOCK)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_the_bill_of_materials_is_valid_cyclonedx_and_reproducible() -> None:
    text = sbom()
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None
    assert sbom() == text


def test_it_lists_every_locked_package_with_its_archives() -> None:
    document = json.loads(sbom())
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", LOCK.read_text(), re.MULTILINE))
    assert {part["name"]: part["version"] for part in document["components"]} == locked
    hashes = sum(len(part["hashes"]) for part in document["components"])
    assert hashes == LOCK.read_text().count("--hash=sha256:")


def test_the_service_depends_on_the_packages_of_its_project_file() -> None:
    document = json.loads(sbom())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = project["dependencies"] + [item for extra in project["optional-dependencies"].values() for item in extra]
    names = {re.split(r"[^\w.-]", item)[0].lower() for item in required}
    service, *others = document["dependencies"]
    assert set(service["dependsOn"]) == names
    indirect = {name for other in others for name in other["dependsOn"]}
    assert {part["name"] for part in document["components"]} == names | indirect


def verdict(packages: list[dict[str, Any]]) -> int:
    code: int = runpy.run_path(str(ROOT / ".ci" / "audit.py"))["verdict"](packages)
    return code


FINE = {"name": "a", "version": "1", "vulns": []}
FLAWED = {"name": "b", "version": "2", "vulns": [{"id": "GHSA-1", "fix_versions": ["3"]}]}
UNKNOWN = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "lenient", "strict"),
    [([FINE], 0, 0), ([FINE, FLAWED], 1, 1), ([FINE, UNKNOWN], 0, 2), ([FLAWED, UNKNOWN], 1, 1), ([UNKNOWN], 0, 2)],
)
def test_the_audit_fails_on_vulnerabilities_and_counts_packages_it_could_not_look_up(
    packages: list[dict[str, Any]],
    lenient: int,
    strict: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("AUDIT_STRICT", raising=False)
    assert verdict(packages) == lenient
    output = capsys.readouterr().out
    assert ("GHSA-1, fixed in 3" in output) == (FLAWED in packages)
    assert f"{packages.count(UNKNOWN)} packages could not be looked up" in output
    monkeypatch.setenv("AUDIT_STRICT", "1")
    assert verdict(packages) == strict


@contextmanager
def advisories(answer: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Iterator[str]:
    """A source of advisories as OSV is one; it does not answer what `answer` has no answer for. Yields its URL."""
    ended = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found = answer(asked)
            if found is None:
                ended.wait(60)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(found).encode())

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        ended.set()
        server.shutdown()
        server.server_close()


def flaw(asked: dict[str, Any]) -> dict[str, Any]:
    """Jinja2 is vulnerable, nothing else is."""
    if asked["package"]["name"] != "jinja2":
        return {}
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "999"}]}]
    affected = {"package": {"name": "jinja2", "ecosystem": "PyPI"}, "versions": [asked["version"]], "ranges": ranges}
    return {"vulns": [{"id": "GHSA-test", "modified": "2026-01-01T00:00:00Z", "summary": "x", "affected": [affected]}]}


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (lambda asked: {}, 0, "packages audited, 0 vulnerabilities, 0 packages could not be looked up"),
        (flaw, 1, "GHSA-test, fixed in 999"),
        (lambda asked: None, 0, "not audited: no answer within 3 s"),
    ],
    ids=["nothing known", "a vulnerability", "a source that is silent"],
)
def test_the_audit_fails_where_a_source_knows_a_vulnerability_and_waits_for_none(
    answer: Callable[[dict[str, Any]], dict[str, Any] | None],
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("AUDIT_STRICT", raising=False)
    monkeypatch.setenv("PIP_AUDIT_VULNERABILITY_SERVICE", "osv")
    with advisories(answer) as url:
        monkeypatch.setenv("PIP_AUDIT_OSV_URL", url)
        main = runpy.run_path(str(ROOT / ".ci" / "audit.py"))["main"]
        assert main(str(LOCK), 3.0 if code == 0 and "within" in said else 60.0) == code
    assert said in capsys.readouterr().out


def test_ci_audits() -> None:
    assert "make audit" in (ROOT / ".ci" / "run").read_text()
