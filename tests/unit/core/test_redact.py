"""No form of a known value passes a redactor."""

from __future__ import annotations

import base64
import pickle
import random
from collections.abc import Callable, Iterator

import pytest

from deployer.core.redact import KNOWN, MASK, Redactor, foreign
from tests.forms import ENCODERS, shown

VALUES = [
    "s3cr3t-value",
    "quo\"te\\back'slash",
    "a b+c/d=e&f%g?<h>~i(j)*k!l",
    "geheim-äöü-✓-😀",
    "postgresql://todo:p%40ss-w0rd@db:5432/todo?sslmode=require",
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\nEFAASCBKcwggSjAgEAAoIBAQ==\n-----END PRIVATE KEY-----\n",
    "ends with a backslash\\",
    "100%41 of \\u0041 &amp; more",
    "6chars",
]
ALPHABETS = (base64.b64encode, base64.urlsafe_b64encode)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("value", VALUES)
def test_every_form_is_replaced(value: str, encoder: str) -> None:
    form = ENCODERS[encoder](value)
    masked = Redactor(VALUES)(f"before {form} after")
    assert MASK in masked
    assert form not in masked
    assert masked.startswith("before ") and masked.endswith(" after")
    if encoder not in ("JSON", "YAML", "shell"):  # of a PEM block its frame may stay
        assert not [part for part in shown(value, masked) if "-----" not in part and "KEY" not in part]


@pytest.mark.parametrize("before", ["", "u", "user:", "admin:x", "abcdefgh:"])
@pytest.mark.parametrize("after", ["", "!", "tail", "tails"])
@pytest.mark.parametrize("encode", ALPHABETS)
@pytest.mark.parametrize("value", ["s3cr3t-value-0123", "6chars", "ÿÿ>?ÿÿ>?"])
def test_base64_of_a_text_around_the_value(
    before: str, after: str, encode: Callable[[bytes], bytes], value: str
) -> None:
    encoded = encode(f"{before}{value}{after}".encode()).decode()
    masked = Redactor([value])(f"Authorization: Basic {encoded}")
    assert MASK in masked
    # No character that is left holds a bit of the value.
    first, end = len(before.encode()) * 8 // 6, -(-len(f"{before}{value}".encode()) * 8 // 6)
    left = masked.removeprefix("Authorization: Basic ")
    expected = {(a, b) for a in (first, first - 1) for b in (end, end + 1) if a >= 0}
    assert left in {encoded[:a] + MASK + encoded[b:].removeprefix("==").removeprefix("=") for a, b in expected} | {
        encoded[:a] + MASK + encoded[b:] for a, b in expected
    }


def test_lines_of_a_value_and_the_password_of_a_url_are_values_too() -> None:
    redact = Redactor([*VALUES, "first line\nsix666\nfive5"])
    assert redact("log: MIIEvQIBADANBgkqhkiG9w0BAQ") == f"log: {MASK}"
    assert redact("log: six666 five5") == f"log: {MASK} five5"
    assert redact("auth failed for p@ss-w0rd") == f"auth failed for {MASK}"
    assert redact("auth failed for p%40ss-w0rd") == f"auth failed for {MASK}"
    frame = "a -----BEGIN PRIVATE KEY----- b"
    assert redact(frame) == frame


def _cuts(form: str) -> Iterator[tuple[int, str, str]]:
    """The form cut at every position: what is left of its end, and of its beginning."""
    for at in range(1, len(form)):
        yield at, form[at:], form[:at]


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("value", ["s3cr3t-value+&<0123>", "p4ss word/with=more~than'one\"form"])
def test_a_text_that_begins_or_ends_within_a_value_keeps_at_most_five_characters(value: str, encoder: str) -> None:
    redact = Redactor([value])
    for _, tail, head in _cuts(ENCODERS[encoder](value)):
        for text in (f"{tail} and more words", f"words before {head}", f"words before {head}... more", tail, head):
            assert not shown(value, redact(text)), text


def test_what_lies_within_a_value_on_both_sides_is_masked() -> None:
    redact = Redactor(["s3cr3t-value-of-many-characters"])
    assert redact("value-of-many") == MASK
    assert redact("x value-of-many x") == "x value-of-many x"


def test_overlapping_and_repeated_values_leave_nothing() -> None:
    redact = Redactor(["abcdefgh", "defghijk", "cdefgh"])
    assert redact("abcdefghijk") == MASK
    assert redact("xabcdefghijkx") == f"x{MASK}x"
    assert redact("abcdefgh abcdefgh") == f"{MASK} {MASK}"
    assert Redactor(["aaaaaa"])("aaaaaaaaaaab") == f"{MASK}b"
    assert redact("zz") == "zz"


