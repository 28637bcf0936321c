"""Access rules: every class of path against every state of credentials, and what else a listener refuses."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from pathlib import Path

import aiohttp
import pytest
from aiohttp import encode_basic_auth
from aiohttp.test_utils import TestClient, TestServer

from adapter.clock import SystemClock
from adapter.errors import ConfigError
from adapter.secret import Secret
from adapter.server.access import QUICK_REFUSALS, REFUSALS, SLOW_SECONDS, Access
from tests.server.servers import an_access, an_app, hashed, serving, write_users
from tests.tls import Authority

GOOD = {"Authorization": encode_basic_auth("shop", "right")}
CREDENTIALS = {
    "none": {},
    "right user": GOOD,
    "wrong password": {"Authorization": encode_basic_auth("shop", "wrong")},
    "unknown user": {"Authorization": encode_basic_auth("nobody", "right")},
    "right token": {"Authorization": "Bearer t0ken"},
    "right token, scheme in small letters": {"Authorization": "bearer t0ken"},
    "wrong token": {"Authorization": "Bearer t0ke"},
    "token as password": {"Authorization": encode_basic_auth("", "t0ken")},
    "other scheme": {"Authorization": "Digest abc"},
    "not base64": {"Authorization": "Basic !!!"},
    "not ASCII": {"Authorization": "Basic \xe9"},
    "no colon": {"Authorization": "Basic " + base64.b64encode(b"shopright").decode()},
    "empty": {"Authorization": ""},
    "scheme alone": {"Authorization": "Basic"},
}
USER = {"right user"}
TOKEN = {"right token", "right token, scheme in small letters"}
EVERYBODY = set(CREDENTIALS)
# configured -> path -> whose requests are answered
MATRIX = {
    "nothing": {"/-/healthy": EVERYBODY, "/metrics": EVERYBODY, "/webhook": EVERYBODY, "/webhook/x": EVERYBODY},
    "users": {"/-/healthy": EVERYBODY, "/metrics": USER, "/webhook": USER, "/webhook/x": USER},
    "token": {"/-/healthy": EVERYBODY, "/metrics": EVERYBODY, "/webhook": TOKEN, "/webhook/x": TOKEN},
    "both": {"/-/healthy": EVERYBODY, "/metrics": USER, "/webhook": USER | TOKEN, "/webhook/x": USER | TOKEN},
}


@pytest.mark.parametrize("configured", MATRIX)
async def test_each_path_answers_exactly_those_it_should(configured: str, tmp_path: Path) -> None:
    users = write_users(tmp_path / "web.yml", shop="right") if configured in ("users", "both") else None
    access = an_access(users, bearer="t0ken" if configured in ("token", "both") else None)
    async with TestClient(TestServer(an_app(access))) as client:
        for path, allowed in MATRIX[configured].items():
            for name, headers in CREDENTIALS.items():
                answer = await client.post(path, headers=headers, data=b"{}")
                expected = 200 if name in allowed else 401
                assert (path, name, answer.status) == (path, name, expected)


async def test_a_401_names_the_schemes_and_nothing_else(tmp_path: Path) -> None:
    access = an_access(write_users(tmp_path / "web.yml", shop="right"), bearer="t0ken")
    async with TestClient(TestServer(an_app(access))) as client:
        webhook = await client.post("/webhook")
        assert webhook.headers.getall("WWW-Authenticate") == [
            'Basic realm="coc-adapter", charset="UTF-8"',
            'Bearer realm="coc-adapter"',
        ]
        answers = set()
        for name in CREDENTIALS.keys() - USER - TOKEN:
            answer = await client.post("/metrics", headers=CREDENTIALS[name])
            assert answer.headers.getall("WWW-Authenticate") == ['Basic realm="coc-adapter", charset="UTF-8"']
            answers.add(await answer.text())
        assert answers == {"credentials are missing or wrong\n"}


async def test_two_authorization_headers_are_refused(tmp_path: Path) -> None:
    access = an_access(write_users(tmp_path / "web.yml", shop="right"))
    async with TestClient(TestServer(an_app(access))) as client:
        headers = [("Authorization", "Basic x"), ("Authorization", GOOD["Authorization"])]
        assert (await client.get("/metrics", headers=headers)).status == 401


async def test_unknown_paths_ask_for_credentials_before_they_say_so(tmp_path: Path) -> None:
    access = an_access(write_users(tmp_path / "web.yml", shop="right"))
    async with TestClient(TestServer(an_app(access))) as client:
        assert (await client.get("/nowhere")).status == 401
        assert (await client.get("/nowhere", headers=GOOD)).status == 404
        assert (await client.get("/-/healthy/../metrics")).status == 401
        assert (await client.get("/-%2Fhealthy")).status == 401


async def test_passwords_beyond_72_bytes_and_odd_ones_are_answered(tmp_path: Path) -> None:
    long = "p" * 72
    access = an_access(write_users(tmp_path / "web.yml", shop=long, empty="", ünï="pässwörd"))
    async with TestClient(TestServer(an_app(access))) as client:

        async def status(user: str, password: str) -> int:
            auth = base64.b64encode(f"{user}:{password}".encode()).decode()
            return (await client.get("/metrics", headers={"Authorization": f"Basic {auth}"})).status

        assert await status("shop", long) == 200
        assert await status("shop", long + "ignored by bcrypt, as in Go") == 200
        assert await status("shop", "p" * 71) == 401
        assert await status("shop", "p\0p") == 401
        assert await status("shop", "with:colon") == 401
        assert await status("empty", "") == 200
        assert await status("ünï", "pässwörd") == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 200, id="curl"),
        pytest.param({"Sec-Fetch-Site": "same-origin"}, 200, id="own page"),
        pytest.param({"Sec-Fetch-Site": "none"}, 200, id="typed by the user"),
        pytest.param({"Sec-Fetch-Site": "cross-site"}, 403, id="other site"),
        pytest.param({"Sec-Fetch-Site": "same-site"}, 403, id="sister site"),
        pytest.param({"Origin": "http://{host}"}, 200, id="own origin"),
        pytest.param({"Origin": "https://evil.example"}, 403, id="other origin"),
        pytest.param({"Origin": "null"}, 403, id="hidden origin"),
        pytest.param({"Origin": "http://[::1"}, 403, id="broken origin"),
        pytest.param({"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, 403, id="contradiction"),
    ],
)
async def test_another_site_may_neither_ask_nor_change_anything_through_its_visitor(
    headers: dict[str, str], status: int, tmp_path: Path
) -> None:
    access = an_access()
    async with TestClient(TestServer(an_app(access, admin=True))) as client:
        sent = {name: value.format(host=f"{client.host}:{client.port}") for name, value in headers.items()}
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert (await client.request(method, "/api", headers=sent)).status == status
        for method in ("GET", "HEAD", "OPTIONS", "POST"):
            for path in ("/api/v1/alarms", "/%61pi/v1/alarms"):
                assert (await client.request(method, path, headers=sent)).status == status
        assert (await client.get("/page", headers=sent)).status == 200  # a link elsewhere may lead here
    async with TestClient(TestServer(an_app(access))) as client:
        sent = {name: value.format(host=f"{client.host}:{client.port}") for name, value in headers.items()}
        assert (await client.post("/webhook", headers=sent)).status == status
    for bearer in (None, "token"):  # a browser sends the password that its user has typed here from any page
        access = an_access(write_users(tmp_path / "web.yml", shop="right"), bearer=bearer)
        async with TestClient(TestServer(an_app(access))) as client:
            sent = {name: value.format(host=f"{client.host}:{client.port}") for name, value in headers.items()}
            password = {"Authorization": encode_basic_auth("shop", "right")}
            assert (await client.post("/webhook", headers=sent | password)).status == status
    async with TestClient(TestServer(an_app(an_access(bearer="token")))) as client:
        sent = {name: value.format(host=f"{client.host}:{client.port}") for name, value in headers.items()}
        credentials = {"Authorization": "Bearer token"}
        assert (await client.post("/webhook", headers=sent | credentials)).status == 200, "no page has these"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9877", 200), ("127.0.0.1", 200), ("[::1]:9877", 200), ("10.1.2.3:9877", 200),
        ("evil.example:9877", 421), ("localhost.evil.example", 421), ("[", 421), ("adapter.example:9877", 200),
    ],
)  # fmt: skip
async def test_a_name_that_was_made_to_point_at_loopback_gets_nothing_from_the_admin_listener(
    host: str, status: int, tmp_path: Path
) -> None:
    access = an_access(external_host="adapter.example")
    async with TestClient(TestServer(an_app(access, admin=True))) as client:
        assert (await client.get("/api", headers={"Host": host})).status == status
        assert (await client.get("/-/healthy", headers={"Host": host})).status == 200
    guarded = an_access(write_users(tmp_path / "web.yml", shop="right"))
    async with TestClient(TestServer(an_app(guarded, admin=True))) as client:
        answer = await client.get(
            "/api", headers={"Host": host if status == 421 and host != "[" else "x.example", **GOOD}
        )
        assert answer.status == 200  # a page that rebinds its name has no credentials


async def test_answers_carry_hardening_headers_and_no_banner(tmp_path: Path) -> None:
    access = an_access()
    async with serving(access) as listener, aiohttp.ClientSession(f"http://127.0.0.1:{listener.port}") as client:
        for path, status in (
            ("/page", 200),
            ("/metrics", 200),
            ("/nowhere", 404),
            ("/post-only", 405),
            ("/fails", 500),
        ):
            async with client.get(path) as answer:
                assert (path, answer.status) == (path, status)
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert "Server" not in answer.headers
                assert ("Content-Security-Policy" in answer.headers) == (path == "/page")
                assert "Cache-Control" not in answer.headers
                assert ("Allow" in answer.headers) == (status == 405)
    access = an_access()
    async with serving(access, admin=True) as listener, aiohttp.ClientSession() as client:
        for path in ("/page", "/nowhere"):
            async with client.get(f"http://127.0.0.1:{listener.port}{path}") as answer:
                assert answer.headers["Cache-Control"] == "no-store"


async def test_configured_headers_win(tmp_path: Path) -> None:
    (tmp_path / "web.yml").write_text(
        "http_server_config:\n  headers:\n    Content-Security-Policy: default-src 'self'\n"
        "    Strict-Transport-Security: max-age=63072000\n    X-Frame-Options: sameorigin\n    X-XSS-Protection:\n"
    )
    access = an_access(tmp_path / "web.yml")
    async with TestClient(TestServer(an_app(access))) as client:
        for path in ("/page", "/metrics", "/nowhere", "/-/healthy"):
            answer = await client.get(path)
            assert answer.headers["Content-Security-Policy"] == "default-src 'self'"
            assert answer.headers["Strict-Transport-Security"] == "max-age=63072000"
            assert answer.headers["X-Frame-Options"] == "sameorigin"
            assert "X-XSS-Protection" not in answer.headers


async def test_a_bug_shows_no_detail_to_the_client_and_all_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    access = an_access()
    async with TestClient(TestServer(an_app(access))) as client:
        for _ in range(20):
            answer = await client.get("/fails")
            assert (answer.status, await answer.text()) == (500, "internal error, see the adapter's log\n")
    assert caplog.text.count("RuntimeError: a secret detail") == 1  # the others of the minute are only counted


async def test_a_body_that_cannot_be_read_is_a_400_and_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    access = an_access()
    async with TestClient(TestServer(an_app(access))) as client:
        answer = await client.post("/api", data=b"not gzip", headers={"Content-Encoding": "gzip"})
        assert answer.status == 400
    assert "bug in the adapter" not in caplog.text


async def test_a_flood_of_guesses_is_answered_503_while_a_known_user_is_served(tmp_path: Path) -> None:
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{shop: '{hashed('right', 9)}'}}\n")
    refusals: list[str] = []
    access = an_access(tmp_path / "web.yml", refusals=refusals)
    connector = aiohttp.TCPConnector(limit=0)
    async with serving(access) as listener, aiohttp.ClientSession(connector=connector) as client:
        url = f"http://127.0.0.1:{listener.port}/metrics"

        async def status(password: str) -> int:
            headers = {"Authorization": encode_basic_auth("shop", password)}
            async with client.get(url, headers=headers) as answer:
                return answer.status

        assert await status("right") == 200
        *guessed, known = await asyncio.gather(*(status(f"guess{number}") for number in range(200)), status("right"))
        assert known == 200
        assert set(guessed) == {401, 503}
        assert refusals.count("busy") == guessed.count(503)


async def test_a_source_that_is_refused_again_and_again_is_answered_slowly_while_its_known_user_is_not(
    tmp_path: Path,
) -> None:
    access = an_access(write_users(tmp_path / "web.yml", shop="right"))
    connector = aiohttp.TCPConnector(limit=0)
    async with serving(access) as listener, aiohttp.ClientSession(connector=connector) as client:
        url = f"http://127.0.0.1:{listener.port}/metrics"

        async def seconds(password: str | None) -> float:
            headers = {"Authorization": encode_basic_auth("shop", password)} if password else {}
            began = time.monotonic()
            async with client.get(url, headers=headers) as answer:
                assert answer.status == (200 if password == "right" else 401)
            return time.monotonic() - began

        assert max([await seconds(password) for password in (None, "right", "wrong")]) < SLOW_SECONDS
        refused = asyncio.gather(*(seconds(None) for _ in range(3 * QUICK_REFUSALS)))
        assert await seconds("right") < SLOW_SECONDS
        slow = [taken for taken in await refused if taken >= SLOW_SECONDS]
        assert len(slow) >= QUICK_REFUSALS  # two seconds of the clock may have begun meanwhile


async def test_refusals_are_counted_each_and_logged_once_a_minute_without_what_was_sent(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refusals: list[str] = []
    access = an_access(write_users(tmp_path / "web.yml", shop="right"), bearer="t0ken", refusals=refusals)
    with caplog.at_level(logging.DEBUG, "adapter"):
        async with TestClient(TestServer(an_app(access))) as client:
            for password in range(20):
                auth = encode_basic_auth("canary-user", f"canary-{password}")
                await client.post("/webhook", headers={"Authorization": auth})
            await client.post("/webhook", headers={"Authorization": "Bearer canary-token"})
            await client.post("/webhook")
            await client.post("/webhook", headers={"Authorization": "Canary x"})
    assert refusals == ["wrong"] * 21 + ["absent", "malformed"]
    assert set(refusals) <= set(REFUSALS)
    lines = [record for record in caplog.records if record.name == "adapter.server.access"]
    assert len(lines) == 1
    fields = lines[0].event_fields  # type: ignore[attr-defined]
    assert fields == {"reason": "wrong", "status": 401, "source": "127.0.0.1", "silent": 0}
    assert "canary" not in caplog.text + repr(fields)


async def test_users_are_exchanged_without_a_restart_and_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    path = write_users(tmp_path / "web.yml", shop="right")
    access = an_access(path)
    async with TestClient(TestServer(an_app(access))) as client:
        assert not access.refresh()
        assert (await client.get("/metrics", headers=GOOD)).status == 200
        path.write_text("basic_auth_users:\n  shop: right\n")
        with pytest.raises(ConfigError, match="not a bcrypt hash"):
            access.refresh()
        assert (await client.get("/metrics", headers=GOOD)).status == 200
        write_users(path, shop="new")
        assert access.refresh()
        assert (await client.get("/metrics", headers=GOOD)).status == 401
        auth = {"Authorization": encode_basic_auth("shop", "new")}
        assert (await client.get("/metrics", headers=auth)).status == 200


def test_a_refresh_of_unchanged_files_costs_next_to_nothing(tmp_path: Path) -> None:
    access = an_access(write_users(tmp_path / "web.yml", **{f"user{number}": "right" for number in range(20)}))
    started = time.process_time()
    for _ in range(200):
        assert not access.refresh()
    assert time.process_time() - started < 2.0  # reading them again would try 4000 bcrypt hashes


def test_a_broken_file_is_reported_until_it_is_repaired_even_by_another_file(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    pair = authority.issue("server")
    path = tmp_path / "web.yml"
    good = f"tls_server_config:\n  cert_file: {pair.cert}\n  key_file: {pair.key}\n"
    path.write_text(good)
    access = an_access(path)
    path.write_text(good + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: later.crt\n")
    for _ in range(2):
        with pytest.raises(ConfigError, match="client_ca_file cannot be read"):
            access.refresh()
    (tmp_path / "later.crt").write_bytes(authority.cert.read_bytes())
    assert access.refresh()
    assert not access.refresh()
    assert access.authenticated


@pytest.mark.parametrize("emptied", ["", "basic_auth_users: {}\n", "http_server_config: {}\n"])
@pytest.mark.parametrize("bearer", [None, "t0ken"])
def test_credentials_cannot_vanish_while_running(tmp_path: Path, emptied: str, bearer: str | None) -> None:
    path = write_users(tmp_path / "web.yml", shop="right")
    access = an_access(path, bearer=bearer)
    path.write_text(emptied)
    with pytest.raises(ConfigError, match="credentials cannot be switched off while running"):
        access.refresh()
    assert access.authenticated


def test_credentials_may_be_added_while_running(tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text("")
    access = an_access(path)
    assert not access.authenticated
    write_users(path, shop="right")
    assert access.refresh()
    assert access.authenticated


async def test_the_token_is_exchanged_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("first\n")
    access = Access(None, bearer=Secret(path=path), clock=SystemClock())
    async with TestClient(TestServer(an_app(access))) as client:
        assert (await client.post("/webhook", headers={"Authorization": "Bearer first"})).status == 200
        path.write_text("second\n")
        assert access.refresh()
        assert not access.refresh()
        assert (await client.post("/webhook", headers={"Authorization": "Bearer first"})).status == 401
        assert (await client.post("/webhook", headers={"Authorization": "Bearer second"})).status == 200


def test_a_missing_or_broken_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        an_access(tmp_path / "none.yml")
    (tmp_path / "web.yml").write_text("basic_auth_user: {}\n")
    with pytest.raises(ConfigError, match="did you mean 'basic_auth_users'"):
        an_access(tmp_path / "web.yml")


def test_a_configured_password_hash_shows_in_no_repr(tmp_path: Path) -> None:
    secret = hashed("right")
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{shop: '{secret}'}}\n")
    access = an_access(tmp_path / "web.yml")
    assert secret not in repr(access) + repr(vars(access))
