"""adapter.yml: what is wrong is said at its place, all of it at once; what is right is resolved."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter.clock import SECOND
from adapter.config import Config, load_config, seconds, size
from adapter.errors import ConfigError
from adapter.mapping import shipped

BAD = sorted((Path(__file__).resolve().parent / "data" / "bad_configs").glob("*.yml"))
SMALL = "integrations: {default: {site: cn, integration_key: the-key-itself}}\n"


def load(folder: Path, text: str) -> Config:
    path = folder / "adapter.yml"
    path.write_text(text)
    return load_config(path)


@pytest.mark.parametrize("path", BAD, ids=[path.stem for path in BAD])
def test_each_mistake_is_found_at_its_place(path: Path) -> None:
    wanted = [line.removeprefix("# ") for line in path.read_text().splitlines() if line.startswith("# ")]
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert [str(finding).removeprefix(f"{path}:") for finding in caught.value.findings] == wanted


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "integrations: {a: {site: xx, integration_key: k, timeout: soon}}\nlimits: {backlog: no}\n")
    assert [finding.line for finding in caught.value.findings] == [1, 1, 2]


def test_what_is_wrong_between_keys_is_told_beside_what_is_wrong_in_them(tmp_path: Path) -> None:
    wrong = "base_url: 'ftp://x', site: cn, timeout: soon, auth: {type: token}"
    text = f"store: postgresql://h:x/d\nintegrations: {{a: {{{wrong}}}}}\n"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    told = "\n".join(finding.message for finding in caught.value.findings)
    for mistake in (
        "port",
        "exactly one of site",
        "must be an https",
        "a duration",
        "token needs",
        "_key_file is required",
    ):
        assert mistake in told


URL = "https://coc.myhuaweicloud.com/v1/event/huawei/custom/0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    "key", [URL, URL.removeprefix("https://"), "/v1/event/huawei/custom/012", "http://012", f"{URL}\n"]
)
@pytest.mark.parametrize("form", ["integration_key", "integration_key_file"])
def test_a_url_for_the_integration_key_is_a_finding(form: str, key: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(key)
    value = "key" if form.endswith("_file") else repr(key)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"integrations:\n  default:\n    site: cn\n    {form}: {value}\n")
    (finding,) = caught.value.findings
    assert (finding.line, finding.message) == (
        4, "the integration key is a URL; write the key alone, the last part of the URL that COC shows"
    )  # fmt: skip


def test_the_pasted_url_of_the_field_is_found() -> None:
    with pytest.raises(ConfigError, match="the integration key is a URL"):
        load_config(Path(__file__).parent / "data" / "field" / "60-config-url-as-key.yml")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:SECRET@h:99999/d", "postgresql://u:SECRET@h:0/d", "postgresql://u:SECRET@h:-1/d",
        "postgresql://u:SECRET@h:5432x/d", "postgresql://u:SECRET@h:/d", "postgresql://h:1,u:SECRET/d",
        "postgresql://u:SECRET@h1:5432,h2:70000/d", "postgresql://u:SECRET@[::1]:x/d", "postgresql://u:SECRET@[::1/d",
        "postgresql://u:SECRET@h:5432:1/d", "postgresql://u:SECRET@h/d?port=x", "postgresql://u:SECRET",
        "postgres:u:SECRET@h/d", "postgresql:/u:SECRET@h", "postgresql://u:SE/CRET@h/d", "postgresql://u:SE#CRET@h/d",
        "postgresql://u:SECRET@h/d#x", "postgresql://u:S@ECRET@h/d", "mysql://u:SECRET@h/d", "SECRET",
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["store", "store_file"])
def test_a_store_that_cannot_be_opened_is_a_finding_without_its_text(form: str, url: str, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(url)
    value = "url" if form.endswith("_file") else repr(url)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"{form}: {value}\n{SMALL}")
    (finding,) = caught.value.findings
    assert (finding.line, finding.col) == (1, len(form) + 3)
    assert "CRET" not in finding.with_caret()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h/d", "postgres://u:p@h:5432/d", "postgresql://u:p@h1:1,h2:65535,h3/d", "postgresql:///d?host=/run",
        "postgresql://u:p%2F%40@[::1]:5432/d?sslmode=require", "postgresql://[::1]/d", "sqlite:a b/c.db", "memory:",
    ],
)  # fmt: skip
def test_other_stores_are_taken(url: str, tmp_path: Path) -> None:
    load(tmp_path, f"store: {url!r}\n{SMALL}")


@pytest.mark.parametrize(
    "text",
    ["store: memory:", "store:  memory:   # for a trial", "store: memory:\r", "store: memory", 'store: "memory:"'],
)
def test_a_store_in_memory_is_written_as_the_readme_writes_it(text: str, tmp_path: Path) -> None:
    assert load(tmp_path, f"{text}\n{SMALL}").store_url.get().partition(":")[0] == "memory"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"{text}\nlog: {{level: loud}}\n{SMALL}")
    assert [(finding.line, finding.col) for finding in caught.value.findings] == [(2, 14)]


def test_the_memory_store_of_the_field_is_taken() -> None:
    config = load_config(Path(__file__).parent / "data" / "field" / "63-config-store-memory.yml")
    assert config.store_url.get() == "memory"


def test_keys_with_an_x_hold_anchors(tmp_path: Path) -> None:
    text = "x-auth: &auth {type: token, token: t}\nintegrations:\n  a: {site: cn, integration_key: k, auth: *auth}\n"
    assert load(tmp_path, text).integrations["a"].endpoint.auth is not None


@pytest.mark.parametrize("url", ["u:p@proxy:3128", "proxy:3128", "socks5://u:p@proxy", "http://", "http://u:p@:3128"])
def test_a_proxy_that_is_no_url_is_a_finding(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="proxy_url must read http"):
        load(tmp_path, f"integrations: {{a: {{site: cn, integration_key: k, proxy_url: {url!r}}}}}\n")


def test_only_integrations_is_required_and_the_rest_has_the_documented_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, SMALL)
    integration = config.integrations["default"]
    assert config.store_url.get() == f"sqlite:{tmp_path / 'data/adapter.db'}"
    assert config.mappings == shipped()
    assert config.relay.policy() == (3_600_000_000, False)
    assert (config.limits.backlog, config.webhook.max_body) == (1_000_000, 16 * 1024 * 1024)
    assert (integration.endpoint.timeout, integration.endpoint.max_in_flight, integration.rate_limit) == (10.0, 32, 0.0)
    assert integration.contract(config.relay) == (True, True, True)
    assert integration.endpoint.base_url == "https://coc.myhuaweicloud.com"


def test_a_contract_has_what_relay_says_about_the_body(tmp_path: Path) -> None:
    config = load(tmp_path, SMALL + "relay: {additional_labels: false}\n")
    assert config.integrations["default"].contract(config.relay) == (True, True, False)


def test_relative_paths_count_from_the_folder_of_the_config(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-a-file\n")
    (tmp_path / "dsn").write_text("postgresql://u:p@db/adapter\n")
    (tmp_path / "maps").mkdir()
    text = "store_file: dsn\nmappings: maps\nintegrations: {a: {site: eu, integration_key_file: key}}\n"
    config = load(tmp_path, text)
    assert config.mappings == tmp_path / "maps"
    assert config.integrations["a"].endpoint.integration_key.get() == "from-a-file"
    assert config.store_url.get() == "postgresql://u:p@db/adapter"


@pytest.mark.parametrize("auth", ["none", "{type: none}"])
def test_no_authentication_can_be_written_both_ways(tmp_path: Path, auth: str) -> None:
    load(tmp_path, f"integrations: {{a: {{site: cn, integration_key: k, auth: {auth}}}}}\n")


def test_no_secret_is_in_what_is_shown_or_printed(tmp_path: Path) -> None:
    text = """
