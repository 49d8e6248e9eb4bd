"""Keys and answers from a terminal, and the terminal as it was before."""

import os
import queue
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.keyboard import END, Keyboard, has_keyboard

W = 5.0


class Line:
    """A terminal without anything behind it, and a person who types at it."""

    def __init__(self) -> None:
        self.person, inner = os.openpty()
        self.stream = os.fdopen(inner, "rb", buffering=0)
        self.keys: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.asked: queue.SimpleQueue[str] = queue.SimpleQueue()

    def keyboard(self, **more: Any) -> Keyboard:
        return Keyboard(self.keys.put, self.asked.put, stream=self.stream, **more)

    def type(self, text: str) -> None:
        os.write(self.person, text.encode())

    def set_as(self) -> Any:
        return termios.tcgetattr(self.stream)

    def close(self) -> None:
        self.stream.close()
        os.close(self.person)


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


def ask(keyboard: Keyboard, helpers: list[threading.Thread]) -> "queue.SimpleQueue[str]":
    """Ask in another thread, as a plan does."""
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()
    thread = threading.Thread(target=lambda: answers.put(keyboard("Ready?")))
    helpers.append(thread)
    thread.start()
    return answers


def test_single_keys_come_at_once_and_the_terminal_is_as_before(line: Line) -> None:
    before = line.set_as()
    with line.keyboard():
        assert not line.set_as()[3] & (termios.ICANON | termios.ECHO)
        assert line.set_as()[3] & termios.ISIG  # Ctrl-C stays a signal
        line.type("pé")
        assert [line.keys.get(timeout=W) for _ in range(2)] == ["p", "é"]
        line.type("\x1b[A")  # an arrow is no key
        line.type("\r")
        assert line.keys.get(timeout=W) in "\r\n"
    assert line.set_as() == before


def test_the_terminal_is_as_before_after_an_error_too(line: Line) -> None:
    before = line.set_as()
    with pytest.raises(ZeroDivisionError), line.keyboard():
        raise ZeroDivisionError
    assert line.set_as() == before


def test_an_answer_is_what_was_typed_up_to_enter(
    line: Line, helpers: list[threading.Thread]
) -> None:
    echoed: list[str] = []
    with line.keyboard(echo=echoed.append) as keyboard:
        answers = ask(keyboard, helpers)
        assert line.asked.get(timeout=W) == "Ready?"
        assert keyboard.question == "Ready?"
        line.type("\x7fyea\x7fs, p\x01\r")
        assert answers.get(timeout=W) == "yes, p"
        assert line.asked.get(timeout=W) == "> yes, p"
        assert keyboard.question == ""
        line.type("p")
        assert line.keys.get(timeout=W) == "p"
    assert "".join(echoed) == "yea\b \bs, p\n"


def test_a_question_can_be_withdrawn_and_asked_again(
    line: Line, helpers: list[threading.Thread]
) -> None:
    typed: queue.SimpleQueue[str] = queue.SimpleQueue()
    with line.keyboard(echo=typed.put) as keyboard:
        first = ask(keyboard, helpers)
        line.asked.get(timeout=W)
        line.type("half")
        assert [typed.get(timeout=W) for _ in range(4)] == list("half")
        keyboard.cancel()
        assert first.get(timeout=W) == ""
        assert line.asked.get(timeout=W) == "> "
        second = ask(keyboard, helpers)
        assert line.asked.get(timeout=W) == "Ready?"
        line.type("whole\n")
        assert second.get(timeout=W) == "whole"


def test_who_leaves_withdraws_what_is_asked(line: Line, helpers: list[threading.Thread]) -> None:
    with line.keyboard() as keyboard:
        answers = ask(keyboard, helpers)
        line.asked.get(timeout=W)
    assert answers.get(timeout=W) == ""
    assert keyboard("Anybody?") == ""


def test_a_terminal_that_goes_away_ends_the_reading(line: Line) -> None:
    with line.keyboard():
        os.close(line.person)
        assert line.keys.get(timeout=W) == END
        line.person = os.open(os.devnull, os.O_RDONLY)  # for close()


def test_what_is_no_terminal_has_no_keyboard(tmp_path: Path, line: Line) -> None:
    path = tmp_path / "input"
    path.touch()
    with open(path) as file:
        assert not has_keyboard(file)
    assert not has_keyboard(file)  # closed
    assert not has_keyboard(object())
    assert not has_keyboard(line.stream)  # not ours: we are not in its foreground
