"""Runs pip-audit over the lock file: known vulnerabilities of the dependencies.

pip-audit succeeds also when it could look no package up, for example behind a mirror without advisories. This prints
how many packages it looked up, and waits at most a minute. Exit code 1: there are vulnerabilities. 2, with
AUDIT_STRICT=1: a package could not be looked up. 0: otherwise.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def main(lock: str, seconds: float = 60.0) -> int:
    command = [
        str(Path(sys.executable).with_name("pip-audit")), "--require-hashes", "--disable-pip", "--requirement", lock,
        "--progress-spinner", "off", "--timeout", "10", "--format", "json",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)  # noqa: S603
        packages = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        print(f"not audited: no answer within {seconds:.0f} s")
        return _unknown(1)
    except (ValueError, KeyError):
        reason = (done.stderr.strip().splitlines() or ["pip-audit printed nothing"])[-1]
        print(f"not audited: {reason}")
        return _unknown(1)
    return verdict(packages)


def verdict(packages: list[dict[str, Any]]) -> int:
    """Print pip-audit's result; return the exit code."""
    unknown = [package for package in packages if "skip_reason" in package]
    known = [(package, flaw) for package in packages for flaw in package.get("vulns", ())]
    for package, flaw in known:
        fixed = ", ".join(flaw.get("fix_versions", ())) or "no release yet"
        print(f"{package['name']} {package['version']}: {flaw['id']}, fixed in {fixed}")
    audited = len(packages) - len(unknown)
    print(f"{audited} packages audited, {len(known)} vulnerabilities, {len(unknown)} packages could not be looked up")
    return 1 if known else _unknown(len(unknown))


def _unknown(count: int) -> int:
    return 2 if count and os.environ.get("AUDIT_STRICT") == "1" else 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