def test_the_longest_value_wins() -> None:
    assert Redactor(["secret", "secret-and-more"])("secret-and-more") == MASK


def test_random_texts_never_keep_a_value() -> None:
    rng = random.Random(7)
    for _ in range(300):
        values = ["".join(rng.choices("ab", k=rng.randint(6, 8))) for _ in range(3)]
        text = "".join(rng.choices("abc", k=40))
        masked = Redactor(values)(text)
        assert not any(value in masked for value in values)
        assert set(masked.replace(MASK, "")) <= set("abc")
        assert not any(value in text for value in values) or MASK in masked


def test_random_values_in_random_encodings_never_show() -> None:
    rng = random.Random(11)
    names = sorted(ENCODERS)
    for _ in range(200):
        value = "".join(rng.choices("aB3 +/=%&<>'\"\\~äé€.-_", k=rng.randint(8, 30))).strip() + "x9Kq"
        form = ENCODERS[rng.choice(names)](value)
        masked = Redactor([value])(f"some words, {form} and others")
        assert form not in masked, (value, form)
        assert "some words" in masked and "others" in masked


def test_values_of_four_and_five_characters_are_masked_as_words_only() -> None:
    redact = Redactor(["ABCD", "p4ss!"])
    assert redact("user:ABCD@host, ABCDE, QUJDRA== p4ss!") == f"user:{MASK}@host, ABCDE, {MASK} {MASK}"


def test_shorter_values_and_plain_words_are_left_alone() -> None:
    redact = Redactor(["", "a", "abc", "true", "False", " no "])
    assert redact("abc true False no a") == "abc true False no a"
    assert repr(redact) == "Redactor(0 values)"


def test_ordinary_texts_stay_as_they_are() -> None:
    redact = Redactor(VALUES)
    for text in (
        "", " ", '{"a": "", "b": \'\'}', "50% of 100%", "a+b=c", "C:\\temp\\x", "\x1b[1mbold\x1b[0m", "&nbsp;&#10;",
        "http://192.0.2.1:8000/ready", "postgresql is up", "...", "0123456789abcdef" * 8,
    ):  # fmt: skip
        assert redact(text) == text


def test_data_is_redacted_in_keys_and_values() -> None:
    redact = Redactor(["s3cr3t"])
    assert redact.data({"s3cr3t": ["x s3cr3t", 1, None, ("s3cr3t",)]}) == {MASK: [f"x {MASK}", 1, None, [MASK]]}


def test_redactors_learn() -> None:
    redact = Redactor(["first-value"])
    assert redact("second-value") == "second-value"
    redact.learn(["second-value"])
    assert redact("first-value second-value") == f"{MASK} {MASK}"


def test_nothing_is_revealed_by_the_object_itself() -> None:
    redact = Redactor(["s3cr3t-value"])
    assert "s3cr3t" not in repr(redact) + str(redact)
    with pytest.raises(TypeError):
        pickle.dumps(redact)


def test_foreign_text_is_clean_and_has_no_value_that_a_control_sequence_hid() -> None:
    KNOWN.learn(["s3cr3t-value"])
    assert foreign("a s3c\x1b[31mr3t\x1b[0m-va\u200blue b\r\n\x1b]0;title\x07c") == f"a {MASK} b\nc"


@pytest.mark.parametrize("text", ["database", "statefulset/database", "waiting for postgresql", "service:5432/todo"])
def test_the_words_of_a_url_with_a_password_are_no_secret(text: str) -> None:
    redact = Redactor(["postgresql://todo:hunter2-and-more@database-service:5432/todo"])
    assert redact(text) == text
    assert redact("postgresql://todo:hunter2-an") == f"postgresql://todo:{MASK}"


@pytest.mark.parametrize("key", ["DB_USER", "POSTGRES_DB", "name", "db_login"])
def test_an_own_name_of_an_account_is_no_secret(key: str) -> None:
    redactor = Redactor()
    redactor.own_names = frozenset({"links", "links-api"})
    redactor.learn_keys([(key, "links"), (f"OTHER_{key}", "links2")])
    assert redactor("up: links, links-api, links2") == f"up: links, links-api, {MASK}"
    redactor.learn_keys([("DB_PASSWORD", "links")])
    assert "links" not in redactor("up: links")


@pytest.mark.parametrize("key", ["DB_PASSWORD", "SECRET_NAME", "TOKEN_USER", "DB_USERS_PIN", "DATABASE_URL", "KEY"])
def test_an_own_name_that_may_be_a_password_is_masked(key: str) -> None:
    redactor = Redactor()
    redactor.own_names = frozenset({"links"})
    redactor.learn_keys([(key, "links")])
    assert redactor("links") == MASK
