"""Run by `helm test` in the image: check that the adapter is ready and accepts a webhook with its token."""

import http.client
import json
import os
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit


def main() -> None:
    connection = connect(os.environ["ADAPTER_URL"])
    show("ready", connection, "GET", "/-/ready")
    if os.environ["SEND_WEBHOOK"] != "true":
        return
    headers = {"Content-Type": "application/json"}
    if token_file := os.environ.get("TOKEN_FILE"):
        headers["Authorization"] = f"Bearer {Path(token_file).read_text().strip()}"
    body = json.dumps({"version": "4", "status": "firing", "receiver": "helm-test", "alerts": []})
    show("webhook", connection, "POST", f"/webhook/{os.environ['INTEGRATION']}", body, headers)


def connect(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    if parts.scheme == "http":
        return http.client.HTTPConnection(parts.netloc, timeout=10)
    # The certificate has the name that Alertmanager uses; this test only checks that the adapter answers.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(parts.netloc, timeout=10, context=context)


def show(what: str, connection: http.client.HTTPConnection, *request: object) -> None:
    connection.request(*request)  # type: ignore[arg-type]
    answer = connection.getresponse()
    text = answer.read(4096).decode(errors="replace").strip()
    if answer.status != 200:
        sys.exit(f"{what}: {answer.status} {text}")
    print(f"{what}: {answer.status} {text}")


main()
