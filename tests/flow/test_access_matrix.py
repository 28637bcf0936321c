"""Every endpoint of the real service, on both listeners, against every state of credentials."""

from __future__ import annotations

import itertools
import json
import ssl
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest
from aiohttp import encode_basic_auth

from tests.server.servers import write_users
from tests.stage import Adapter, adapter, sample, sandbox, values, write_config
from tests.tls import Authority

TOKEN = "t0ken-of-the-test"
OPEN = [("GET", "/-/healthy"), ("GET", "/-/ready")]
WEBHOOKS = [("POST", "/webhook"), ("POST", "/webhook/default"), ("POST", "/webhook/unknown"), ("GET", "/webhook")]
PAGES = [("GET", "/"), ("GET", "/metrics"), ("GET", "/nowhere"), ("POST", "/-/reload")]

CREDENTIALS: Mapping[str, Mapping[str, str]] = {
    "none": {},
    "wrong password": {"Authorization": encode_basic_auth("shop", "wrong")},
    "unknown user": {"Authorization": encode_basic_auth("nobody", "right")},
    "right user": {"Authorization": encode_basic_auth("shop", "right")},
    "wrong token": {"Authorization": f"Bearer {TOKEN}x"},
    "right token": {"Authorization": f"Bearer {TOKEN}"},
}
USER, TOKEN_OR_USER, ANYBODY = {"right user"}, {"right user", "right token"}, set(CREDENTIALS)


async def admin_endpoints(session: aiohttp.ClientSession, url: str) -> list[tuple[str, str]]:
    """Every operation in the admin listener's OpenAPI document, with path parameters that match nothing."""
    headers = CREDENTIALS["right user"]
    async with session.get(f"{url}/api/v1/openapi.json", headers=headers) as answer:
        paths = json.loads(await answer.text())["paths"]
    operations = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    assert len(operations) > 8
    return [(method, path.replace("{", "no-").replace("}", "")) for method, path in operations]


async def ask(session: aiohttp.ClientSession, url: str, method: str, path: str, headers: Mapping[str, str]) -> int:
    """The status; 0 when there was no answer."""
    body = sample("single-firing") if method == "POST" else None
    try:
        async with session.request(method, url + path, data=body, headers=headers) as answer:
            await answer.read()
            if answer.status == 401:
                assert answer.headers.getall("WWW-Authenticate")
            assert "Server" not in answer.headers
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            return answer.status
    except (aiohttp.ClientError, ConnectionError):
        return 0


def secured(folder: Path, authority: Authority, *, users: bool, clients: bool) -> Path:
    """A web config file with TLS."""
    pair = authority.issue("server")
    path = folder / "web.yml"
    text = write_users(path, shop="right").read_text() if users else ""
    text += f"tls_server_config:\n  cert_file: {pair.cert}\n  key_file: {pair.key}\n"
    if clients:
        text += f"  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: {authority.cert}\n"
    path.write_text(text)
    return path


def https(port: int) -> str:
    return f"https://127.0.0.1:{port}"


async def test_an_expectation_goes_round_neither_credentials_nor_counters(tmp_path: Path) -> None:
    web = write_users(tmp_path / "web.yml", shop="right")
    async with sandbox() as coc, aiohttp.ClientSession() as session:
        async with adapter(write_config(tmp_path, coc.port), f"--web.config.file={web}") as service:
            for url, method, path in itertools.product(
                (service.url, service.admin_url), ("GET", "POST", "PUT"), ("/webhook", "/nowhere", "/metrics", "/")
            ):
                assert await ask(session, url, method, path, {"Expect": "<x>"}) == 401, (url, method, path)
            assert await ask(session, service.url, "POST", "/webhook", {"Expect": "<x>"}) == 401
            right = {**CREDENTIALS["right user"], "Expect": "<x>"}
            assert await ask(session, service.url, "POST", "/webhook", right) == 200
            async with session.get(f"{service.url}/metrics", headers=CREDENTIALS["right user"]) as answer:
                scrape = await answer.text()
        assert values(scrape, "coc_adapter_webhooks_total", code="401") == 7
        assert values(scrape, "coc_adapter_webhooks_total", code="200") == 1


async def test_users_and_token(tmp_path: Path) -> None:
    web = write_users(tmp_path / "web.yml", shop="right")
    (tmp_path / "token").write_text(TOKEN + "\n")
    async with sandbox() as coc, aiohttp.ClientSession() as session:
        config = write_config(tmp_path, coc.port, "webhook: {bearer_token_file: token}\n")
        async with adapter(config, f"--web.config.file={web}") as service:
            admin = await admin_endpoints(session, service.admin_url)
            expected = {
                service.url: [(OPEN, ANYBODY), (WEBHOOKS, TOKEN_OR_USER), (PAGES, USER)],
                service.admin_url: [(OPEN, ANYBODY), (WEBHOOKS, USER), (PAGES, USER), (admin, USER)],
            }
            await check(session, expected)
            assert "right" not in service.log_text.replace("copyright", "")
            assert TOKEN not in service.log_text


