"""TLS is always verified: a private authority, an expired certificate, a wrong name, a client certificate."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from adapter.coc.verdict import Action, Reason, Verdict
from tests.coc.servers import answer, answering, client_of, listening, scripted_server
from tests.tls import Authority, Pair

BODY = b'{"alarmId":"a"}'


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.make(tmp_path)


def serving(pair: Pair, clients: Authority | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.cert, pair.key)
    if clients is not None:
        context.load_verify_locations(clients.cert)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def verdict_of(context: ssl.SSLContext, host: str = "127.0.0.1", **changes: object) -> Verdict:
    async with (
        scripted_server(answering(answer()), context) as coc,
        client_of(f"https://{host}:{coc.port}", **changes) as client,
    ):
        verdict = await client.report(BODY)
    assert len(coc.requests) == (1 if verdict.reason is Reason.ACCEPTED else 0)
    return verdict


async def test_a_configured_private_authority_is_trusted(authority: Authority) -> None:
    context = serving(authority.issue("server"))
    assert (await verdict_of(context, ca_file=authority.cert)).reason is Reason.ACCEPTED
    assert (await verdict_of(context, host="localhost", ca_file=authority.cert)).reason is Reason.ACCEPTED


@pytest.mark.parametrize(
    ("case", "words"),
    [("unknown authority", "unable to get local issuer"), ("expired", "has expired"), ("wrong name", "mismatch")],
)
async def test_a_certificate_that_does_not_verify_is_transient_and_named(
    authority: Authority, tmp_path: Path, case: str, words: str
) -> None:
    pair = authority.issue(
        "server",
        expired=case == "expired",
        names=["elsewhere.example"] if case == "wrong name" else ["127.0.0.1"],
    )
    ca_file = None if case == "unknown authority" else authority.cert
    verdict = await verdict_of(serving(pair), ca_file=ca_file)
    assert (verdict.action, verdict.reason, verdict.ambiguous) == (Action.RETRY, Reason.TLS, False)
    assert words in verdict.message
    assert "tls_config" in verdict.hint


async def test_a_server_name_replaces_the_host(authority: Authority) -> None:
    context = serving(authority.issue("server", names=["coc.internal"]))
    good = await verdict_of(context, ca_file=authority.cert, server_name="coc.internal")
    bad = await verdict_of(context, ca_file=authority.cert, server_name="other.internal")
    assert (good.reason, bad.reason) == (Reason.ACCEPTED, Reason.TLS)


async def test_a_client_certificate_is_sent_where_the_server_requests_it(authority: Authority) -> None:
    context = serving(authority.issue("server"), clients=authority)
    pair = authority.issue("adapter", names=["adapter"], client=True)
    shown = await verdict_of(context, ca_file=authority.cert, cert_file=pair.cert, key_file=pair.key)
    assert shown.reason is Reason.ACCEPTED
    missing = await verdict_of(context, ca_file=authority.cert)
    # In TLS 1.3 the refusal comes after the handshake, and the server's reset may overtake its alert.
    assert missing.action is Action.RETRY
    assert missing.reason in (Reason.TLS, Reason.CONNECTION_LOST)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    missing = await verdict_of(context, ca_file=authority.cert)
    assert (missing.action, missing.reason, missing.ambiguous) == (Action.RETRY, Reason.TLS, False)


async def test_a_server_without_tls_under_an_https_url_is_a_tls_failure() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer(400))
        await writer.drain()
        writer.close()

    async with listening(plain) as port, client_of(f"https://127.0.0.1:{port}") as client:
        verdict = await client.report(BODY)
    assert (verdict.reason, verdict.ambiguous) == (Reason.TLS, False)


async def test_a_rotated_authority_is_used_and_a_broken_one_is_not(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    newer = Authority.make(tmp_path / "new")
    trusted = tmp_path / "trusted.crt"
    trusted.write_bytes(newer.cert.read_bytes())
    async with (
        scripted_server(answering(answer()), serving(authority.issue("server"))) as coc,
        client_of(f"https://127.0.0.1:{coc.port}", ca_file=trusted) as client,
    ):
        assert (await client.report(BODY)).reason is Reason.TLS
        assert client.refresh() is False
        trusted.write_bytes(authority.cert.read_bytes())
        assert client.refresh() is True
        assert (await client.report(BODY)).reason is Reason.ACCEPTED
        trusted.write_bytes(b"half a cert")
        assert client.refresh() is False
        assert (await client.report(BODY)).reason is Reason.ACCEPTED


async def test_a_client_that_could_not_start_starts_when_its_files_are_corrected(
    authority: Authority, tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted.crt"
    trusted.write_bytes(b"")
    async with (
        scripted_server(answering(answer()), serving(authority.issue("server"))) as coc,
        client_of(f"https://127.0.0.1:{coc.port}", ca_file=trusted) as client,
    ):
        first = await client.report(BODY)
        assert (first.action, first.reason) == (Action.PAUSE, Reason.ENDPOINT)
        assert client.refresh() is False
        trusted.write_bytes(authority.cert.read_bytes())
        assert client.refresh() is True
        assert (await client.report(BODY)).reason is Reason.ACCEPTED
