"""Secret values taken out of any text, whatever it was encoded by, before the text is cut or shown.

Text that comes from elsewhere (logs, events, the output of programs, answers of servers) passes `foreign` where it is
read: masked, then cleaned; only then may it be cut. What leaves this process is masked once more by `KNOWN`.
"""

from __future__ import annotations

import base64
import dataclasses
import html
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import unquote, unquote_to_bytes

from deployer.core.text import CUT, ESCAPES, INVISIBLE, clean_text

MASK = "•••"
MIN_LENGTH = 6
"""Characters from which on a value is masked wherever it stands, in every form. Lines of a value count alike."""
SHORT_LENGTH = 4
"""A value of 4 or 5 characters is masked as a word of its own; a shorter one stands in too many words."""
SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)|secret|token|credential|(api|private|access|auth|signing|encryption)[_.-]?key|_dsn$",
    re.IGNORECASE,
)
"""Names whose values are masked although nobody knows them, as in a chart's values or a ConfigMap."""
ACCOUNT_NAME = re.compile(r"(^|_)(user|username|login|db|database|name)$", re.IGNORECASE)
"""Names whose values say who or where, and that are the application's own name by habit."""
_NOT_SECRET = frozenset({"true", "false", "null", "none"})
_MOST_LEVELS = 3
_REMEMBERED_TEXTS, _REMEMBERED_LENGTH = 2000, 4096
_PEM_FRAME = re.compile(r"-{5}(BEGIN|END) [A-Z0-9 ]+-{5}")
URL_PASSWORD = re.compile(r"[A-Za-z][\w+.-]*://[^/\s:@]*:([^/\s]+)@")
"""A URL with a password, which is its only group."""

Span = tuple[int, int]


