"""alarmName in COC's characters: what is kept, what becomes an underscore, and what is spelled and hashed."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adapter.coc.fields import clean_name, tidy, units

TAKEN = re.compile("[A-Za-z0-9_\\-\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
LETTERS = st.text(st.characters(categories=["L", "So"], min_codepoint=0x80), min_size=1, max_size=8)


def test_a_name_keeps_what_coc_documents() -> None:
    for name in ("々〇㐀鿿\uf900𠀀", "KubePodCrashLooping", "CPU_使用率-90"):
        assert clean_name(name) == (name, False)


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [
        ("CPU usage: 90 %", "CPU_usage__90__"), ("CPU 使用率（90%）", "CPU_使用率_90__"),
        ("磁盘空间不足: /data 93.5%", "磁盘空间不足___data_93_5_"),
        ("a–b…c ≥ 5 €", "a_b_c___5__"), ("“x”", "_x_"),
    ],
)  # fmt: skip
def test_punctuation_and_blanks_become_one_underscore_each(name: str, cleaned: str) -> None:
    assert clean_name(name) == (cleaned, False)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Диск заполнен", "Disk_zapolnien"), ("디스크 용량", "diseukeu_yongryang"), ("🔥 Disk full", "fire_Disk_full"),
        ("Größe é ø", "Grose_e_o"), ("⚠️ 磁盘 90%", "warning_sign_磁盘_90"), ("ＣＰＵ过高", "CPU过高"),
        ("カメラ", "kamera"), ("\ue000", "alarm"),
    ],
)  # fmt: skip
def test_a_letter_or_emoji_outside_is_spelled_and_a_hash_follows(name: str, words: str) -> None:
    cleaned, lost = clean_name(name)
    assert lost
    assert re.fullmatch(re.escape(words) + "_[0-9a-f]{12}", cleaned)


@given(LETTERS, LETTERS)
def test_two_names_of_lost_letters_stay_two(first: str, second: str) -> None:
    assume(clean_name(first)[1])
    assume(first != second)
    assert clean_name(first) != clean_name(second)


@given(st.text(min_size=1, max_size=300))
def test_any_name_becomes_one_that_coc_takes(name: str) -> None:
    name = tidy(name, lines=False)
    assume(name)
    cleaned, lost = clean_name(name)
    assert TAKEN.fullmatch(cleaned)
    assert not lost or (units(cleaned) <= 255 and re.search("[A-Za-z0-9\u3005-\U0003ffff]", cleaned))


def test_a_long_name_keeps_its_hash() -> None:
    first, second = clean_name("𠀀" * 300 + "é")[0], clean_name("é" + "𠀀" * 300)[0]
    assert len(first) == 300 + 1, "what is cut anyway costs nothing"
    assert units(second) <= 255
    assert re.search("_[0-9a-f]{12}$", second)
