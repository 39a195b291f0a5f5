"""A small grammar for task sentences: `parse` turns a message into a command, `resolve` finds the meant tasks.

Both are pure. The grammar serves when no language model is configured, and when one fails.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar


@dataclass(frozen=True)
class Add:
    title: str
    description: str | None = None


@dataclass(frozen=True)
class Show:
    """List tasks: all (None), completed (True) or open (False) ones."""

    completed: bool | None = None


@dataclass(frozen=True)
class Mark:
    """Complete the meant tasks, or open them again."""

    reference: str
    completed: bool = True


@dataclass(frozen=True)
class Delete:
    reference: str


@dataclass(frozen=True)
class Help:
    """`understood` is false when the message fitted nothing."""

    understood: bool = True


Command = Add | Show | Mark | Delete | Help

_TASK = r"(?:tasks?|to-?dos?|items?|reminders?)"
_MY_LIST = rf"(?:my|the|our)\s+(?:(?:to-?do|task|shopping)\s+)?(?:list|{_TASK})"
_DONE = r"(?:done|completed?|finished|ready)"
_OPEN = r"(?:not\s+(?:yet\s+)?(?:done|completed?|finished)|undone|incomplete|unfinished|open|pending|to-?do)"
_COMPLETED_WORDS = re.compile(rf"(?<!not )(?<!not yet )\b{_DONE}\b", re.I)
_OPEN_WORDS = re.compile(rf"\b(?:{_OPEN}|remaining|outstanding|left)\b", re.I)
_POLITE = re.compile(
    r"^(?:(?:hi|hello|hey|ok|okay|so|and|then|now|also|please|kindly|just)\b[\s,!.]*"
    r"|(?:can|could|would|will)\s+you\s+(?:please\s+)?"
    r"|i(?:'d|\s+would)\s+like\s+(?:you\s+)?to\s+(?=add|create|list|show|see|mark|complete|delete|remove)"
    r"|i\s+want\s+(?:you\s+)?to\s+(?=add|create|list|show|see|mark|complete|delete|remove))+",
    re.I,
)
_THANKS = re.compile(r"[\s,]*\b(?:please|thanks|thank\s+you)\s*$", re.I)


def _rule(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"^{pattern}$", re.I | re.S)


_HELP = _rule(r"(?:help(?:\s+me)?|what\s+can\s+(?:you|i)\s+(?:do|say)|how\s+does\s+(?:this|it)\s+work)?")
_SHOW = (
    _rule(rf"(?:list|show|see|view|display|get(?!\s+rid)|read|give\s+me|print)\b(?:\s+me)?(?P<what>.*?\b(?:list|{_TASK})\b.*)"),
    _rule(r"(?:list|show)(?:\s+me)?(?P<what>(?:\s+(?:all|everything|it|them))?)"),
    _rule(rf"(?:what|which|do|how\s+many)\b(?P<what>.*\b(?:list|{_TASK})\b.*)"),
    _rule(r"what(?P<what>(?:'s|\s+is|\s+are|\s+do\s+i|\s+have\s+i|\s+did\s+i|\s+should\s+i)\b.*"
          r"\b(?:do|done|left|open|pending|remaining|finish(?:ed)?|complete[d]?))"),
    _rule(rf"(?P<what>(?:(?:all|my|the|open|pending|done|completed|finished)\s+)*(?:list|{_TASK}))"),
)  # fmt: skip
_MARK_OPEN = (
    _rule(rf"(?:mark|set|make|flag)\s+(?P<ref>.+?)\s+(?:as\s+|to\s+)?{_OPEN}(?:\s+again)?"),
    _rule(r"(?:re-?open|un-?complete|un-?do|un-?check|un-?mark|un-?tick)\s+(?P<ref>.+)"),
    _rule(r"i\s+(?:have\s+not|haven't|did\s+not|didn't)\s+(?:yet\s+)?(?:finish(?:ed)?|complete[d]?|do|done)\s+(?P<ref>.+)"),
)  # fmt: skip
_MARK_DONE = (
    _rule(rf"(?:mark|set|make|flag|check|tick)\s+(?P<ref>.+?)\s+(?:as\s+|to\s+)?{_DONE}"),
    _rule(r"(?:mark|check|tick|cross)\s+off\s+(?P<ref>.+)"),
    _rule(r"(?:check|tick|cross)\s+(?P<ref>.+?)\s+off(?:\s+.*list)?"),
    _rule(r"(?:complete|finish|close|done(?:\s+with)?|finished(?:\s+with)?|completed)[\s:]+(?P<ref>.+)"),
    _rule(r"i(?:'ve|\s+have|\s+am|'m)?\s+(?:just\s+|already\s+)?(?:finished|completed|done|did)(?:\s+with)?\s+(?P<ref>.+)"),
)  # fmt: skip
_IS_OPEN = (
    _rule(
        rf"(?P<ref>.+?)\s*\b(?:(?:is|are)\s+(?:still\s+)?{_OPEN}(?:\s+again)?|(?:isn't|aren't)\s+{_DONE}(?:\s+yet)?)"
    ),
)
_IS_DONE = (_rule(rf"(?P<ref>.+?)\s+(?:is|are|has\s+been|have\s+been)\s+(?:now\s+|already\s+)?{_DONE}(?:\s+now)?"),)
_DELETE = (
    _rule(r"(?:delete|remove|erase|drop|cancel|clear|discard|forget(?:\s+about)?|get\s+rid\s+of|throw\s+away)\s+(?P<ref>.+)"),
)  # fmt: skip
_ADD = (
    _rule(rf"(?:add|create|make|put|insert|new|note|write\s+down|set\s+up)\s+(?:(?:a|an|the|another|one)\s+)?"
          rf"(?:new\s+)?(?:{_TASK}\b)(?:\s+(?:called|named|titled|saying|for|that\s+says|to(?!\s+{_MY_LIST})))?[\s:,-]+(?P<title>.+)"),
    _rule(r"(?:add|create|put|insert|note|write\s+down|new)[\s:]+(?P<title>.+)"),
    _rule(r"remind\s+me\s+(?:to|about|of|that)\s+(?P<title>.+)"),
    _rule(r"(?:don'?t|do\s+not)\s+(?:let\s+me\s+)?forget\s+(?:to|about)?\s*(?P<title>.+)"),
    _rule(r"remember\s+(?:to\s+)?(?P<title>.+)"),
    _rule(r"i(?:'ve|\s+have)?\s+(?:need|must|should|ought|got|want|have)\s+to\s+(?P<title>.+)"),
    _rule(r"i\s+(?:must|should)\s+(?P<title>.+)"),
    _rule(r"(?:task|to-?do|reminder)\s*:\s*(?P<title>.+)"),
)  # fmt: skip
_DESCRIPTION = re.compile(
    r"[\s,;]+with\s+(?:the\s+|a\s+)?(?:description|note|details?)[\s:]+(?P<description>.+)$", re.I | re.S
)
_TO_MY_LIST = re.compile(rf"\s+(?:to|on|onto|in|into|from|off|of)\s+{_MY_LIST}$", re.I)
_QUOTES = "\"'“”‘’«»`"


def parse(message: str) -> Command:
    """The command that `message` expresses; Help(understood=False) when it expresses none."""
    text = " ".join(message.replace("’", "'").split())
    text = _THANKS.sub("", text.rstrip(" .!?"))
    text = _POLITE.sub("", text).rstrip(" .!?,")
    if _HELP.match(text):
        return Help()
    for rule in _SHOW:
        if match := rule.match(text):
            return Show(_which(match["what"]))
    for rule in _DELETE:
        if (match := rule.match(text)) and (reference := _reference(match["ref"])):
            return Delete(reference)
    # "not done" is tried before "done"; statements ("the oven is done") after orders ("add: see if the oven is done").
    return (
        _mark(_MARK_OPEN, text, False)
        or _mark(_MARK_DONE, text, True)
        or _add(text)
        or _mark(_IS_OPEN, text, False)
        or _mark(_IS_DONE, text, True)
        or Help(understood=False)
    )


class Titled(Protocol):
    """What `resolve` has to know of a task."""

    @property
    def title(self) -> str: ...
    @property
    def completed(self) -> bool: ...


T = TypeVar("T", bound=Titled)


_NUMBERS = {word: n for n, word in enumerate(
    "first second third fourth fifth sixth seventh eighth ninth tenth".split(), start=1)}  # fmt: skip
_NUMBERS |= {word: n for n, word in enumerate("one two three four five six seven eight nine ten".split(), start=1)}
_NOISE = re.compile(rf"^(?:(?:the|my|a|an|number|no|nr|{_TASK})\b[.\s:]*|#\s*)+", re.I)
_ALL = re.compile(
    rf"^(?:all|every|everything|each)\b(?:\s+of)?(?:\s+(?:my|the))?(?:\s+(?P<which>.+?))??(?:\s*{_TASK})?(?:\s+(?:that\s+are|which\s+are)\s+(?P<that>.+))?$",
    re.I,
)
_KIND = re.compile(rf"^(?:my\s+|the\s+)*(?P<which>{_DONE}|{_OPEN})\s+(?:tasks|to-?dos|items|reminders|ones)$", re.I)


def resolve(reference: str, tasks: Sequence[T]) -> list[T]:
    """The tasks that `reference` may mean: none, the one, or all when it says all or is ambiguous.

    Tried in this order, first hit wins: "all …", the whole title, a number of the list, "last", then
    a title that begins with, contains, or has all the words of the reference.
    """
    if (group := _group(reference, tasks)) is not None:
        return group
    wanted = reference.strip(_QUOTES + " ").casefold()
    bare = _NOISE.sub("", wanted).strip(_QUOTES + " ")
    for text in (wanted, bare):
        if exact := [task for task in tasks if task.title.casefold() == text]:
            return exact
    number = bare.removesuffix(" one").removesuffix(" task").removesuffix(" item").rstrip(".")
    if number in ("last", "latest", "newest", "most recent"):
        return list(tasks[-1:])
    index = int(number) if number.isascii() and number.isdigit() and len(number) < 6 else _NUMBERS.get(number)
    if index is not None:
        return list(tasks[index - 1 : index]) if index else []
    bare = bare.removesuffix(" task")
    if not bare:
        return []
    words = set(re.findall(r"\w+", bare))
    return (
        [task for task in tasks if task.title.casefold().startswith(bare)]
        or [task for task in tasks if bare in task.title.casefold()]
        or [task for task in tasks if words and words <= set(re.findall(r"\w+", task.title.casefold()))]
    )


def is_group(reference: str) -> bool:
    """Whether `reference` asks for several tasks at once, so that several matches are no ambiguity."""
    return _group(reference, ()) is not None


def _group(reference: str, tasks: Sequence[T]) -> list[T] | None:
    """The tasks of a group reference ("all", "all done tasks", "completed tasks"), or None if it is not one."""
    match = _KIND.match(reference) or _ALL.match(reference)
    if match is None:
        return None
    found = match.groupdict()
    which = found.get("which") or found.get("that")
    if which is None:
        return list(tasks)
    state = _which(which)
    return None if state is None else [task for task in tasks if task.completed == state]


def _which(what: str) -> bool | None:
    """Which tasks a listing asks for: completed, open, or (None) all."""
    if re.search(r"\b(?:have|need)\s+to\s+do\b|\bshould\s+i\s+do\b|\bto\s+do$", what, re.I) or _OPEN_WORDS.search(what):
        # "my todo list" names the list, not its open part.
        return None if re.search(r"\bto-?do\s+(?:list|items?|tasks?)\b", what, re.I) else False
    return True if _COMPLETED_WORDS.search(what) else None


def _reference(text: str) -> str:
    return _TO_MY_LIST.sub("", text).strip(" :,")


def _mark(rules: Sequence[re.Pattern[str]], text: str, completed: bool) -> Mark | None:
    for rule in rules:
        if (match := rule.match(text)) and (reference := _reference(match["ref"])):
            return Mark(reference, completed)
    return None


def _add(text: str) -> Add | None:
    match = next(filter(None, (rule.match(text) for rule in _ADD)), None)
    if match is None:
        return None
    title, description = match["title"], None
    if found := _DESCRIPTION.search(title):
        title, description = title[: found.start()], found["description"].strip(_QUOTES + " ")
    title = _TO_MY_LIST.sub("", title.strip()).strip(" :,")
    if len(title) > 1 and title[0] in _QUOTES and title[-1] in _QUOTES:
        title = title[1:-1].strip()
    return Add(title, description or None) if title else None
