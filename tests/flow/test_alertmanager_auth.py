"""Debian's Alertmanager delivers over TLS: with a user, with a token, with a client certificate."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.needs import needs
from tests.server.servers import write_users
from tests.stage import adapter, sandbox, until, write_config
from tests.tls import Authority

ROUTING = """\
route: {{receiver: coc, group_wait: 0s, group_interval: 1s, group_by: [alertname]}}
receivers:
  - name: coc
    webhook_configs:
      - url: https://localhost:{port}/webhook
        send_resolved: true
        http_config:
          tls_config: {{ca_file: {ca}{certificate}}}
{authorization}
"""
USERS = "          basic_auth: {{username: shop, password: {password}}}"
TOKEN = "          authorization: {{credentials_file: {file}}}"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@asynccontextmanager
async def alertmanager(folder: Path, config: str) -> AsyncIterator[str]:
    """A running Alertmanager without a cluster; its URL."""
    program = needs("prometheus-alertmanager")
    (folder / "alertmanager.yml").write_text(config)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = folder / "alertmanager.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [program, f"--config.file={folder / 'alertmanager.yml'}", f"--storage.path={folder / 'am'}",
             f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", "--log.level=debug"],
            stdout=out, stderr=subprocess.STDOUT, env={"NO_PROXY": "*"},
        )  # fmt: skip
    try:
        await until(lambda: reachable(port) or process.poll() is not None, "Alertmanager listens")
        assert process.poll() is None, log.read_text()
        yield url
    finally:
        process.terminate()
        process.wait(30)


def reachable(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


async def fire(url: str) -> None:
    alert = {"labels": {"alertname": "Bell", "severity": "critical"}, "annotations": {"summary": "ding"}}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/api/v2/alerts", json=[alert]) as answer:
        assert answer.status == 200, await answer.text()


@pytest.mark.parametrize("way", ["user", "token", "token beside users", "certificate", "certificate and user"])
async def test_alertmanager_delivers_over_tls_with(way: str, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    pair, client = authority.issue("server"), authority.issue("client", names=["alertmanager"], client=True)
    (tmp_path / "token").write_text("t0ken-of-the-test\n")
    web = tmp_path / "web.yml"
    text = f"tls_server_config:\n  cert_file: {pair.cert}\n  key_file: {pair.key}\n"
    if "certificate" in way:
        text += f"  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {authority.cert}\n"
    if "user" in way:
        text += write_users(web, shop="right").read_text()
    web.write_text(text)
    config = ROUTING.format(
        port="{port}",
        ca=authority.cert,
        certificate=f", cert_file: {client.cert}, key_file: {client.key}" if "certificate" in way else "",
        authorization=TOKEN.format(file=tmp_path / "token") if "token" in way
        else USERS.format(password="right") if "user" in way else "",
    )  # fmt: skip
    more = "webhook: {bearer_token_file: token}\n" if "token" in way else ""
    async with (
        sandbox() as coc,
        adapter(write_config(tmp_path, coc.port, more), f"--web.config.file={web}") as service,
        alertmanager(tmp_path, config.replace("{port}", str(service.port))) as url,
    ):
        await fire(url)
        (alarm,) = await coc.received(1)
        assert alarm["alarmName"] == "Bell"
        assert alarm["alarmStatus"] == "alarm"


async def test_a_wrong_password_is_refused_and_alertmanager_logs_it(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    pair = authority.issue("server")
    web = write_users(tmp_path / "web.yml", shop="right")
    with web.open("a") as file:
        file.write(f"tls_server_config:\n  cert_file: {pair.cert}\n  key_file: {pair.key}\n")
    config = ROUTING.format(
        port="{port}", ca=authority.cert, certificate="", authorization=USERS.format(password="wrong-canary")
    )
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port), f"--web.config.file={web}") as service:
        async with alertmanager(tmp_path, config.replace("{port}", str(service.port))) as url:
            await fire(url)
            await until(lambda: "msg=refused reason=wrong status=401" in service.log_text, "a refusal in the log")
            log = tmp_path / "alertmanager.log"
            await until(lambda: "401" in log.read_text(), "a 401 in Alertmanager's log")
        assert coc.bodies == []
        assert "wrong-canary" not in service.log_text
