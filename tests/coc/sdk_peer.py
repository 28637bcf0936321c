"""Runs the official SDK: reads one JSON order per line, prints one line: sent, refused, or the applications listed.

It is a process of its own, because the SDK writes a file under HOME and reads proxy variables.
"""

from __future__ import annotations

import json
import sys

from huaweicloudsdkcoc.v1 import (
    CocClient,
    CreateReportCustomEventRequest,
    ListApplicationViewRequest,
    ReportCustomEventRequestBody,
)
from huaweicloudsdkcore.auth.credentials import BasicCredentials, GlobalCredentials
from huaweicloudsdkcore.exceptions.exceptions import SdkException


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        auth = order["auth"]
        kind = BasicCredentials if auth.get("project_id") else GlobalCredentials
        scope = {name: auth[name] for name in ("project_id", "domain_id") if auth.get(name)}
        credentials = kind(ak=auth["access_key"], sk=auth["secret_key"], **scope)
        if auth.get("security_token"):
            credentials = credentials.with_security_token(auth["security_token"])
        client = CocClient.new_builder().with_credentials(credentials).with_endpoint(order["endpoint"]).build()
        if "list" in order:
            listed = client.list_application_view(ListApplicationViewRequest(**order["list"]))
            print(
                json.dumps([{name: getattr(row, name) for name in row.attribute_map} for row in listed.data]),
                flush=True,
            )
            continue
        names = {value: name for name, value in ReportCustomEventRequestBody.attribute_map.items()}
        body = ReportCustomEventRequestBody(**{names[name]: value for name, value in order["body"].items()})
        request = CreateReportCustomEventRequest(integration_key=order["key"], body=body)
        try:
            client.create_report_custom_event(request)
            print("sent", flush=True)
        except SdkException as exc:
            print(f"refused {exc.status_code if hasattr(exc, 'status_code') else ''}", flush=True)


if __name__ == "__main__":
    main()
