"""No finding shows a secret, wherever in the file it stands and whatever is wrong around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter.config import load_config
from adapter.errors import ConfigError
from adapter.server.webconfig import load_web_config
from adapter.yamlfile import YamlFile
from tests.golden.terminal import run, run_apart

SECRET = "Zq9CANARYx7"
GOOD = "integrations: {default: {site: cn, integration_key: k}}\n"
DEFAULT = "integrations:\n  default:\n    site: cn\n    integration_key: k\n"

ADAPTER_YML = {
    "a misspelt key beside a mistake": "integrations: {default: {integratoin_key: SECRET, site: mars}}",
    "a misspelt key behind a mistake": "integrations: {default: {site: mars, integration_key: k, tokn: SECRET}}",
    "a misspelt proxy": "integrations: {default: {porxy_url: 'http://u:SECRET@p', timeout: x}}",
    "a misspelt store": "{stor: 'postgresql://u:SECRET@h/d', retention: {dead: soon}}",
    "a misspelt key in a block": "webhook:\n  bearer_tokn: SECRET\n" + GOOD,
    "a misspelt key, its value in the next line": "webhook:\n  bearer_tokn:\n    [SECRET]\n" + GOOD,
    "a store of another scheme": "store: mysql://u:SECRET@h/d\n" + GOOD,
    "a store without its scheme": "store: 'u:SECRET@h/d'\n" + GOOD,
    "key and key file": "webhook: {bearer_token: SECRET, bearer_token_file: SECRET}\n" + GOOD,
    "no space behind the colon": "webhook: {bearer_token:SECRET}\n" + GOOD,
    "an equals sign": "webhook: {bearer_token=SECRET}\n" + GOOD,
    "a value without a key": "webhook: {SECRET}\n" + GOOD,
    "a quoted value without a key": "webhook: {'SECRET'}\n" + GOOD,
    "an explicit key": "? SECRET\n" + GOOD,
    "an alias": "webhook: {bearer_token: *SECRET}\n" + GOOD,
    "an anchor": "webhook: {bearer_token: &SECRET, max_body: x}\n" + GOOD,
    "two anchors": "webhook: {bearer_token: &SECRET a, max_body: &SECRET b}\n" + GOOD,
    "a tag": "webhook: {bearer_token: !SECRET}\n" + GOOD,
    "a tag with a handle": "webhook: {bearer_token: !SECRET!x y}\n" + GOOD,
    "a whole tag": "webhook: {bearer_token: !<SECRET> x}\n" + GOOD,
    "a sign that begins no text": "webhook: {bearer_tokn: @SECRET}\n" + GOOD,
    "an unknown escape": 'webhook: {bearer_tokn: "\\qSECRET"}\n' + GOOD,
    "half a character": 'webhook: {bearer_tokn: "SECRET\\ud800"}\n' + GOOD,
    "a control character": 'webhook: {bearer_tokn: "SECRET\x01"}\n' + GOOD,
    "an open quote": 'webhook:\n  bearer_tokn: "SECRET\n' + GOOD,
    "a second colon": "webhook:\n  bearer_tokn: a: SECRET\n" + GOOD,
    "a second colon in the next line": "webhook:\n  bearer_tokn:\n    SECRET: x: y\n" + GOOD,
    "a tab": "webhook:\n  bearer_tokn: a\n\tSECRET: b\n" + GOOD,
    "a brace too many": "webhook: {bearer_tokn: a}SECRET}\n" + GOOD,
    "a long number beside it": f"webhook: {{bearer_tokn: SECRET, max_body: {'9' * 5000}}}\n" + GOOD,
    "a comment": "webhook: {max_body: x} # the token is SECRET\n" + GOOD,
    "a key twice": "webhook: {bearer_tokn: SECRET, max_body: 1, max_body: 2}\n" + GOOD,
    "the secret's key twice": "webhook: {bearer_tokn: a, bearer_tokn: SECRET}\n" + GOOD,
    "text for a mapping": "webhook: SECRET\n" + GOOD,
    "text for an integration": "integrations: {default: SECRET}\n",
    "a list for a mapping": "integrations: [SECRET]\n",
    "text for the file": "integration_key=SECRET\n",
    "a list for the file": "[SECRET]\n",
    "text for auth": DEFAULT + "    auth: SECRET\n",
    "an unknown type of auth": DEFAULT + "    auth: {type: SECRET}\n",
    "an unknown key of auth": DEFAULT + "    auth: {acces_key: SECRET}\n",
    "a mapping for a secret": "webhook: {bearer_token: {SECRET: SECRET}}\n" + GOOD,
    "the key for its file": "integrations: {default: {site: cn, integration_key_file: SECRET}}\n",
    "the key of TLS for its file": DEFAULT + "    tls_config:\n      key_file: |\n        -----BEGIN\n        SECRET\n",
    "a long key of TLS for its file": DEFAULT + f"    tls_config: {{key_file: SECRET{'x' * 5000}}}\n",
    "the store for its file": "store_file: postgresql://u:SECRET@h/d\n" + GOOD,
    "a URL with credentials": "integrations: {default: {base_url: 'https://u:SECRET@h', integration_key: k}}\n",
    "a URL with a query": "integrations: {default: {base_url: 'https://h/?k=SECRET', integration_key: k}}\n",
    "a URL without TLS": "integrations:\n  default:\n    base_url: http://u:SECRET@h\n    integration_key: k\n",
    "a URL for the key": "integrations: {default: {site: cn, integration_key: https://coc/v1/event/huawei/custom/SECRET}}\n",
    "a store with a bad port": "store: 'postgresql://u:SECRET@h:99999/d'\n" + GOOD,
    "a store whose password is the port": "store: 'postgresql://u:SECRET/d'\n" + GOOD,
    "a proxy without its scheme": DEFAULT + "    proxy_url: u:SECRET@proxy:3128\n",
    "a proxy of another scheme": DEFAULT + "    proxy_url: socks5://u:SECRET@proxy\n",
    "secrets beside mistakes": "store: 'postgresql://u:SECRET@h/d'\n"
    + DEFAULT
    + "    proxy_url: 'http://u:SECRET@p'\n    auth: {type: token, token: SECRET}\n    timeout: soon\n",
    "secrets in the line of a mistake": "integrations: {a: {integration_key: SECRET, proxy_url: 'http://u:SECRET@p', "
    "auth: {access_key: SECRET, secret_key: SECRET}, site: mars}}\n",
    "the key for the name": "integrations: {SECRET/+: {site: cn, integration_key: k}}\n",
}
WEB_CONFIG = {
    "a list of users": "basic_auth_users: [SECRET]\n",
    "a plain password": "basic_auth_users: {operator: SECRET}\n",
    "users misspelt": "{basic_auth_user: {operator: SECRET}, http_server_config: {http2: maybe}}\n",
    "no space behind the user": "basic_auth_users: {operator:SECRET}\n",
    "user and password in quotes": "basic_auth_users: {'operator:SECRET'}\n",
    "a misspelt key of TLS": "tls_server_config: {kye: SECRET, cert_file: none}\n",
    "a key of TLS in lines": "tls_server_config:\n  kye: |\n    -----BEGIN\n    SECRET\n  cert_file: 5\n",
    "the key for its file": "tls_server_config:\n  cert_file: none\n  key_file: |\n    -----BEGIN\n    SECRET\n",
    "a header": "http_server_config: {headers: {Authorization: SECRET, X-Frame-Options: no}}\n",
}


def shown(error: ConfigError) -> str:
    return "\n".join(finding.with_caret() for finding in error.findings)


@pytest.mark.parametrize("text", ADAPTER_YML.values(), ids=ADAPTER_YML)
def test_no_finding_in_adapter_yml_shows_a_secret(text: str, tmp_path: Path) -> None:
    path = tmp_path / "adapter.yml"
    path.write_text(text.replace("SECRET", SECRET))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert SECRET not in shown(caught.value)


@pytest.mark.parametrize("text", WEB_CONFIG.values(), ids=WEB_CONFIG)
def test_no_finding_in_a_web_config_shows_a_secret(text: str, tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text(text.replace("SECRET", SECRET))
    with pytest.raises(ConfigError) as caught:
        load_web_config(path)
    assert SECRET not in shown(caught.value)


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_start_that_fails_prints_no_secret(command: str, tmp_path: Path) -> None:
    text = ADAPTER_YML["a misspelt key beside a mistake"].replace("SECRET", SECRET)
    (tmp_path / "adapter.yml").write_text(text)
    ended = run_apart(command, folder=tmp_path)
    assert ended.code == 1
    assert "unknown key 'integratoin_key' (did you mean 'integration_key'?)" in ended.out
    assert SECRET not in ended.out + ended.errors


@pytest.mark.parametrize("text", ADAPTER_YML.values(), ids=ADAPTER_YML)
def test_check_prints_no_secret_beside_the_findings_of_mappings(text: str, tmp_path: Path) -> None:
    (tmp_path / "adapter.yml").write_text(text.replace("SECRET", SECRET))
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "a.yaml").write_text("rules:\n  - {name: a, when: lables.x, drop: true}\n")
    ended = run("check", "--mappings=maps", folder=tmp_path)
    assert ended.code == 1
    assert ended.out.startswith("adapter.yml:")
    assert "maps/a.yaml:2:21: unknown name 'lables'" in ended.out
    assert SECRET not in ended.out + ended.errors


def test_an_excerpt_shows_the_keys_up_to_the_mistake(tmp_path: Path) -> None:
    file = YamlFile("a.yaml", b"rest: 1\nwebhook: {bearer_tokn: x, max_body: many}\n", secret=True)
    (key, value) = (file.finding(("webhook", "max_body"), "wrong", at_key=at_key) for at_key in (True, False))
    assert key.source == "webhook:  bearer_tokn: …  max_body:"
    assert value.source == "webhook:  bearer_tokn: …  max_body: …"
    assert value.with_caret().splitlines()[2].index("^") == value.with_caret().splitlines()[1].rindex("…")


@pytest.mark.parametrize(
    "url", ["operator:SECRET@host", "ftp://operator:SECRET@host", "http://operator:SECRET", "http://operator:SECRET@["]
)
def test_no_command_repeats_a_url_of_the_admin_api_that_it_cannot_read(url: str) -> None:
    ended = run_apart("alarms", "list", f"--adapter.url={url.replace('SECRET', SECRET)}")
    assert (ended.out, ended.code) == ("", 1)
    assert ended.errors == "coc-adapter: --adapter.url is not a URL; write it like http://127.0.0.1:9877\n"
