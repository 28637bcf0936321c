"""Writes the volumes of a rendered pod into a folder of the test."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from tests.chart.rendering import ROOT, Rendered, Resource

# Stand-ins for what lies in ConfigMaps and Secrets the chart only refers to.
_FOREIGN = {"ca.crt": "a certificate", "own.yaml": sorted((ROOT / "mappings").glob("*.yaml"))[-1].read_text()}
_TEXTS = {"uri": "postgresql://coc:secret@database/coc", "proxy-url": "http://user:secret@proxy.example.com:3128"}


class Mounted:
    """Writes every volume mount of the adapter's container; `host` translates a path of the pod."""

    def __init__(self, rendered: Rendered, root: Path) -> None:
        self.rendered = rendered
        self.root = root
        volumes = {volume["name"]: volume for volume in rendered.pod["volumes"]}
        for mount in rendered.container["volumeMounts"]:
            folder = self.host(mount["mountPath"])
            folder.mkdir(parents=True, exist_ok=True)
            if mount["name"] in volumes:  # else it is a claim of the StatefulSet
                self._fill(folder, volumes[mount["name"]])

    def host(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def relocate(self, text: str) -> str:
        """Translate all paths of the pod in a configuration or an argument."""
        return re.sub(r"(?<![^\s:=])/(?=(etc|var)/)", f"{self.root}/", text)

    def _fill(self, folder: Path, volume: Resource) -> None:
        for source in volume.get("projected", {}).get("sources", []):
            kind = "configMap" if "configMap" in source else "secret"
            data = self._data(kind, source[kind]["name"])
            for item in source[kind]["items"]:
                path = folder / item["path"]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(self.relocate(data[item["key"]] if data is not None else _stand_in(item["key"])))
        if "configMap" in volume:
            data = self._data("configMap", volume["configMap"]["name"])
            for name, text in (data or _FOREIGN).items():
                (folder / name).write_text(text)

    def _data(self, kind: str, name: str) -> dict[str, str] | None:
        """The data of an object that the chart creates; None if the chart only refers to it."""
        for resource in self.rendered.of("ConfigMap" if kind == "configMap" else "Secret"):
            if resource["metadata"]["name"] == name:
                data: dict[str, str] = resource["data"]
                if kind == "configMap":
                    return data
                return {key: base64.b64decode(text).decode() for key, text in data.items()}
        return None


def _stand_in(key: str) -> str:
    return _TEXTS.get(key, f"the-{key}")
