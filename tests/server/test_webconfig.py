"""exporter-toolkit's web config file: what is accepted, what is refused, and where the finding stands."""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.errors import ConfigError
from adapter.server.webconfig import CIPHERS, WebConfig, load_web_config
from tests.server.servers import hashed
from tests.tls import Authority

HASH = "$2y$10$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG"  # htpasswd's form


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    authority = Authority.make(tmp_path)
    authority.issue("server")
    authority.issue("other")
    (tmp_path / "empty.crt").write_text("")
    (tmp_path / "text.crt").write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    return tmp_path


def load(folder: Path, text: str) -> WebConfig:
    path = folder / "web.yml"
    path.write_text(text)
    return load_web_config(path)


def findings(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return [str(finding).removeprefix(f"{folder}/") for finding in caught.value.findings]


TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"


@pytest.mark.parametrize(
    "text",
    ["", "{}", "tls_server_config:\n", "tls_server_config: {}", "basic_auth_users: {}\n", "http_server_config:\n"],
)
def test_nothing_configured_is_fine(folder: Path, text: str) -> None:
    config = load(folder, text)
    assert (config.tls, config.headers, config.users, config.authenticates) == (None, {}, {}, False)


def test_a_full_file_is_read(folder: Path) -> None:
    config = load(
        folder,
        TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"
        "  min_version: TLS13\n  cipher_suites: [TLS_AES_128_GCM_SHA256]\n"
        "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n"
        f"basic_auth_users:\n  alice: {HASH}\n  1: {HASH}\n",
    )
    assert config.tls is not None
    assert (config.tls.verify_mode, config.tls.minimum_version) == (ssl.CERT_REQUIRED, ssl.TLSVersion.TLSv1_3)
    assert config.authenticates
    assert config.headers == {"X-Frame-Options": "deny"}
    assert config.users == {b"alice": HASH.encode(), b"1": HASH.encode()}


@pytest.mark.parametrize("suite", CIPHERS)
def test_every_cipher_suite_can_be_chosen(folder: Path, suite: str) -> None:
    tls = load(folder, TLS + f"  cipher_suites: [{suite}]").tls
    assert tls is not None
    offered = {cipher["name"] for cipher in tls.get_ciphers() if not cipher["name"].startswith("TLS_")}
    assert offered == {CIPHERS[suite]} if CIPHERS[suite] else tls.minimum_version == ssl.TLSVersion.TLSv1_3


NOT_SUPPORTED = (
    "cert", "key", "client_ca", "client_allowed_sans", "max_version", "prefer_server_cipher_suites",
    "curve_preferences",
)  # fmt: skip


@pytest.mark.parametrize("setting", NOT_SUPPORTED)
def test_a_tls_setting_that_is_not_supported_is_refused_by_name(folder: Path, setting: str) -> None:
    hint = "SECURITY.md lists the settings that are"
    assert findings(folder, TLS + f"  {setting}: x") == [f"web.yml:4:3: {setting} is not supported ({hint})"]


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("tls_server_conf: {}",
         "web.yml:1:1: unknown key 'tls_server_conf' in the web config (did you mean 'tls_server_config'?)"),
        ("- a", "web.yml:1:1: the web config must be a mapping of tls_server_config, http_server_config, "),
        ("a: [", "web.yml:1:5: not YAML: expected the node content, but found '<stream end>'"),
        ("basic_auth_users: {a: x, a: y}", "web.yml:1:26: duplicate key 'a' (it stands in line 1 already)"),
        ("rate_limit: {interval: 1s, burst: 1}", "web.yml:1:1: rate_limit is not supported"),
        (TLS + "  cert_fil: x",
         "web.yml:4:3: unknown key 'cert_fil' in tls_server_config (did you mean 'cert_file'?)"),
        ("tls_server_config: {cert_file: server.crt}",
         "web.yml:1:20: key_file is required (TLS needs cert_file and key_file)"),
        ("tls_server_config: {client_auth_type: NoClientCert}",
         "web.yml:1:20: cert_file is required (TLS needs cert_file and key_file)"),
        (TLS.replace("server.crt", "none.crt"), "web.yml:2:14: cert_file cannot be read: No such file or directory"),
        (TLS.replace("server.crt", "''"), "web.yml:2:14: cert_file must be the path of a file"),
        (TLS.replace("server.crt", "7"), "web.yml:2:14: cert_file must be the path of a file"),
        (TLS.replace("server.crt", "empty.crt"), "web.yml:2:14: cert_file holds no certificate in PEM form"),
        (TLS.replace("server.crt", "text.crt"), "web.yml:2:14: cert_file cannot be used: "),
        (TLS.replace("server.key", "server.crt"), "web.yml:3:13: key_file cannot be used: "),
        (TLS.replace("server.key", "other.key"), "web.yml:3:13: key_file is not the key of this certificate"),
        (TLS + "  client_auth_type: RequireAnyClientCert",
         "web.yml:4:21: 'RequireAnyClientCert' is not supported (did you mean 'RequireAndVerifyClientCert'?)"),
        (TLS + "  client_auth_type: Maybe", "web.yml:4:21: 'Maybe' is not supported (known are NoClientCert, "),
        (TLS + "  client_auth_type: RequireAndVerifyClientCert",
         "web.yml:4:21: RequireAndVerifyClientCert needs the authority that signs the clients (add client_ca_file)"),
        (TLS + "  client_ca_file: ca.crt",
         "web.yml:4:19: client_ca_file has no effect (set client_auth_type: RequireAndVerifyClientCert)"),
        (TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: empty.crt",
         "web.yml:5:19: client_ca_file holds no certificate in PEM form"),
        (TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: text.crt",
         "web.yml:5:19: client_ca_file holds a certificate that cannot be used: "),
        (TLS + "  min_version: TLS10", "web.yml:4:16: 'TLS10' is not supported (did you mean 'TLS1"),
        (TLS + "  min_version: tls12", "web.yml:4:16: 'tls12' is not supported (did you mean 'TLS12'?)"),
        (TLS + "  cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]",
         "web.yml:4:19: 'TLS_RSA_WITH_AES_128_CBC_SHA' is not supported (did you mean "),
        (TLS + "  cipher_suites: all", "web.yml:4:18: cipher_suites must be a list, not text"),
        ("http_server_config: {headers: {X-Powered-By: x}}",
         "web.yml:1:32: unknown key 'X-Powered-By' in headers (known are Content-Security-Policy, "),
        ("http_server_config: {headers: {X-Frame-Options: allow}}",
         "web.yml:1:49: X-Frame-Options must be 'deny' or 'sameorigin'"),
        ("http_server_config: {headers: {X-Content-Type-Options: sniff}}",
         "web.yml:1:56: X-Content-Type-Options must be 'nosniff'"),
        ('http_server_config: {headers: {X-XSS-Protection: "a\\r\\nSet-Cookie: b"}}',
         "web.yml:1:50: must be one line of printable text"),
        ("http_server_config: {http2: 2}", "web.yml:1:29: http2 must be true or false, not a number"),
        ("basic_auth_users: {a: 1}", "web.yml:1:23: a must be text, not a number"),
        (f"basic_auth_users: {{'a:b': '{HASH}'}}", "web.yml:1:20: a user name is not empty and holds no colon"),
        (f"basic_auth_users: {{a: '{HASH.replace('$10$', '$03$')}'}}", "web.yml:1:23: not a bcrypt hash of cost 4"),
    ],
)  # fmt: skip
def test_a_mistake_is_a_finding_at_its_place(folder: Path, text: str, finding: str) -> None:
    found = findings(folder, text)
    assert any(each.startswith(finding) for each in found), found


