"""No form of a known value passes a redactor."""

from __future__ import annotations

import base64
import html
import json
import pickle
import random
import shlex
import textwrap
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

import pytest

from deployer.core.redact import KNOWN, MASK, MIN_LENGTH, Redactor, foreign
from deployer.core.text import clean_text

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


def _component(value: str) -> str:
    """JavaScript's encodeURIComponent."""
    return quote(value, safe="!~*'()")


def _lower_hex(text: str) -> str:
    import re

    return re.sub(r"%[0-9A-F]{2}|\\u[0-9A-F]{4}", lambda match: match[0].lower(), text)


def _go(value: str) -> str:
    """JSON as Go's encoder writes it."""
    text = json.dumps(value, ensure_ascii=False)[1:-1]
    for one in "<>&":
        text = text.replace(one, f"\\u{ord(one):04x}")
    return text


def _entities(value: str, pattern: str) -> str:
    return "".join(pattern.format(ord(one)) if not one.isalnum() else one for one in value)


def _coloured(value: str) -> str:
    middle = len(value) // 2
    return f"{value[:middle]}\x1b[31m{value[middle:]}"


ENCODERS: dict[str, Callable[[str], str]] = {
    "as written": str,
    "quote": quote,
    "quote, all": lambda value: quote(value, safe=""),
    "quote, lower case": lambda value: _lower_hex(quote(value, safe="")),
    "quote_plus": quote_plus,
    "encodeURIComponent": _component,
    "quoted twice": lambda value: quote(quote(value, safe=""), safe=""),
    "every byte quoted": lambda value: "".join(f"%{byte:02X}" for byte in value.encode()),
    "JSON": lambda value: json.dumps(value)[1:-1],
    "JSON, not ASCII": lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    "JSON within JSON": lambda value: json.dumps(json.dumps(value)[1:-1])[1:-1],
    "JSON of Go": _go,
    "JSON with escaped slashes": lambda value: json.dumps(value)[1:-1].replace("/", "\\/"),
    "URL within JSON": lambda value: json.dumps(quote(value))[1:-1],
    "Python": lambda value: repr(value)[1:-1],
    "Python bytes": lambda value: repr(value.encode())[2:-1],
    "escaped bytes": lambda value: "".join(f"\\x{byte:02x}" for byte in value.encode()),
    "octal": lambda value: "".join(f"\\{byte:03o}" for byte in value.encode()),
    "shell": lambda value: shlex.quote(value)[1:-1] if shlex.quote(value) != value else value,
    "YAML": lambda value: value.replace("'", "''"),
    "HTML": html.escape,
    "HTML, decimal": lambda value: _entities(value, "&#{};"),
    "HTML, hexadecimal": lambda value: _entities(value, "&#x{:x};"),
    "coloured": _coloured,
    "coloured, in JSON": lambda value: json.dumps(_coloured(value))[1:-1],
    "invisible": lambda value: "\u200b".join(value),
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "base64, URL": lambda value: base64.urlsafe_b64encode(value.encode()).decode(),
    "base64, not padded": lambda value: base64.b64encode(value.encode()).decode().rstrip("="),
    "base64, quoted": lambda value: quote(base64.b64encode(value.encode()).decode(), safe=""),
    "base64, wrapped": lambda value: "\n".join(textwrap.wrap(base64.b64encode(value.encode()).decode(), 10)),
    "base64, wrapped in JSON": lambda value: json.dumps(base64.encodebytes(value.encode()).decode())[1:-1],
    "hexadecimal": lambda value: value.encode().hex(),
    "hexadecimal, upper case": lambda value: value.encode().hex().upper(),
    "hexadecimal, spaced": lambda value: value.encode().hex(" "),
}


def _shown(value: str, text: str) -> list[str]:
    """Parts of the value, 6 characters long, that a reader of the text sees."""
    parts = {value[at : at + MIN_LENGTH] for at in range(len(value) - MIN_LENGTH + 1)}
    plain = clean_text(text)
    forms = {part: {part, part.encode().hex(), quote(part, safe=""), json.dumps(part)[1:-1]} for part in parts}
    return [part for part in parts if any(form in plain for form in forms[part] if len(form) >= MIN_LENGTH)]


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("value", VALUES)
def test_every_form_is_replaced(value: str, encoder: str) -> None:
    form = ENCODERS[encoder](value)
    masked = Redactor(VALUES)(f"before {form} after")
    assert MASK in masked
    assert form not in masked
    assert masked.startswith("before ") and masked.endswith(" after")
    if encoder not in ("JSON", "YAML", "shell"):  # of a PEM block its frame may stay
        assert not [part for part in _shown(value, masked) if "-----" not in part and "KEY" not in part]


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
            assert not _shown(value, redact(text)), text


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
