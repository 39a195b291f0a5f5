"""No form of a known value passes a redactor."""

import base64
import json
import pickle
import random
import shlex
from urllib.parse import quote, quote_plus

import pytest

from deployer.core.redact import MASK, Redactor

VALUES = [
    "s3cr3t-value",
    "quo\"te\\back'slash",
    "a b+c/d=e&f%g?",
    "geheim-äöü-✓",
    "ABCD",
    "postgresql://todo:p%40ss-w0rd@db:5432/todo?sslmode=require",
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\nEFAASCBKcwggSjAgEAAoIBAQ==\n-----END PRIVATE KEY-----\n",
]


@pytest.mark.parametrize("value", VALUES)
def test_every_form_is_replaced(value: str) -> None:
    redact = Redactor(VALUES)
    raw = value.encode()
    for form in (
        value,
        base64.b64encode(raw).decode(),
        base64.urlsafe_b64encode(raw).decode(),
        base64.b64encode(raw).decode().rstrip("="),
        quote(value),
        quote(value, safe=""),
        quote(value, safe="").lower() if value.islower() else quote(value, safe=""),
        quote_plus(value),
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps({"k": value})),
        repr(value),
        shlex.quote(value),
    ):
        redacted = redact(f"before {form} after")
        assert MASK in redacted
        assert value not in redacted
        assert form.strip("\"'") not in redacted
        assert redacted.startswith("before ") and redacted.endswith(" after")


@pytest.mark.parametrize("before", ["", "u", "user:", "admin:x", "abcdefgh:"])
@pytest.mark.parametrize("after", ["", "!", "tail"])
def test_base64_of_a_text_around_the_value(before: str, after: str) -> None:
    value = "s3cr3t-value-0123"
    encoded = base64.b64encode(f"{before}{value}{after}".encode()).decode()
    redacted = Redactor([value])(f"Authorization: Basic {encoded}")
    assert MASK in redacted
    # At most the characters that are shared with a neighbour stay; they hold no whole byte of the value's middle.
    middle = base64.b64encode(value[3:-3].encode()).decode().rstrip("=")
    assert middle not in redacted


def test_lines_of_a_value_and_the_password_of_a_url_are_values_too() -> None:
    redact = Redactor(VALUES)
    assert redact("log: MIIEvQIBADANBgkqhkiG9w0BAQ") == f"log: {MASK}"
    assert redact("auth failed for p@ss-w0rd") == f"auth failed for {MASK}"
    assert redact("auth failed for p%40ss-w0rd") == f"auth failed for {MASK}"
    assert redact("-----BEGIN PRIVATE KEY-----") == "-----BEGIN PRIVATE KEY-----"


def test_overlapping_and_repeated_values_leave_nothing() -> None:
    redact = Redactor(["abcdef", "defghi", "cdef"])
    assert redact("abcdefghi") == MASK
    assert redact("xabcdefghix") == f"x{MASK}x"
    assert redact("abcdef abcdef") == f"{MASK} {MASK}"
    assert redact("aaaa") == "aaaa"
    assert Redactor(["aaaa"])("aaaaaaaab") == f"{MASK}b"
    assert redact("zz") == "zz"


def test_the_longest_value_wins() -> None:
    assert Redactor(["secret", "secret-and-more"])("secret-and-more") == MASK


def test_random_texts_never_keep_a_value() -> None:
    rng = random.Random(7)
    for _ in range(300):
        values = ["".join(rng.choices("ab", k=rng.randint(4, 6))) for _ in range(3)]
        text = "".join(rng.choices("abc", k=40))
        redacted = Redactor(values)(text)
        assert not any(value in redacted for value in values)
        kept = redacted.replace(MASK, "")
        assert set(kept) <= set("abc")
        assert (redacted == text) == (not any(value in text for value in values))


def test_short_values_and_plain_words_are_left_alone() -> None:
    redact = Redactor(["", "a", "abc", "true", "False", " no "])
    assert redact("abc true False no a") == "abc true False no a"
    assert repr(redact) == "Redactor(0 values)"


def test_data_is_redacted_in_keys_and_values() -> None:
    redact = Redactor(["s3cr3t"])
    assert redact.data({"s3cr3t": ["x s3cr3t", 1, None, ("s3cr3t",)]}) == {MASK: [f"x {MASK}", 1, None, [MASK]]}


def test_redactors_grow() -> None:
    first = Redactor(["first-value"])
    both = first.also(["second-value"])
    assert both("first-value second-value") == f"{MASK} {MASK}"
    assert first("second-value") == "second-value"


def test_nothing_is_revealed_by_the_object_itself() -> None:
    redact = Redactor(["s3cr3t-value"])
    assert "s3cr3t" not in repr(redact) + str(redact)
    with pytest.raises(TypeError):
        pickle.dumps(redact)
