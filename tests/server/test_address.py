"""Listen addresses, and which of them may be served without credentials."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.cli.main import main
from adapter.server.address import may_listen, parse_listen_address


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (":9876", (None, 9876)), ("127.0.0.1:9876", ("127.0.0.1", 9876)), ("[::1]:9876", ("::1", 9876)),
        ("localhost:0", ("localhost", 0)), ("[::]:65535", ("::", 65535)), ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
        ("coc-adapter.example:80", ("coc-adapter.example", 80)),
    ],
)  # fmt: skip
def test_an_address_is_host_and_port(text: str, parsed: tuple[str | None, int]) -> None:
    assert parse_listen_address(text) == parsed


@pytest.mark.parametrize(
    "text",
    ["", "9876", "127.0.0.1", "127.0.0.1:", ":65536", ":-1", ":+1", ":٣", "::1:9876", "[::1]", "[localhost]:1",
     "http://localhost:9876", "a b:1", "x\n:1", "user@host:1"],
)  # fmt: skip
def test_what_is_no_address_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address to listen on; ") as caught:
        parse_listen_address(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("http://127.0.0.1:9876", "127.0.0.1:9876"),
        ("https://:9876/", ":9876"),
        ("tcp://[::1]:1/x", "[::1]:1"),
        ("http://a/", "a:PORT"),
    ],
)
def test_a_url_is_told_which_part_of_it_is_the_address(text: str, rest: str) -> None:
    with pytest.raises(ValueError, match="it is a URL, write the address alone: ") as caught:
        parse_listen_address(text)
    assert str(caught.value).endswith(f": {rest}")


@given(text=st.text(max_size=30))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        host, port = parse_listen_address(text)
    except ValueError:
        return
    assert host != ""
    assert 0 <= port <= 65535


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:9876", "127.8.9.1:9876", "[::1]:9876", "localhost:9876", "LocalHost:1", "[::ffff:127.0.0.1]:1"],
)
def test_loopback_needs_nobody_at_the_door(address: str) -> None:
    assert may_listen(address, authenticated=False, allow_unauthenticated=False) is None


@pytest.mark.parametrize(
    "address",
    [":9876", "0.0.0.0:9876", "[::]:9876", "10.0.0.1:9876", "[2001:db8::1]:9876", "localhost.example:9876",
     "127.0.0.1.example:9876", "[::ffff:10.0.0.1]:1"],
)  # fmt: skip
def test_any_other_address_needs_credentials_or_a_word(address: str) -> None:
    line = may_listen(address, authenticated=False, allow_unauthenticated=False)
    assert line is not None
    assert line.startswith(f"{address} can be reached from other machines")
    assert "--web.allow-unauthenticated" in line
    assert "\n" not in line
    assert may_listen(address, authenticated=True, allow_unauthenticated=False) is None
    assert may_listen(address, authenticated=False, allow_unauthenticated=True) is None


@pytest.mark.parametrize(
    "words",
    [
        ["serve", "--web.listen-address=nonsense"],
        ["serve", "--web.admin-address=127.0.0.1:99999"],
        ["sandbox", "--listen-address=[x"],
    ],
)
def test_a_wrong_address_is_wrong_usage_and_says_how_to_write_one(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "HOST:PORT" in capsys.readouterr().err