class Redactor:
    """Calling it returns the text with every known value replaced by `•••`; its repr says how many it knows.

    A value is found as it is written; escaped for a URL, JSON, Go, Python, a shell or HTML, by whichever encoder and
    twice over; in base64 (also wrapped, and within a longer text) and hexadecimal; with terminal control sequences in
    it; and where the text begins or ends within it, from 6 characters on. Values shorter than `SHORT_LENGTH` and the
    words true, false, null and none are left alone.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: frozenset[str] = frozenset()
        self._needles = _Needles(self._values)
        self._masked: dict[str, str] = {}
        self.own_names: frozenset[str] = frozenset()
        """The application's own names, which every output has: no secret where they are those of an account."""
        self.learn(values)

    def learn(self, values: Iterable[str]) -> None:
        """These values are known, too."""
        known = self._values | {value for value in values if _is_secret(value)}
        if known != self._values:
            self._values, self._needles, self._masked = known, _Needles(known), {}

    def learn_keys(self, values: Iterable[tuple[str, str]]) -> None:
        """The values of these keys are known, too, but for own names that are those of an account."""
        self.learn(value for key, value in values if not (value in self.own_names and _is_account(key)))

    def forget(self) -> None:
        """No value is known."""
        self._values, self._needles, self._masked = frozenset(), _Needles(frozenset()), {}
        self.own_names = frozenset()

    def __call__(self, text: str) -> str:
        """The text without any known value in any of its forms."""
        if not self._needles or not text:
            return text
        # Events and statuses are read again and again while they stay the same.
        masked = self._masked.get(text)
        if masked is None:
            masked = self._replaced(text)
            if len(text) <= _REMEMBERED_LENGTH:
                if len(self._masked) >= _REMEMBERED_TEXTS:
                    self._masked.clear()
                self._masked[text] = masked
        return masked

    def _replaced(self, text: str) -> str:
        parts: list[str] = []
        done = 0
        for start, end in _merged(self._needles.spans(text)):
            parts += [text[done:start], MASK]
            done = end
        return "".join([*parts, text[done:]]) if done else text

    def data(self, value: Any) -> Any:
        """The same structure of mappings, lists and scalars, with every text (keys too) masked."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            return {self.data(key): self.data(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(item) for item in value]
        return value

    def __repr__(self) -> str:
        return f"Redactor({len(self._values)} values)"

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a Redactor is not written anywhere: it holds secret values")


def _is_secret(value: str) -> bool:
    return len(value.strip()) >= SHORT_LENGTH and value.strip().lower() not in _NOT_SECRET


def _is_account(key: str) -> bool:
    return ACCOUNT_NAME.search(key) is not None and SECRET_NAME.search(key) is None


def _parts(value: str) -> set[str]:
    """The value, without its white space, its lines when it has several, and the password of a URL."""
    parts = {value, value.strip()}
    if "\n" in value or "\r" in value:
        lines = (line.strip() for line in value.splitlines())
        parts |= {line for line in lines if len(line) >= MIN_LENGTH and not _PEM_FRAME.fullmatch(line)}
    for match in URL_PASSWORD.finditer(value):
        parts |= {password for password in (match[1], unquote(match[1])) if _is_secret(password)}
    return parts


def _forms(parts: set[str]) -> tuple[list[str], list[str], list[str]]:
    """The parts as written and as a text is read once escapes in it are undone, in base64, and in hexadecimal."""
    readings = {reading.text for part in parts for reading in _readings(part)}
    raw = [part.encode("utf-8", "surrogateescape") for part in parts]
    return (
        sorted(form for form in readings if len(form) >= MIN_LENGTH),
        sorted({form for one in raw for form in _base64_forms(one)}),
        sorted({one.hex() for one in raw}),
    )


class _Needles:
    """What is looked for in each of a text's readings."""

    def __init__(self, values: frozenset[str]) -> None:
        parts = {part for value in values for part in _parts(value)}
        long = {part for part in parts if len(part) >= MIN_LENGTH}
        self._plain, self._base64, self._hex = _forms(long)
        # What a cut leaves of a URL may be its scheme or host, which are words of everyday; its password is a part.
        self._cut = _forms({part for part in long if not URL_PASSWORD.search(part)})
        short = {form for part in parts - long for form in (part, *_short_base64(part))}
        words = "|".join(map(re.escape, sorted(short, key=len, reverse=True)))
        self._short = re.compile(rf"(?<![A-Za-z0-9_-])(?:{words})(?![A-Za-z0-9_-])") if short else None
        self._some = bool(parts)

    def __bool__(self) -> bool:
        return self._some

    def spans(self, text: str) -> list[Span]:
        """Where values stand in the text."""
        readings = _readings(text)
        found: list[Span] = []
        for level in range(len(readings) - 1, -1, -1):  # what was found in a reading is looked up in the one before it
            found += self._in_reading(readings[level].text)
            if level and found:
                places = _Places(readings[level - 1].text, readings[level].undone)
                found = [places(one) for one in _merged(found)]
        return found

    def _in_reading(self, text: str) -> Iterator[Span]:
        yield from _occurrences(text, self._plain)
        yield from _at_cuts(text, self._plain_index)
        if self._short is not None:
            yield from (match.span() for match in self._short.finditer(text))
        packed = text.translate(_SEPARATORS)
        lower = packed.lower()
        spans = [*_occurrences(packed, self._base64), *_at_cuts(packed, self._base64_index)]
        hexes = [*_occurrences(lower, self._hex), *_at_cuts(lower, self._hex_index)]
        if spans or hexes:
            kept = [place for place, one in enumerate(text) if ord(one) not in _SEPARATORS]
            yield from (_around(text, kept[start], kept[end - 1] + 1) for start, end in spans)
            yield from ((kept[start], kept[end - 1] + 1) for start, end in hexes)

    @cached_property
    def _plain_index(self) -> _Index:
        return _index(self._cut[0])

    @cached_property
    def _base64_index(self) -> _Index:
        return _index(self._cut[1])

    @cached_property
    def _hex_index(self) -> _Index:
        return _index(self._cut[2])


# --- A text's readings: as it is, and with its escapes undone, one level after the other

