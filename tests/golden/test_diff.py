"""The output of `diff` for two sets of mappings."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.golden.normal import place
from tests.golden.recording import same
from tests.golden.terminal import run
from tests.stage import REPOSITORY

CHANGED = """\
rules:
  - name: quiet pods
    when: labels.alertname == "KubePodCrashLooping"
    drop: true
  - name: watchdog is an alarm
    when: labels.alertname == "Watchdog"
    alarm:
      alarmName: "{{ labels.alertname }}"
      applicationId: monitoring
      additional: {team: "sre"}
"""
PAYLOADS = ("single-firing", "kube-shop-two-rules", "kube-watchdog", "no-alertname")


def test_two_sets_of_mappings_differ_as_recorded(tmp_path: Path) -> None:
    old, new = REPOSITORY / "mappings", tmp_path / "new"
    shutil.copytree(old, new)
    (new / "05-changed.yaml").write_text(CHANGED)
    (new / "90-rest.yaml").write_text((old / "90-rest.yaml").read_text().replace("unmapped", "nobody"))
    payloads = [f"adapter/samples/{name}.json" for name in PAYLOADS]
    mappings = (f"--mappings={new}", "--against=mappings")
    outputs = [
        run("diff", *mappings, *payloads),
        run("diff", "--mappings=mappings", "--against=mappings", *payloads),
        run("diff", f"--mappings={new}", f"--against={tmp_path}/missing", payloads[0]),
        run("diff", *mappings, "missing.json"),
        run("diff", *mappings, "README.md"),
    ]
    same("diff.txt", "\n".join(ran.text(place(tmp_path, "FOLDER")) for ran in outputs))
