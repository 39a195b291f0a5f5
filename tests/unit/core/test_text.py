from __future__ import annotations

import pytest

from deployer.core.text import (
    ASCII,
    UNICODE,
    age,
    clean,
    clean_lines,
    did_you_mean,
    duration,
    elapsed,
    glyphs_for,
    progress,
)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain [red]text[/red]", "plain [red]text[/red]"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hover", "over"),
        ("a\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c", "abc"),
        ("a\x1b]0;never closed", "a"),
        ("\x9b31mred", "red"),
        ("a\x1bPq#0\x1b\\b", "ab"),
        ("a\x1b(Bb\x1bcd\x1b", "abd"),
        (" 10%\r 99%\r\n", " 99%"),
        ("a\tb\nc", "a b c"),
        ("bell\x07 back\x08 nul\x00", "bell back nul"),
        ("evil\u202etxt.exe\u2066", "eviltxt.exe"),
        ("half \ud800", "half \N{REPLACEMENT CHARACTER}"),
        ("日本語 ✓", "日本語 ✓"),
    ],
)
def test_foreign_text_is_made_fit(raw: str, shown: str) -> None:
    assert clean(raw) == shown


def test_a_longer_text_keeps_its_lines() -> None:
    assert clean_lines("\n a\n\n\x1b[1mb \r\n") == [" a", "", "b"]
    assert clean_lines(" \n ") == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0.0 s"), (0.84, "0.8 s"), (59.94, "59.9 s"), (59.96, "1 m 00 s"), (125, "2 m 05 s"), (3720, "1 h 02 m")],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_times_of_running_things_and_ages() -> None:
    assert [elapsed(seconds) for seconds in (-1, 0.9, 12.7, 61)] == ["0 s", "0 s", "12 s", "1 m 01 s"]
    assert [age(seconds) for seconds in (-1, 59, 60, 7300, 200000)] == ["0s", "59s", "1m", "2h", "2d"]


def test_progress_counts_steps_and_gives_bytes_as_a_share() -> None:
    assert [progress(*pair) for pair in ((4, 9), (4, 0), (None, 9), (5e6, 2e7), (3e7, 2e7), (0.5, 2))] == [
        "4/9",
        "",
        "",
        "25%",
        "100%",
        "25%",
    ]


def test_marks_follow_the_encoding() -> None:
    assert glyphs_for("UTF-8") is UNICODE and glyphs_for(None) is UNICODE
    assert glyphs_for("ascii") is ASCII and glyphs_for("latin-1") is ASCII
    assert all(mark.isascii() for mark in (ASCII.done, ASCII.arrow, ASCII.spinner, ASCII.bar))


def test_what_was_probably_meant_is_named_with_its_option() -> None:
    assert did_you_mean("frontnd", ["backend", "frontend"]) == ("did you mean `frontend`?",)
    assert did_you_mean("prd", ("prod",), "--profile ") == ("did you mean `--profile prod`?",)
    assert did_you_mean("x", ["backend"]) == ()
