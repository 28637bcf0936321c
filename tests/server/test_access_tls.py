"""TLS of a listener: client certificates, versions, and files that change while it runs."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop

from adapter.errors import ConfigError
from tests.server.servers import an_access, serving
from tests.tls import Authority, Pair


def a_config(folder: Path, pair: Pair, **settings: Any) -> Path:
    lines = [f"  cert_file: {pair.cert.name}", f"  key_file: {pair.key.name}"]
    lines += [f"  {name}: {value}" for name, value in settings.items()]
    path = folder / "web.yml"
    path.write_text("\n".join(["tls_server_config:", *lines, ""]))
    return path


async def get(port: int, context: ssl.SSLContext, path: str = "/-/healthy") -> int:
    """The status; aiohttp.ClientError or ConnectionError when there is no answer."""
    connector = aiohttp.TCPConnector(ssl=context, force_close=True)
    url = f"https://127.0.0.1:{port}{path}"
    async with aiohttp.ClientSession(connector=connector) as client, client.get(url) as answer:
        return answer.status


async def refused(port: int, context: ssl.SSLContext) -> bool:
    try:
        await get(port, context)
    except (aiohttp.ClientError, ConnectionError):
        return True
    return False


def peer_serial(port: int, context: ssl.SSLContext) -> Any:
    """Blocking: the serial number the server shows to a new connection."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
        return (secured.getpeercert() or {})["serialNumber"]


async def test_only_a_client_with_the_right_certificate_is_answered(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    other = Authority.make(tmp_path, "other")
    path = a_config(
        tmp_path, authority.issue("server"), client_auth_type="RequireAndVerifyClientCert", client_ca_file="ca.crt"
    )
    access = an_access(path)
    assert access.authenticated
    async with serving(access) as listener:
        right = authority.issue("client", names=["alertmanager"], client=True)
        assert await get(listener.port, authority.trusting(right)) == 200
        assert await refused(listener.port, authority.trusting())
        assert await refused(listener.port, authority.trusting(other.issue("wrong-ca", client=True)))
        assert await refused(listener.port, authority.trusting(authority.issue("late", client=True, expired=True)))
        assert await refused(listener.port, authority.trusting(authority.issue("no-client")))


async def test_a_certificate_may_be_left_out_but_not_be_wrong(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    other = Authority.make(tmp_path, "other")
    path = a_config(
        tmp_path, authority.issue("server"), client_auth_type="VerifyClientCertIfGiven", client_ca_file="ca.crt"
    )
    access = an_access(path)
    assert not access.authenticated
    async with serving(access) as listener:
        assert await get(listener.port, authority.trusting()) == 200
        assert await get(listener.port, authority.trusting(authority.issue("client", client=True))) == 200
        assert await refused(listener.port, authority.trusting(other.issue("wrong-ca", client=True)))


async def test_a_server_shows_the_new_certificate_without_a_restart(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    pair, renewed = authority.issue("server"), authority.issue("renewed")
    context = authority.trusting()
    access = an_access(a_config(tmp_path, pair))
    async with serving(access) as listener, aiohttp.ClientSession() as client:
        url = f"https://127.0.0.1:{listener.port}/-/healthy"
        async with client.get(url, ssl=context) as answer:
            assert answer.status == 200
        first = await asyncio.to_thread(peer_serial, listener.port, context)
        shutil.copy(renewed.key, pair.key)
        with pytest.raises(ConfigError, match="is not the key of this certificate"):
            access.refresh()  # the moment between the two files: the old pair goes on
        assert await asyncio.to_thread(peer_serial, listener.port, context) == first
        shutil.copy(renewed.cert, pair.cert)
        assert access.refresh()
        assert await asyncio.to_thread(peer_serial, listener.port, context) != first
        async with client.get(url, ssl=context) as answer:  # the old connection is still open
            assert answer.status == 200
    assert not access.refresh()


async def test_a_new_client_authority_counts_at_once(tmp_path: Path) -> None:
    authority, other = Authority.make(tmp_path), Authority.make(tmp_path, "other")
    trusted = tmp_path / "clients.crt"
    shutil.copy(authority.cert, trusted)
    path = a_config(
        tmp_path, authority.issue("server"), client_auth_type="RequireAndVerifyClientCert", client_ca_file="clients.crt"
    )
    access = an_access(path)
    async with serving(access) as listener:
        old = authority.trusting(authority.issue("old", client=True))
        new = authority.trusting(other.issue("new", client=True))
        assert (await refused(listener.port, old), await refused(listener.port, new)) == (False, True)
        shutil.copy(other.cert, trusted)
        access.refresh()
        assert (await refused(listener.port, old), await refused(listener.port, new)) == (True, False)


def test_rotation_works_under_uvloop_too(tmp_path: Path) -> None:
    async def story() -> None:
        authority = Authority.make(tmp_path)
        pair, renewed = authority.issue("server"), authority.issue("renewed")
        path = a_config(tmp_path, pair, client_auth_type="RequireAndVerifyClientCert", client_ca_file="ca.crt")
        right = authority.trusting(authority.issue("client", names=["alertmanager"], client=True))
        access = an_access(path)
        async with serving(access, max_connections=3) as listener:
            stuck = [await asyncio.open_connection("127.0.0.1", listener.port) for _ in range(3)]
            assert await get(listener.port, right) == 200
            assert await refused(listener.port, authority.trusting())
            first = await asyncio.to_thread(peer_serial, listener.port, right)
            pair.replace_with(renewed)
            access.refresh()
            assert await asyncio.to_thread(peer_serial, listener.port, right) != first
            for _, writer in stuck:
                writer.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(story())


async def test_versions_outside_the_bounds_are_not_spoken(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    async with serving(an_access(a_config(tmp_path, authority.issue("server"), min_version="TLS13"))) as listener:
        old = authority.trusting()
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        assert await refused(listener.port, old)
        assert await get(listener.port, authority.trusting()) == 200


def test_tls_cannot_be_switched_while_running(tmp_path: Path) -> None:
    path = a_config(tmp_path, Authority.make(tmp_path).issue("server"))
    access = an_access(path)
    path.write_text("")
    with pytest.raises(ConfigError, match="TLS cannot be switched on or off while running"):
        access.refresh()
    assert access.ssl_context() is not None
    access = an_access(path)
    a_config(tmp_path, Pair(tmp_path / "server.crt", tmp_path / "server.key"))
    with pytest.raises(ConfigError, match="TLS cannot be switched on or off while running"):
        access.refresh()
