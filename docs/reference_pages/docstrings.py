"""Docstrings in numpydoc's form, as Markdown."""

import inspect
import json
import re
from collections.abc import Sequence
from typing import Any

SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}\n", re.MULTILINE)


def inline(text: str) -> str:
    """Return the inline markup of reST as Markdown: roles and literals become code."""
    text = re.sub(r":\w+:`~?\.?([^`<]+)`", lambda found: f"`{found[1].split('.')[-1]}`", text)
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    return re.sub(r"(?<=[.:;])  (?=\S)", " ", text)


def literal(value: object) -> str:
    """Return a default as ruff's formatter leaves it: text in double quotes, a class by name."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return str(getattr(value, "__name__", repr(value)))


def split(text: str) -> dict[str, str]:
    """Return a docstring's sections by name; what comes before the first is named ""."""
    parts = SECTION.split(text)
    return {"": parts[0].strip()} | {
        name: body.strip("\n") for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def entries(body: str) -> list[tuple[str, str, str]]:
    """Return name, type and meaning of each entry of a section."""
    found: list[tuple[str, str, str]] = []
    for line in body.splitlines():
        if line and not line.startswith(" "):
            name, _, kind = line.partition(" : ")
            found.append((name.strip(), kind.strip(), ""))
        elif found and line.strip():
            name, kind, about = found[-1]
            found[-1] = (name, kind, f"{about} {line.strip()}".strip())
    return found


def paragraphs(text: str) -> str:
    """Return running text with each paragraph on one line, and literal blocks as code blocks."""
    blocks = []
    for block in re.split(r"\n\s*\n", text):
        if block.startswith("    "):
            blocks.append(f"```\n{inspect.cleandoc(block)}\n```")
        else:
            joined = " ".join(line.strip() for line in block.splitlines())
            blocks.append(inline(joined.removesuffix("::") + ":" * joined.endswith("::")))
    return "\n\n".join(blocks)


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _code(names: str) -> str:
    return ", ".join(f"`{name.strip()}`" for name in names.split(","))


def as_markdown(text: str, signature: inspect.Signature | None = None) -> str:
    """Return a docstring as Markdown: text, a table of the parameters, the errors.

    Parameters
    ----------
    text : str
        The docstring, cleaned.
    signature : Signature, optional
        Gives the defaults of the parameters; without it they are left out.
    """
    sections = split(text)
    parts = [paragraphs(sections[""])]
    defaults: dict[str, Any] = {}
    if signature is not None:
        defaults = {
            name: parameter.default
            for name, parameter in signature.parameters.items()
            if parameter.default is not inspect.Parameter.empty
        }
    if signature is not None and "Parameters" in sections:
        rows: list[tuple[str, ...]] = []
        for names, kind, about in entries(sections["Parameters"]):
            given = [
                defaults[name.strip()] for name in names.split(",") if name.strip() in defaults
            ]
            shown = ", ".join(f"`{literal(value)}`" for value in given if value is not None)
            rows.append((_code(names), inline(kind), shown, inline(about)))
        parts.append(table(("parameter", "type", "default", "meaning"), rows))
    for section, named in (("Attributes", "attribute"), ("Returns", "returns")):
        if section in sections:
            rows = [
                (_code(names), inline(about))
                if section == "Attributes" and not kind
                else (_code(names), inline(f"{kind}: {about}" if kind and about else kind or about))
                for names, kind, about in entries(sections[section])
            ]
            parts.append(table((named, "meaning"), rows))
    if "Raises" in sections:
        parts += [
            f"*Raises* {_code(names)}: {inline(about)}"
            for names, _, about in entries(sections["Raises"])
        ]
    if "Notes" in sections:
        parts.append(paragraphs(sections["Notes"]))
    return "\n\n".join(parts)


def signature_text(name: str, function: Any, skip: tuple[str, ...] = ()) -> str:
    """Return a call as one would write it: parameters in order, keywords with their defaults."""
    words: list[str] = []
    starred = False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in skip:
            continue
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            words.append("*")
            starred = True
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            words.append(f"**{parameter.name}")
        elif parameter.default is inspect.Parameter.empty:
            words.append(parameter.name)
        else:
            words.append(f"{parameter.name}={literal(parameter.default)}")
    line = f"{name}({', '.join(words)})"
    if len(line) <= 92:
        return line
    return f"{name}(\n" + "".join(f"    {word},\n" for word in words) + ")"
