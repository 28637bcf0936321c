"""Debian's Alertmanager delivers over TLS: with a user, with a token, with a client certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.flow.monitoring import alertmanager, one_receiver
from tests.server.servers import write_users
from tests.stage import adapter, sandbox, until, write_config
from tests.tls import Authority

ALERT = {"alertname": "Bell", "severity": "critical"}


@pytest.mark.parametrize("access", ["user", "token", "token beside users", "certificate", "certificate and user"])
async def test_alertmanager_delivers_over_tls_with(access: str, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    pair, client = authority.issue("server"), authority.issue("client", names=["alertmanager"], client=True)
    (tmp_path / "token").write_text("t0ken-of-the-test\n")
    web = tmp_path / "web.yml"
    text = f"tls_server_config:\n  cert_file: {pair.cert}\n  key_file: {pair.key}\n"
    http_config: dict[str, Any] = {"tls_config": {"ca_file": str(authority.cert)}}
    if "certificate" in access:
        text += f"  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {authority.cert}\n"
        http_config["tls_config"] |= {"cert_file": str(client.cert), "key_file": str(client.key)}
    if "user" in access:
        text += write_users(web, shop="right").read_text()
    if "token" in access:
        http_config["authorization"] = {"credentials_file": str(tmp_path / "token")}
    elif "user" in access:
        http_config["basic_auth"] = {"username": "shop", "password": "right"}
    web.write_text(text)
    more = "webhook: {bearer_token_file: token}\n" if "token" in access else ""
    async with (
        sandbox() as coc,
        adapter(write_config(tmp_path, coc.port, more), f"--web.config.file={web}") as service,
        alertmanager(tmp_path, one_receiver(f"https://localhost:{service.port}/webhook", **http_config)) as sender,
    ):
        await sender.post(ALERT)
        (alarm,) = await coc.received(1)
        assert alarm["alarmName"] == "Bell"
        assert alarm["alarmStatus"] == "alarm"


async def test_a_wrong_password_is_refused_and_alertmanager_logs_it(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    pair = authority.issue("server")
    web = write_users(tmp_path / "web.yml", shop="right")
    with web.open("a") as file:
        file.write(f"tls_server_config:\n  cert_file: {pair.cert}\n  key_file: {pair.key}\n")
    wrong = {"username": "shop", "password": "wrong-canary"}
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port), f"--web.config.file={web}") as service:
        config = one_receiver(
            f"https://localhost:{service.port}/webhook", tls_config={"ca_file": str(authority.cert)}, basic_auth=wrong
        )
        async with alertmanager(tmp_path, config) as sender:
            await sender.post(ALERT)
            await until(lambda: "msg=refused reason=wrong status=401" in service.log_text, "a refusal in the log")
            await until(lambda: "401" in sender.log_text, "a 401 in Alertmanager's log")
        assert coc.bodies == []
        assert "wrong-canary" not in service.log_text