def test_every_mistake_is_found_at_once(folder: Path) -> None:
    found = findings(folder, TLS + "  min_version: x\nhttp_server_config: {http2: 2}\nbasic_auth_users: {a: b}\nz: 1\n")
    assert [each.split(":")[1] for each in found] == ["4", "5", "6", "7"]


def test_a_password_written_where_a_hash_belongs_is_not_repeated(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(folder, "basic_auth_users:\n  alice: hunter2-plain\n")
    (finding,) = caught.value.findings
    assert (finding.line, finding.col) == (2, 10)
    assert "hunter2" not in finding.with_caret() + repr(finding) + str(caught.value)


def test_a_key_written_inline_is_not_repeated(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(folder, "tls_server_config:\n  cert_file: server.crt\n  key: canary-key\n")
    assert all("canary" not in finding.with_caret() for finding in caught.value.findings)


@pytest.mark.parametrize("version", ["2a", "2b", "2y"])
def test_each_spelling_of_bcrypt_is_known(folder: Path, version: str) -> None:
    load(folder, f"basic_auth_users: {{a: '{hashed('x').replace('2b', version)}'}}")


def test_an_authority_file_may_hold_comments_in_any_language(folder: Path) -> None:
    (folder / "ca.crt").write_bytes("# Prüfstelle 证书\n".encode() + (folder / "ca.crt").read_bytes())
    load(folder, TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n")


def test_an_encrypted_key_is_a_finding_and_no_question_on_the_terminal(folder: Path) -> None:
    key = serialization.load_pem_private_key((folder / "server.key").read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"passphrase")
    (folder / "server.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    )
    assert findings(folder, TLS) == ["web.yml:3:13: key_file is encrypted; the adapter has no passphrase for it"]


def test_a_change_of_any_file_is_noticed(folder: Path) -> None:
    text = TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"
    for name in ("web.yml", "server.crt", "server.key", "ca.crt"):
        config = load(folder, text)
        assert config.is_current()
        (folder / name).write_bytes((folder / name).read_bytes() + b"\n")
        assert not config.is_current()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(
    data=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda children: st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["tls_server_config", "cert", "cert_file", "key_file", "client_ca_file", "client_auth_type",
                 "cipher_suites", "min_version", "http_server_config", "headers", "http2", "basic_auth_users",
                 "rate_limit", "x"]
            ),
            children, max_size=4,
        ),
        max_leaves=12,
    )
)  # fmt: skip
def test_any_yaml_is_a_config_or_findings(folder: Path, data: object) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(load(folder, yaml.safe_dump(data)), WebConfig)
