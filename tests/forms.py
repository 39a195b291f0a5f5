"""Secret values in every form that a program may print them in, and what of them a reader of a text still sees."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import textwrap
from collections.abc import Callable
from functools import cache
from urllib.parse import quote, quote_plus

from deployer.core.redact import MIN_LENGTH
from deployer.core.text import clean_text


def _component(value: str) -> str:
    """JavaScript's encodeURIComponent."""
    return quote(value, safe="!~*'()")


def _lower_hex(text: str) -> str:
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


def shown(value: str, text: str) -> list[str]:
    """Parts of the value, 6 characters long, that stand in the text, encoded or not."""
    plain = clean_text(text)
    return [part for part, forms in _forms_of_parts(value) if any(form in plain for form in forms)]


@cache
def _forms_of_parts(value: str) -> tuple[tuple[str, frozenset[str]], ...]:
    parts = {value[at : at + MIN_LENGTH] for at in range(len(value) - MIN_LENGTH + 1)}
    return tuple((part, frozenset(_forms(part))) for part in parts)


def _forms(part: str) -> set[str]:
    raw = part.encode()
    forms = {part, raw.hex(), quote(part, safe=""), json.dumps(part)[1:-1], html.escape(part)}
    for shift, first in ((0, 0), (1, 2), (2, 3)):
        core = base64.b64encode(b"\0" * shift + raw).decode()[first : (shift + len(raw)) * 8 // 6]
        forms |= {core, core.replace("+", "-").replace("/", "_")}
    return {form for form in forms if len(form) >= MIN_LENGTH}