_HIDING = re.compile(rf"(?P<removed>{ESCAPES}|{INVISIBLE})")
_ESCAPED = re.compile(
    r"(?P<url>(?:%[0-9A-Fa-f]{2})+)"
    r"|(?P<bytes>(?:\\x[0-9A-Fa-f]{2}|\\[0-3][0-7]{2})+)"
    r"|(?P<utf16>(?:\\u[0-9A-Fa-f]{4})+)"
    r"|\\u\{(?P<brace>[0-9A-Fa-f]{1,6})\}|\\U(?P<utf32>[0-9A-Fa-f]{8})"
    r"|(?P<html>&(?:\#[0-9]{1,7}|\#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});)"
    r"|(?P<quote>'\"'\"'|'\\''|'')|(?P<doubled>\"\")"
    r"|\\(?P<letter>[^\nxuU0-9])|(?P<plus>\+)"
)
_MAY_HIDE, _MAY_BE_ESCAPED = re.compile(INVISIBLE), re.compile(r"[%\\&'\"+]")
"""A text without these is read as it is: they are found ten times as fast."""
_LETTERS = {"n": "\n", "t": "\t", "r": "", "b": "", "f": "", "v": "", "a": "", "e": ""}
_UNDONE: dict[str, Callable[[str], str]] = {
    "removed": lambda _: "",
    "url": lambda text: _decoded(unquote_to_bytes(text)),
    "bytes": lambda text: _decoded(bytes(int(one[1:], 16) if one[0] == "x" else int(one, 8)
                                         for one in text.split("\\")[1:])),
    "utf16": lambda text: bytes.fromhex(text.replace("\\u", "")).decode("utf-16-be", "replace"),
    "brace": lambda text: _character(int(text, 16)),
    "utf32": lambda text: _character(int(text, 16)),
    "html": html.unescape,
    "quote": lambda _: "'",
    "doubled": lambda _: '"',
    "letter": lambda text: _LETTERS.get(text, text),
    "plus": lambda _: " ",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Reading:
    """A text, and the pattern of what was undone in the reading before it."""

    text: str
    undone: re.Pattern[str] = _HIDING


def _readings(text: str) -> list[_Reading]:
    """The text, then each time without what hides and with one more level of escapes undone, until none is left."""
    readings = [_Reading(text)]
    for pattern, sign in ((_HIDING, _MAY_HIDE), (_ESCAPED, _MAY_BE_ESCAPED)) * _MOST_LEVELS:
        before = readings[-1].text
        if sign.search(before) and (undone := pattern.sub(_undone, before)) != before:
            readings.append(_Reading(undone, pattern))
        elif pattern is _ESCAPED:
            break
    return readings


def _undone(match: re.Match[str]) -> str:
    kind = match.lastgroup or ""
    return _UNDONE[kind](match[kind])


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _character(code: int) -> str:
    return chr(code) if code < 0x110000 else ""


class _Places:
    """Where in a text each character of its next reading comes from."""

    def __init__(self, text: str, pattern: re.Pattern[str]) -> None:
        # Of each stretch that is read as it stands, and of each escape: its begin in the reading and in the text.
        self._read, self._begin, self._end = [0], [0], [0]
        at = done = 0
        for match in pattern.finditer(text):
            at += match.start() - done
            undone = _undone(match)
            self._add(at, match.start(), match.end())
            at, done = at + len(undone), match.end()
            self._add(at, done, done)

    def _add(self, read: int, begin: int, end: int) -> None:
        self._read.append(read)
        self._begin.append(begin)
        self._end.append(end)

    def __call__(self, span: Span) -> Span:
        """The part of the text that is read as this part of its reading."""
        first = bisect_left(self._read, span[0] + 1) - 1
        last = bisect_left(self._read, span[1]) - 1
        return self._place(first, span[0])[0], self._place(last, span[1] - 1)[1]

    def _place(self, stretch: int, at: int) -> Span:
        """Begin and end in the text of what is read at that place."""
        if self._end[stretch] > self._begin[stretch]:
            return self._begin[stretch], self._end[stretch]
        begin = self._begin[stretch] + at - self._read[stretch]
        return begin, begin + 1


# --- Base64 and hexadecimal: without what separates or wraps them, and what differs between alphabets

_SEPARATORS: dict[int, None] = dict.fromkeys(map(ord, " \t\n\r+/-_=:"))
_IN_BASE64 = re.compile(r"[A-Za-z0-9+/_-]")


def _base64_forms(raw: bytes) -> Iterator[str]:
    """The characters that the value leaves in base64 of a text around it: there are three alignments."""
    # base64("user:<value>"): characters that hold a neighbour's bits as well are left out, and masked by `_around`.
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        text = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        core = text[first : (shift + len(raw)) * 8 // 6].translate(_SEPARATORS)
        if len(core) >= MIN_LENGTH - 1:
            yield core


def _short_base64(value: str) -> Iterator[str]:
    raw = value.encode("utf-8", "surrogateescape")
    yield from (encode(raw).decode() for encode in (base64.b64encode, base64.urlsafe_b64encode))
    yield base64.b64encode(raw).decode().rstrip("=")


def _around(text: str, start: int, end: int) -> Span:
    """With the character on either side that holds some of the value's bits, and the padding."""
    start -= start > 0 and _IN_BASE64.match(text, start - 1) is not None
    end += _IN_BASE64.match(text, end) is not None
    while text.startswith("=", end):
        end += 1
    return start, end


# --- Finding


def _occurrences(text: str, needles: Sequence[str]) -> Iterator[Span]:
    for needle in needles:
        start = text.find(needle)
        while start >= 0:
            yield start, start + len(needle)
            start = text.find(needle, start + 1)


_Index = dict[str, list[tuple[str, int]]]
_ELLIPSIS = re.compile(rf"\.{{3,}}|{CUT}")
# The cut may have gone through an escape, of which some characters are left, and the text may be quoted.
_LEFT = 14
_LEFT_AT_BEGIN = re.compile(r"[\s\"'`]*|[ux\\]?\{?[0-9A-Fa-f]{1,8}\}?(?:\[[0-9;]*m)?|#?\w{0,10};|\[?[0-9;]*m")
_LEFT_AT_END = re.compile(r"[\s\"'`]*|%[0-9A-Fa-f]?|\\.{0,9}|&[#\w]{0,10}|\x1b?\[?[0-9;]*")


def _index(needles: Sequence[str]) -> _Index:
    """Every 6 characters of the needles, with where they stand."""
    index: _Index = {}
    for needle in needles:
        for place in range(len(needle) - MIN_LENGTH + 1):
            index.setdefault(needle[place : place + MIN_LENGTH], []).append((needle, place))
    return index


def _at_cuts(text: str, index: _Index) -> Iterator[Span]:
    """Where the text, or a stretch of it between ellipses, begins or ends within a needle."""
    for start, end in _stretches(text):
        for first in range(start, min(start + _LEFT, end - MIN_LENGTH + 1)):
            for needle, place in index.get(text[first : first + MIN_LENGTH], ()):
                last = first + _alike(text[first:end], needle[place:])
                whole = last - first == len(needle) - place or _LEFT_AT_END.fullmatch(text, last, end)
                if whole and _LEFT_AT_BEGIN.fullmatch(text, start, first):
                    yield first, last
        for last in range(end, max(end - _LEFT, start + MIN_LENGTH - 1), -1):
            for needle, place in index.get(text[last - MIN_LENGTH : last], ()):
                length = _alike(text[start:last][::-1], needle[: place + MIN_LENGTH][::-1])
                if length == place + MIN_LENGTH and _LEFT_AT_END.fullmatch(text, last, end):
                    yield last - length, last


def _stretches(text: str) -> Iterator[Span]:
    begin = 0
    for cut in _ELLIPSIS.finditer(text) if "..." in text or CUT in text else ():
        yield begin, cut.start()
        begin = cut.end()
    yield begin, len(text)


def _alike(one: str, other: str) -> int:
    """How many characters both begin with."""
    shorter = min(len(one), len(other))
    return next((place for place in range(shorter) if one[place] != other[place]), shorter)


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    """The spans in order, those that touch or overlap as one."""
    open_span: Span | None = None
    for start, end in sorted(spans):
        if open_span is not None and start <= open_span[1]:
            open_span = open_span[0], max(open_span[1], end)
            continue
        if open_span is not None:
            yield open_span
        open_span = start, end
    if open_span is not None:
        yield open_span


KNOWN = Redactor()
"""Knows every secret value that this process has read: what is secret is a fact of the process, not of one call."""


T = TypeVar("T")


def masked(value: T) -> T:
    """The value with every known secret value in its texts masked, whatever it is made of."""
    made: Any = value
    if isinstance(value, str):
        made = KNOWN(value)
    elif isinstance(value, tuple):
        made = tuple(masked(item) for item in value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type | Enum):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        fresh = {name: masked(item) for name, item in fields.items()}
        made = value if fresh == fields else dataclasses.replace(value, **fresh)
    return made  # type: ignore[no-any-return]


def foreign(text: object) -> str:
    """The text without known secret values, terminal control sequences and invisible characters; not cut."""
    return clean_text(KNOWN(str(text)))
