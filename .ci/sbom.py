"""Prints the bill of materials of the service as CycloneDX JSON, from the lock file alone: offline and reproducible."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

_PACKAGE = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def document(lock: str, project: dict[str, Any]) -> dict[str, Any]:
    """CycloneDX 1.5 for a hash-locked requirements file; `project` is the table of pyproject.toml."""
    blocks = re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE)
    components: list[dict[str, Any]] = []
    wanted_by: dict[str, set[str]] = {}
    for block in blocks:
        if match := _PACKAGE.match(block):
            name, version = match.groups()
            components.append(
                {
                    "type": "library",
                    "bom-ref": name,
                    "name": name,
                    "version": version,
                    "purl": f"pkg:pypi/{name}@{version}",
                    # One for each archive of this release in the lock.
                    "hashes": [{"alg": "SHA-256", "content": content} for content in sorted(_HASH.findall(block))],
                }
            )
            wanted_by[name] = _wanted_by(block)
    root = f"{project['name']}@{project['version']}"
    names = [component["bom-ref"] for component in components]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": project["name"],
                "version": project["version"],
                "licenses": [{"license": {"id": project["license"]}}],
            }
        },
        "components": components,
        "dependencies": [
            {"ref": root, "dependsOn": [name for name in names if "" in wanted_by[name]]},
            *({"ref": name, "dependsOn": [other for other in names if name in wanted_by[other]]} for name in names),
        ],
    }


def _wanted_by(block: str) -> set[str]:
    """The packages that require this one; an empty name is the service itself."""
    comments = re.findall(r"^    # (.*)$", block, re.MULTILINE)
    words = {comment.removeprefix("via").strip() for comment in comments} - {""}
    return {"" if word.startswith("-r ") else word for word in words}


def main(lock: str) -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    json.dump(document(Path(lock).read_text(), project), sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main(*sys.argv[1:])