async def check(
    session: aiohttp.ClientSession, expected: Mapping[str, list[tuple[list[tuple[str, str]], set[str]]]]
) -> None:
    asked = 0
    for url, classes in expected.items():
        for endpoints, allowed in classes:
            for method, path in endpoints:
                for name, headers in CREDENTIALS.items():
                    status = await ask(session, url, method, path, headers)
                    verdict = (url, method, path, name, status)
                    assert (status not in (401, 403) and 0 < status < 500) == (name in allowed), verdict
                    assert name in allowed or status == 401, verdict
                    asked += 1
    assert asked > 80


async def test_a_token_alone_protects_the_webhooks_and_leaves_the_rest_to_loopback(tmp_path: Path) -> None:
    async with sandbox() as coc, aiohttp.ClientSession() as session:
        config = write_config(tmp_path, coc.port, f"webhook: {{bearer_token: {TOKEN}}}\n")
        async with adapter(config, "--web.listen-address=:0") as service:
            admin = await admin_endpoints(session, service.admin_url)
            expected = {
                service.url: [(OPEN, ANYBODY), (WEBHOOKS, {"right token"}), (PAGES, ANYBODY)],
                service.admin_url: [(OPEN, ANYBODY), (PAGES, ANYBODY), (admin, ANYBODY)],
            }
            await check(session, expected)


@pytest.mark.parametrize("users", [False, True], ids=["certificates alone", "certificates and users"])
async def test_client_certificates(tmp_path: Path, users: bool) -> None:
    authority, stranger = Authority.make(tmp_path), Authority.make(tmp_path, "stranger")
    contexts = {
        "none": authority.trusting(),
        "wrong authority": authority.trusting(stranger.issue("theirs", client=True)),
        "expired": authority.trusting(authority.issue("late", client=True, expired=True)),
        "for servers": authority.trusting(authority.issue("no-client")),
        "right": authority.trusting(authority.issue("client", names=["alertmanager"], client=True)),
    }
    web = secured(tmp_path, authority, users=users, clients=True)
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port), f"--web.config.file={web}") as service:
        for name, context in contexts.items():
            await check_certificate(service, name, context, users=users)


async def check_certificate(service: Adapter, name: str, context: ssl.SSLContext, *, users: bool) -> None:
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session:
        for port in (service.port, service.admin):
            for method, path in [*OPEN, *WEBHOOKS, *PAGES, ("GET", "/api/v1/status")]:
                for who in ("none", "wrong password", "right user"):
                    status = await ask(session, https(port), method, path, CREDENTIALS[who])
                    verdict = (name, port, method, path, who, status)
                    if name != "right":
                        assert status == 0, verdict
                    elif users and who != "right user" and (method, path) not in OPEN:
                        assert status == 401, verdict
                    else:
                        assert 0 < status < 500, verdict
                        assert status not in (401, 403), verdict


async def test_a_running_service_loads_a_new_certificate(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    web = secured(tmp_path, authority, users=False, clients=False)
    renewed = Authority.make(tmp_path, "renewed-ca")
    async with sandbox() as coc, adapter(write_config(tmp_path, coc.port), f"--web.config.file={web}") as service:
        old, new = authority.trusting(), renewed.trusting()
        assert (await met(service.port, old), await met(service.port, new)) == (True, False)
        pair, other = authority.issue("spare"), renewed.issue("renewed")
        assert pair.cert != other.cert
        (tmp_path / "server.key").write_bytes(other.key.read_bytes())
        (tmp_path / "server.crt").write_bytes(other.cert.read_bytes())
        async with aiohttp.ClientSession() as session:
            assert await ask_with(session, service.admin, old) == 200
        for port in (service.port, service.admin):
            assert (await met(port, old), await met(port, new)) == (False, True)


async def ask_with(session: aiohttp.ClientSession, port: int, context: ssl.SSLContext) -> int:
    async with session.post(f"{https(port)}/-/reload", ssl=context) as answer:
        return answer.status


async def met(port: int, context: ssl.SSLContext) -> bool:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        return await ask(session, https(port), "GET", "/-/healthy", {}) == 200


@pytest.mark.parametrize("flag", ["--web.listen-address=:0", "--web.admin-address=0.0.0.0:0"])
async def test_an_open_address_without_credentials_stops_the_start_with_one_line(tmp_path: Path, flag: str) -> None:
    config = write_config(tmp_path, 9)
    process = Adapter(config, [flag])
    try:
        assert process.process.wait(30) == 1
        (line,) = process.log_text.splitlines()
        assert "can be reached from other machines" in line
        assert "--web.allow-unauthenticated" in line
    finally:
        process.end()
    async with adapter(config, flag, "--web.allow-unauthenticated") as service:
        assert service.port


async def test_another_site_cannot_make_a_browser_ask_or_change_anything(tmp_path: Path) -> None:
    async with (
        sandbox() as coc,
        aiohttp.ClientSession() as session,
        adapter(write_config(tmp_path, coc.port)) as service,
    ):
        for method, path in [*await admin_endpoints(session, service.admin_url), ("POST", "/-/reload")]:
            for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
                assert await ask(session, service.admin_url, method, path, headers) == 403, (method, path, headers)
            rebound = await ask(session, service.admin_url, method, path, {"Host": "evil.example:9877"})
            assert rebound == 421, (method, path)
