"""The command line, from its parsers."""

import argparse
import re

from stmtem_control.cli import make_parser
from stmtem_control.simulators.serve import make_parser as make_sim_parser

from .docstrings import table


def _named(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest.upper()}`"
    word = ""
    if action.nargs != 0:
        word = f" {action.metavar or action.dest.upper()}"
    return f"`{', '.join(action.option_strings)}{word}`"


def _helped(action: argparse.Action, prog: str) -> str:
    given = {**vars(action), "prog": prog}
    return (action.help or "") % given if action.help else ""


def described(parser: argparse.ArgumentParser) -> str:
    """Return usage, description, arguments and epilogue of a parser."""
    width = argparse.ArgumentParser(
        prog=parser.prog,
        add_help=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, width=92),
    )
    for action in parser._actions:
        width._add_action(action)
    first, *more = width.format_usage().removeprefix("usage: ").rstrip().splitlines()
    usage = "\n".join([first, *(line[len("usage: ") :] for line in more)])
    parts = [f"```\n{usage}\n```"]
    if parser.description:
        parts.append(parser.description)
    rows: list[tuple[str, ...]] = [
        (_named(action), _helped(action, parser.prog))
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
        and action.help is not argparse.SUPPRESS
    ]
    if rows:
        parts.append(table(("argument", "meaning"), rows))
    if parser.epilog:
        kind, colon, rest = parser.epilog.partition(": ")
        parts.append(f"*{kind}*: {rest}" if colon and "\n" not in kind else "")
    return "\n\n".join(part for part in parts if part)


def command_line() -> str:
    """Return a section for each command, in the order in which ``stmtem --help`` has them."""
    parser = make_parser()
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    parts = []
    for choice in commands._choices_actions:
        name = choice.dest
        sub = make_sim_parser() if name == "sim" else commands.choices[name]
        body = described(sub)
        about = "" if sub.description else f"{choice.help or ''}".strip()
        about = about and f"{about[0].upper()}{about[1:]}."
        parts += [f"## stmtem {name}", *([about] if about else []), body]
    return re.sub(r"\n{3,}", "\n\n", "\n\n".join(parts))