store: postgresql://user:canary-store@db/adapter
integrations:
  a: {site: cn, integration_key: canary-key, proxy_url: "http://u:canary-proxy@proxy:3128",
      auth: {access_key: canary-ak, secret_key: canary-sk, security_token: canary-st, project_id: p}}
  b: {site: cn, integration_key: canary-key, auth: {type: token, token: canary-token}}
webhook: {bearer_token: canary-bearer}
"""
    config = load(tmp_path, text)
    assert "canary" not in repr(config.source.shown)
    assert "canary" not in repr(config.integrations)
    assert "canary" not in repr((config.store_url, config.webhook.secret("bearer_token"), config.source.secrets))
    assert "canary" not in repr(config)


def test_a_webhook_without_a_name_goes_to_default_or_to_the_only_integration(tmp_path: Path) -> None:
    two = load(tmp_path, "integrations: {default: {site: cn, integration_key: k}, b: {site: cn, integration_key: k}}\n")
    named = {name: two.integration(name) for name in (None, "default", "b", "c")}
    assert named == {None: "default", "default": "default", "b": "b", "c": None}
    assert load(tmp_path, "integrations: {b: {site: cn, integration_key: k}}\n").integration(None) == "b"
    neither = "integrations: {b: {site: cn, integration_key: k}, c: {site: cn, integration_key: k}}\n"
    assert load(tmp_path, neither).integration(None) is None


@pytest.mark.parametrize(
    ("text", "value"), [("10s", 10), ("1h30m", 5400), ("500ms", 0.5), ("7d", 604800), ("1y", 31536000), ("0", 0)]
)
def test_durations_are_read_as_prometheus_writes_them(text: str, value: float) -> None:
    assert seconds(text) == value


@pytest.mark.parametrize("text", ["", "10", "s", "1 h", "-5s", "1.5h", "10sec"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        seconds(text)


@pytest.mark.parametrize(
    "text",
    [
        "retention: {dead: 101y}\n" + SMALL,
        "limits: {backlog: %s}\n" % ("9" * 4000) + SMALL,
        'store: "sqlite:a\\0b"\n' + SMALL,
        "integrations: {a: {site: cn, integration_key: k, rate_limit: %s.0}}\n" % ("9" * 4000),
    ],
)
def test_values_that_no_part_could_take_are_findings(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load(tmp_path, text)


@pytest.mark.parametrize(("text", "value"), [("16MiB", 16 << 20), ("1GB", 1 << 30), ("512KiB", 512 << 10), ("7", 7)])
def test_sizes_are_read_as_prometheus_writes_them(text: str, value: int) -> None:
    assert size(text) == value


@pytest.mark.parametrize(("store", "secret"), [("memory", 0), ("sqlite:a.db", 0), ("postgresql://u:pw@db/coc", 1)])
def test_only_a_store_that_may_carry_a_password_is_kept_out_of_the_logs(
    tmp_path: Path, store: str, secret: int
) -> None:
    config = load(tmp_path, f"store: {store}\n{SMALL}")
    assert [known.get() for known in config.source.secrets].count(store) == secret


RECONCILE = (
    SMALL
    + "relay: {refresh_interval: 2h}\nreconcile: {mode: %s, alertmanagers: [{name: main, members: ['http://am/p/']%s}]}\n"
)


def test_reconciling_is_off_without_its_section_and_where_yaml_reads_a_boolean(tmp_path: Path) -> None:
    assert load(tmp_path, SMALL).clusters == []
    assert load(tmp_path, RECONCILE % ("off", "")).clusters == []


def test_reconciling_observes_once_configured_with_the_documented_defaults(tmp_path: Path) -> None:
    (cluster,) = load(tmp_path, RECONCILE % ("observe", "")).clusters
    rules, minute = cluster.rules, 60 * SECOND
    assert (cluster.members, cluster.integrations, cluster.interval) == (("http://am/p",), ("default",), 60.0)
    assert (rules.absent_polls, rules.grace, rules.settle, rules.max_close) == (5, 10 * minute, 15 * minute, 20)
    assert (rules.adopt_after, rules.refresh_interval, rules.mode) == (20 * minute, 0, "observe")
    assert cluster.origins == {"http://am/p"}


def test_a_mode_that_sends_refreshes_too(tmp_path: Path) -> None:
    (cluster,) = load(tmp_path, RECONCILE % ("close", ", external_urls: ['https://AM.example:443/']")).clusters
    assert cluster.rules.refresh_interval == 7200 * SECOND
    assert cluster.origins == {"https://am.example", "http://am/p"}


def test_passwords_and_headers_of_alertmanagers_are_masked(tmp_path: Path) -> None:
    more = ", basic_auth: {username: u, password: canary}, headers: {X-Scope-OrgID: canary}"
    config = load(tmp_path, RECONCILE % ("observe", more))
    assert "canary" not in str(config.source.shown)
    assert [secret.get() for secret in config.source.secrets if secret.get() == "canary"]
