"""What the codes mean, and links to it: a terminal that can show links leads from a code to its entry."""

from __future__ import annotations

import functools
import html
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Literal

from deployer.core.errors import Problem
from deployer.core.files import cache_folder, write_private
from deployer.ui.words import Severity, problem_lines

_CODES = Path(__file__).with_name("codes.md")
_PRINTED = re.compile(r"(?:(?<=^error\[)|(?<=^warning\[)|(?<=^advice\[)|(?<=^note\[)|(?<=: todo-deploy help ))\w+")
_STYLE = "<style>:root{color-scheme:light dark}body{font:16px/1.5 sans-serif;max-width:48em;margin:auto}</style>"


@functools.cache
def every_code() -> dict[str, str]:
    """The text of every code, as Markdown, in the order of the alphabet."""
    parts = re.split(r"^## (\S+)\n", _CODES.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {code: text.strip() for code, text in zip(parts[::2], parts[1::2], strict=True)}


def entry_of(code: str) -> str:
    """The code whose entry explains this one: reasons of the API server share one."""
    return "API_STATUS" if code not in every_code() and code.startswith("API_") else code


def address(code: str) -> str:
    """Where the code is explained; empty where there is no entry, or no page of them."""
    entry = entry_of(code)
    page = _page() if entry in every_code() else ""
    return f"{page}#{entry}" if page else ""


def linked(line: str) -> str:
    """The line of a problem whose code is a link to its entry (OSC 8)."""

    def link(code: re.Match[str]) -> str:
        target = address(code[0])
        return f"\x1b]8;;{target}\x1b\\{code[0]}\x1b]8;;\x1b\\" if target else code[0]

    return _PRINTED.sub(link, line)


def print_problems(problems: Iterable[Problem], severity: Severity | Literal["advice"] = "error") -> None:
    """Standard error has the problems; their codes are links where it is a terminal that can show them."""
    can_link = False
    if sys.stderr.isatty():
        from deployer.ui.console import make_console, shows_links

        can_link = shows_links(make_console(sys.stderr, os.environ))
    with suppress(BrokenPipeError):  # that nobody reads them does not change how a run ended
        for line in problem_lines(problems, severity):
            print(linked(line) if can_link else line, file=sys.stderr)


@functools.cache
def _page() -> str:
    """The address of the page with every entry: in the documentation where the package names its address, else a file
    in the cache folder, which is made of the same text; empty where the terminal is not of this machine."""
    with suppress(PackageNotFoundError):
        for one in metadata("todo-deploy").get_all("Project-URL") or ():
            name, _, url = one.partition(", ")
            if name == "Documentation":
                return f"{url.rstrip('/')}/reference/codes/"
    if "SSH_CONNECTION" in os.environ:
        return ""
    entries = "\n".join(f'<h2 id="{code}">{code}</h2>\n{_as_html(text)}' for code, text in every_code().items())
    page = f"<!doctype html>\n<meta charset=utf-8>\n<title>Codes of todo-deploy</title>\n{_STYLE}\n{entries}\n"
    path = cache_folder() / f"codes-{sha256(page.encode()).hexdigest()[:12]}.html"
    try:
        if not path.exists():
            write_private(path, page)
            for other in {*path.parent.glob("codes-*.html")} - {path}:  # of another version
                other.unlink(missing_ok=True)
    except OSError:
        return ""
    return path.as_uri()


def _as_html(text: str) -> str:
    """An entry's Markdown as HTML: paragraphs, blocks, code and emphasis are all that entries use."""
    text = re.sub(
        r"^```\w*\n(.*?)^```$", r"<pre>\1</pre>", html.escape(text, quote=False), flags=re.DOTALL | re.MULTILINE
    )
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text))
    return re.sub(r"\n\n+(?!<pre>)", "\n<p>", f"<p>{text}")
