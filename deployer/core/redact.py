"""Secret values taken out of any text: as they are, and as base64, URL, JSON and shell write them."""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus, unquote

MASK = "•••"
# Shorter values stand in too many words to be taken out; so do these, which are nobody's secret.
MIN_LENGTH = 4
_NOT_SECRET = frozenset({"true", "false", "null", "none"})
_MIN_LINE = 8
_MIN_BASE64_CORE = 8
_PEM_FRAME = re.compile(r"-{5}(BEGIN|END) [A-Z0-9 ]+-{5}")
_URL_PASSWORD = re.compile(r"[A-Za-z][\w+.-]*://[^/\s:@]*:([^/\s]+)@")


class Redactor:
    """Calling it returns the text with every known value replaced by `•••`; its repr tells how many it knows.

    Values shorter than four characters and the words true, false, null and none are left alone.
    """

    __slots__ = ("_pattern", "_probe", "_values")

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values = frozenset(value for value in values if _is_secret(value))
        forms = sorted({form for value in self._values for form in _forms(value)}, key=lambda form: (-len(form), form))
        alternatives = "|".join(map(re.escape, forms))
        self._probe = re.compile(alternatives) if forms else None
        # A lookahead finds values that overlap each other as well; their spans are merged.
        self._pattern = re.compile(f"(?=({alternatives}))") if forms else None

    def __call__(self, text: str) -> str:
        """The text without any known value in any of its forms."""
        if self._probe is None or self._pattern is None or self._probe.search(text) is None:
            return text
        parts: list[str] = []
        done = start = end = 0
        for match in self._pattern.finditer(text):
            if match.start(1) > end or end == 0:
                if end:
                    parts += [text[done:start], MASK]
                    done = end
                start = match.start(1)
            end = max(end, match.end(1))
        return "".join([*parts, text[done:start], MASK, text[end:]])

    def data(self, value: Any) -> Any:
        """The same structure of maps, lists and scalars, with every text (keys too) redacted."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            return {self.data(key): self.data(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.data(item) for item in value]
        return value

    def also(self, values: Iterable[str]) -> Redactor:
        """A redactor that knows these values besides its own."""
        return Redactor((*self._values, *values))

    def __repr__(self) -> str:
        return f"Redactor({len(self._values)} values)"

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a Redactor is not written anywhere: it holds secret values")


def _is_secret(value: str) -> bool:
    return len(value.strip()) >= MIN_LENGTH and value.strip().lower() not in _NOT_SECRET


def _forms(value: str) -> set[str]:
    forms: set[str] = set()
    for part in _parts(value):
        forms |= {part, repr(part)[1:-1]}
        for ascii_only in (False, True):
            escaped = json.dumps(part, ensure_ascii=ascii_only)[1:-1]
            forms |= {escaped, json.dumps(escaped, ensure_ascii=ascii_only)[1:-1]}  # JSON within JSON, too
        forms |= {shlex.quote(part)[1:-1]} if shlex.quote(part) != part else set()
        for encoded in (quote(part, safe=""), quote(part), quote_plus(part)):
            forms |= {encoded, re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), encoded)}
        forms |= _base64_forms(part.encode("utf-8", "surrogateescape"))
    return {form for form in forms if len(form) >= MIN_LENGTH}


def _parts(value: str) -> set[str]:
    """The value, without its white space, its lines when it has several, and the password of a URL."""
    parts = {value, value.strip()}
    if "\n" in value or "\r" in value:
        lines = (line.strip() for line in value.splitlines())
        parts |= {line for line in lines if len(line) >= _MIN_LINE and not _PEM_FRAME.fullmatch(line)}
    for match in _URL_PASSWORD.finditer(value):
        parts |= {password for password in (match[1], unquote(match[1])) if _is_secret(password)}
    return parts


def _base64_forms(raw: bytes) -> set[str]:
    """Base64 of the value alone, and the characters that it leaves in base64 of a text around it."""
    forms: set[str] = set()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(raw).decode()
        forms |= {whole, whole.rstrip("=")}
        # base64("user:<value>"): three alignments; characters that also hold a neighbour's bits are left out.
        for shift, first in ((0, 0), (1, 2), (2, 3)):
            text = encode(b"\0" * shift + raw).decode().rstrip("=")
            core = text[first : (shift + len(raw)) * 8 // 6]
            forms |= {core} if len(core) >= _MIN_BASE64_CORE else set()
    return forms
