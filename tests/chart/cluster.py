"""A small Kubernetes API server on loopback for Helm's server-side dry run: discovery, and objects by path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Document = dict[str, Any]
_KINDS = {"v1": ("ConfigMap", "Pod", "Secret", "Service", "ServiceAccount"), "apps/v1": ("StatefulSet",)}


class Cluster:
    """`objects` maps API paths to what a GET of them returns; everything else is not found."""

    def __init__(self) -> None:
        self.objects: dict[str, Document] = {}
        self.port = 0

    @property
    def kubeconfig(self) -> str:
        server = {"server": f"http://127.0.0.1:{self.port}"}
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "fake", "cluster": server}],
                "users": [{"name": "fake", "user": {}}],
                "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
                "current-context": "fake",
            }
        )

    def add_secret(self, namespace: str, name: str, data: dict[str, str]) -> None:
        """A Secret of the release `coc`, data in base64."""
        owner = {"meta.helm.sh/release-name": "coc", "meta.helm.sh/release-namespace": namespace}
        labels = {"app.kubernetes.io/managed-by": "Helm"}
        metadata = {"name": name, "namespace": namespace, "labels": labels, "annotations": owner}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        self.objects[f"/api/v1/namespaces/{namespace}/secrets/{name}"] = secret


@contextmanager
def serving() -> Iterator[Cluster]:
    cluster = Cluster()
    documents = _discovery()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            document = documents.get(path) or cluster.objects.get(path)
            missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            body = json.dumps(document or missing).encode()
            self.send_response(200 if document else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing; the test fails with its own message."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        cluster.port = server.server_port
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield cluster
        finally:
            server.shutdown()
            thread.join()


def _discovery() -> dict[str, Document]:
    version = {"groupVersion": "apps/v1", "version": "v1"}
    group = {"name": "apps", "versions": [version], "preferredVersion": version}
    documents: dict[str, Document] = {
        "/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group]},
        "/openapi/v3": {"paths": {}},
    }
    for version_name, kinds in _KINDS.items():
        root = f"/apis/{version_name}" if "/" in version_name else f"/api/{version_name}"
        documents[root] = _resources(version_name, kinds)
        documents["/openapi/v3"]["paths"][root[1:]] = {"serverRelativeURL": f"/openapi/v3{root}?hash=1"}
        documents[f"/openapi/v3{root}"] = _openapi(root, version_name, kinds)
    return documents


def _resources(version: str, kinds: tuple[str, ...]) -> Document:
    resources = [
        {"name": f"{kind.lower()}s", "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": ["get"]}
        for kind in kinds
    ]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}


def _openapi(root: str, version: str, kinds: tuple[str, ...]) -> Document:
    """Announces field validation by the server, so that Helm does not read its schemas."""
    group, _, name = version.rpartition("/")
    field_validation = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    paths = {
        f"{root}/namespaces/{{namespace}}/{kind.lower()}s/{{name}}": {
            "patch": {
                "x-kubernetes-group-version-kind": {"group": group, "kind": kind, "version": name},
                "parameters": [field_validation],
                "responses": {},
            }
        }
        for kind in kinds
    }
    return {"openapi": "3.0.0", "info": {"title": "fake", "version": "1"}, "paths": paths, "components": {}}
