"""YAML into plain values, with the line of every key.

Much less than YAML: no anchors, no tags, no second document, no key twice; true and false are the
only truth values ("on" and "no" are text), and what is not clearly a number is text.  What is left
cannot grow when it is read, and means what it seems to mean.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from stmtem_control.errors import ProtocolFileError

MOST_BYTES = 1_000_000
DEEPEST = 12  # levels of nesting; a protocol has six
MOST_VALUES = 50_000
MOST_NAMED = 6  # parts of a path that are told

Path = tuple[str | int, ...]
_INTEGER = re.compile(r"[-+]?(0|[1-9]\d{0,17})")
_NUMBER = re.compile(r"[-+]?(\d{1,30}\.?\d{0,30}|\.\d{1,30})([eE][-+]?\d{1,3})?")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


@dataclass
class Tree:
    """What a file holds.

    Attributes
    ----------
    value : object
        Dicts, lists, text, numbers, truth values and None.
    file : str
        Its name in errors.
    lines : dict
        The line, from 1, of every key and item by its path.
    numbers : dict
        How numbers are written, by path.
    """

    value: Any = None
    file: str = "protocol"
    lines: dict[Path, int] = field(default_factory=dict)
    numbers: dict[Path, str] = field(default_factory=dict)

    def line(self, path: Path) -> int:
        """Return the line of a path, or of the longest part of it that is in the file."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return 0

    def problem(
        self,
        message: str,
        path: Path,
        *,
        line: int = 0,
        found: str = "",
        allowed: str = "",
        nearest: str = "",
    ) -> ProtocolFileError:
        """Return the error that something at a path is wrong."""
        return ProtocolFileError(
            " ".join(message.split()),
            file=self.file,
            line=line or self.line(path),
            key=place_of(path),
            found=found,
            allowed=allowed,
            nearest=nearest,
        )


def read_tree(text: str, file: str) -> Tree:
    """Read a YAML text.

    Parameters
    ----------
    text : str
        Of the file.
    file : str
        Its name in errors.

    Raises
    ------
    ProtocolFileError
        It is no YAML, or uses what is left out here.
    """
    # The import takes as long as a hundred protocols.
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    if len(text) > MOST_BYTES:
        raise ProtocolFileError("longer than a megabyte; this is no protocol", file=file)
    try:
        return _Builder(iter(yaml.parse(text, Loader=loader)), file).build()
    except yaml.YAMLError as error:
        raise _syntax(error, text, file) from None


class _Builder:
    """Builds a tree from the events of a YAML parser."""

    def __init__(self, events: Iterator[Any], file: str) -> None:
        self._events = events
        self._count = 0
        self._tree = Tree(file=file)

    def build(self) -> Tree:
        documents = 0
        for event in self._events:
            if type(event).__name__ == "DocumentStartEvent":
                documents += 1
                if documents > 1:
                    line = event.start_mark.line + 1
                    self._refuse(line, "a second document ('---')", "one protocol in a file")
                self._tree.value = self._node(next(self._events), ())
        return self._tree

    def _node(self, event: Any, path: Path) -> Any:
        line = event.start_mark.line + 1
        self._tree.lines.setdefault(path, line)
        self._count += 1
        name = type(event).__name__
        if name == "AliasEvent" or event.anchor:
            sign = "*" if name == "AliasEvent" else "&"
            what = f"{sign}{event.anchor}"
            self._refuse(line, f"the anchor {what!r}", "write it out; 'repeat' is for cycles", path)
        if event.tag:
            self._refuse(line, f"the tag {event.tag!r}", "plain values only", path)
        if len(path) > DEEPEST or self._count > MOST_VALUES:
            self._refuse(line, "more than any protocol holds", "fewer, less nested values", path)
        if name == "ScalarEvent":
            if event.style not in (None, ""):
                return event.value
            value = plain_value(event.value)
            if isinstance(value, int | float) and not isinstance(value, bool):
                self._tree.numbers[path] = event.value
            return value
        if name == "SequenceStartEvent":
            return self._sequence(path)
        return self._mapping(path)

    def _sequence(self, path: Path) -> list[Any]:
        found: list[Any] = []
        while type(event := next(self._events)).__name__ != "SequenceEndEvent":
            found.append(self._node(event, (*path, len(found))))
        return found

    def _mapping(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while type(event := next(self._events)).__name__ != "MappingEndEvent":
            line = event.start_mark.line + 1
            if type(event).__name__ != "ScalarEvent":
                self._refuse(line, "a key that is no word", "keys are words", path)
            key = event.value
            if key == "<<":
                self._refuse(line, "the merge key '<<'", "write it out", path)
            here = (*path, key)
            if key in found:
                first = self._tree.lines[here]
                raise self._tree.problem(
                    f"the same key is on line {first} already; keep one", here, line=line
                )
            self._tree.lines[here] = line
            found[key] = self._node(next(self._events), here)
        return found

    def _refuse(self, line: int, found: str, allowed: str, path: Path = ()) -> None:
        raise self._tree.problem(
            f"found {found}; {allowed}", path, line=line, found=found, allowed=allowed
        )


def plain_value(text: str) -> Any:
    """Return the value of a word without quotes."""
    if text.lower() in _WORDS and (text == text.lower() or text in ("True", "False")):
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and not re.fullmatch(r"[-+]?0\d+", text):
        return float(text)
    return text


def place_of(path: Path) -> str:
    """Return a path in words: ``("steps", 2, "deposit", "bias")`` is "step 3, deposit, bias"."""
    parts: list[str] = []
    for part in path[:MOST_NAMED]:
        if isinstance(part, str):
            parts.append(part if len(part) <= 40 else part[:37] + "...")
        elif len(parts) == 1 and parts[0] == "steps":
            parts = [f"step {part + 1}"]
        else:
            parts.append(f"item {part + 1}")
    return ", ".join(" ".join(part.split()) for part in parts if part.strip())


def _syntax(error: Any, text: str, file: str) -> ProtocolFileError:
    """Return what a YAML parser found, in one line."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    begun = getattr(error, "context_mark", None)
    if "end of stream" in problem and begun is not None:
        mark, problem = begun, "what begins here has no end"
    lines = text.splitlines()
    line = min(mark.line + 1, len(lines)) if mark is not None else 0
    position = getattr(error, "position", None)
    if mark is None and isinstance(position, int):
        line = text.count("\n", 0, position) + 1
    here = lines[line - 1] if 0 < line <= len(lines) else ""
    hint = "look at indentation, colons and quotes here and in the line before"
    if "characters are not allowed" in problem or "special characters" in problem:
        hint = "take out what an editor does not show"
    elif "\t" in here:
        hint = "indent with spaces, not with tabs"
    elif re.search(r"[:,{\[]\s*>", here):
        hint = "put a comparison with '>' in quotes, or write 'above'"
    elif re.search(r"[:,{\[]\s*[@`%]", here):
        hint = "put the value in quotes"
    elif re.search(r":\s*\S.*:\s", here):
        hint = "put text that has a colon in quotes"
    return ProtocolFileError(
        f"no YAML: {' '.join(problem.split())}; {hint}", file=file, line=line, allowed=hint
    )
