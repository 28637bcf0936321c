"""exporter-toolkit's web config file: what is accepted, what is refused, and where the finding stands."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapter.errors import ConfigError
from adapter.server.webconfig import RateLimit, WebConfig, load_web_config
from tests.server.doors import hashed
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


@pytest.mark.parametrize("text", ["", "{}", "tls_server_config:\n", "basic_auth_users: {}\n", "http_server_config:\n"])
def test_nothing_configured_is_fine(folder: Path, text: str) -> None:
    config = load(folder, text)
    assert (config.tls, config.headers, config.users, config.rate_limit) == (None, {}, {}, None)


def test_a_full_file_is_read(folder: Path) -> None:
    config = load(
        folder,
        TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"
        "  client_allowed_sans: [alertmanager]\n  min_version: TLS13\n  max_version: TLS13\n"
        "  cipher_suites: [TLS_AES_128_GCM_SHA256]\n  prefer_server_cipher_suites: false\n"
        "  curve_preferences: [X25519]\n"
        "http_server_config:\n  http2: false\n  headers:\n    X-Frame-Options: deny\n"
        "rate_limit:\n  interval: 1m0.5s\n  burst: 10\n"
        f"basic_auth_users:\n  alice: {HASH}\n  1: {HASH}\n",
    )
    assert config.tls is not None
    assert (config.tls.client_auth, config.tls.allowed_sans) == ("required", {"alertmanager"})
    assert (config.tls.min_version, config.tls.curve, config.tls.prefer_server_ciphers) == ("TLS13", "X25519", False)
    assert config.headers == {"X-Frame-Options": "deny"}
    assert config.rate_limit == RateLimit(60.5, 10)
    assert config.users == {b"alice": HASH.encode(), b"1": HASH.encode()}


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("tls_server_conf: {}", "web.yml:1:1: unknown key 'tls_server_conf' (did you mean 'tls_server_config'?)"),
        ("- a", "web.yml:1:1: must be a mapping of names to values"),
        ("a: [", "web.yml:1:5: not YAML: expected the node content, but found '<stream end>'"),
        ("basic_auth_users: {a: x, a: y}", "web.yml:1:26: duplicate key 'a' (it stands in line 1 already)"),
        (TLS + "  cert_fil: x", "web.yml:4:3: unknown key 'cert_fil' (did you mean 'cert_file'?)"),
        ("tls_server_config: {cert_file: server.crt}",
         "web.yml:1:20: key_file is missing (TLS needs cert_file and key_file)"),
        ("tls_server_config: {client_auth_type: NoClientCert}",
         "web.yml:1:20: cert_file is missing (TLS needs cert_file and key_file)"),
        ("tls_server_config: {min_version: TLS13}",
         "web.yml:1:20: these settings have no effect without a certificate (add cert_file and key_file)"),
        (TLS.replace("server.crt", "none.crt"), "web.yml:2:14: none.crt cannot be read: No such file or directory"),
        (TLS.replace("server.crt", "empty.crt"), "web.yml:2:14: holds no certificate in PEM form"),
        (TLS.replace("server.crt", "text.crt"), "web.yml:2:14: cannot be used: "),
        (TLS.replace("server.key", "server.crt"), "web.yml:3:13: cannot be used: "),
        (TLS.replace("server.key", "other.key"), "web.yml:3:13: is not the key of this certificate"),
        (TLS + "  cert: x", "web.yml:4:9: cert and cert_file exclude each other (keep one of them)"),
        (TLS + "  client_auth_type: RequireAnyClientCert",
         "web.yml:4:21: RequireAnyClientCert takes certificates that nobody has verified"),
        (TLS + "  client_auth_type: RequestClientCert",
         "web.yml:4:21: RequestClientCert takes certificates that nobody has verified"),
        (TLS + "  client_auth_type: Maybe", "web.yml:4:21: 'Maybe' is not known here (known: NoClientCert, "),
        (TLS + "  client_auth_type: RequireAndVerifyClientCert",
         "web.yml:4:21: needs the authority that signs the clients (add client_ca_file)"),
        (TLS + "  client_ca_file: ca.crt",
         "web.yml:4:19: has no effect (set client_auth_type: RequireAndVerifyClientCert)"),
        (TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: empty.crt",
         "web.yml:5:19: holds no certificate in PEM form"),
        (TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: text.crt",
         "web.yml:5:19: holds a certificate that cannot be used: "),
        (TLS + "  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.crt\n  client_allowed_sans: [a]",
         "web.yml:6:24: has no effect unless every client shows a certificate"),
        (TLS + "  min_version: TLS10", "web.yml:4:16: TLS 1.0 and 1.1 are not spoken here (use TLS12 or TLS13)"),
        (TLS + "  min_version: tls12", "web.yml:4:16: 'tls12' is not known here (did you mean 'TLS12'?)"),
        (TLS + "  min_version: TLS13\n  max_version: TLS12", "web.yml:4:16: min_version is above max_version"),
        (TLS + "  cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]",
         "web.yml:4:19: 'TLS_RSA_WITH_AES_128_CBC_SHA' is not known here (did you mean "),
        (TLS + "  max_version: TLS12\n  cipher_suites: [TLS_AES_128_GCM_SHA256]",
         "web.yml:5:18: none of these suites exists in TLS 1.2"),
        (TLS + "  curve_preferences: [CurveP256, X25519]", "web.yml:4:22: only one curve can be chosen here"),
        (TLS + "  curve_preferences: [CurveP257]", "web.yml:4:23: 'CurveP257' is not known here (did you mean 'Curve"),
        (TLS + "  prefer_server_cipher_suites: maybe", "web.yml:4:32: must be true or false"),
        (TLS + "  cipher_suites: all", "web.yml:4:18: must be a list"),
        ("http_server_config: {headers: {X-Powered-By: x}}", "web.yml:1:32: unknown key 'X-Powered-By'"),
        ("http_server_config: {headers: {X-Frame-Options: allow}}", "web.yml:1:49: must be deny or sameorigin"),
        ("http_server_config: {headers: {X-Content-Type-Options: sniff}}", "web.yml:1:56: must be nosniff"),
        ('http_server_config: {headers: {X-XSS-Protection: "a\\r\\nSet-Cookie: b"}}',
         "web.yml:1:50: must be one line of printable text"),
        ("http_server_config: {http2: 2}", "web.yml:1:29: must be true or false"),
        ("basic_auth_users: {a: 1}", "web.yml:1:23: must be text"),
        (f"basic_auth_users: {{'a:b': '{HASH}'}}", "web.yml:1:20: a user name is not empty and holds no colon"),
        (f"basic_auth_users: {{a: '{HASH.replace('$10$', '$03$')}'}}", "web.yml:1:23: not a bcrypt hash of cost 4"),
        ("rate_limit: {interval: 1}", "web.yml:1:24: must be a duration (such as 1s, 500ms or 1m30s)"),
        ("rate_limit: {interval: 1d, burst: 1}", "web.yml:1:24: must be a duration"),
        ("rate_limit: {interval: 1s}", "web.yml:1:13: a burst of 0 would refuse every request"),
        ("rate_limit: {interval: 1s, burst: -1}", "web.yml:1:35: must be a whole number, 0 or more"),
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
    assert findings(folder, TLS) == ["web.yml:3:13: is encrypted; the adapter has no passphrase for it"]


def test_the_digest_follows_every_file(folder: Path) -> None:
    text = TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"
    before = load(folder, text).digest
    assert load(folder, text).digest == before
    assert load(folder, text + "# a comment\n").digest != before
    Authority.make(folder)
    assert load(folder, text).digest != before


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(
    data=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda children: st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["tls_server_config", "cert", "key", "cert_file", "client_ca", "client_auth_type", "cipher_suites",
                 "curve_preferences", "min_version", "client_allowed_sans", "http_server_config", "headers", "http2",
                 "basic_auth_users", "rate_limit", "interval", "burst", "x"]
            ),
            children, max_size=4,
        ),
        max_leaves=12,
    )
)  # fmt: skip
def test_any_yaml_is_a_config_or_findings(folder: Path, data: object) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(load(folder, yaml.safe_dump(data)), WebConfig)
