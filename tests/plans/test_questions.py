"""Questions to a person: asked in a thread, answered, refused, withdrawn."""

import threading
from typing import Any

import pytest

from stmtem_control.errors import InterlockError, LimitError
from stmtem_control.plans.questions import Person, Question, ask_person


def asked(ask: Any, question: str = "Ready?") -> str:
    """Ask, with the messages carried out as a RunEngine does."""
    plan = ask_person(Person(ask), question)
    status: Any = None
    while True:
        try:
            msg = next(plan)
        except StopIteration as end:
            return str(end.value)
        if msg.command == "set":
            status = msg.obj.set(*msg.args)
        elif msg.command == "wait":
            status.wait(5.0)


def test_the_answer_comes_back_and_was_asked_in_another_thread() -> None:
    threads: list[str] = []

    def ask(question: str) -> str:
        threads.append(threading.current_thread().name)
        return f" {question} yes "

    assert asked(ask) == "Ready? yes"
    assert threads == ["question"]


@pytest.mark.parametrize("answer", ["no", "STOP", " abort "])
def test_no_ends_the_plan(answer: str) -> None:
    with pytest.raises(InterlockError, match=r"ended by a person, who answered '.*' to 'Ready\?'"):
        asked(lambda _: answer)


def test_nobody_there_is_told_in_one_line() -> None:
    def ask(_: str) -> str:
        raise EOFError

    with pytest.raises(LimitError, match=r"nobody can answer 'Ready\?'"):
        asked(ask)


def test_a_question_is_text_that_knows_what_to_turn() -> None:
    question = Question("Go to diffraction", mode="diffraction", camera_length_m=0.5)
    assert f"{question}" == "Go to diffraction"
    assert (question.mode, question.camera_length_m) == ("diffraction", 0.5)
    assert Question("x").mode == ""


class Bell:
    """Somebody who answers when the bell rings, unless the question is withdrawn."""

    def __init__(self) -> None:
        self.rings = threading.Event()
        self.times = 0

    def __call__(self, _: str) -> str:
        self.times += 1
        self.rings.wait(5.0)
        return "here"

    def cancel(self) -> None:
        self.rings.set()


def test_a_question_that_is_withdrawn_is_not_answered() -> None:
    bell = Bell()
    person = Person(bell)
    status = person.set("Ready?")
    person.stop()
    assert bell.rings.wait(2.0)
    for thread in threading.enumerate():
        if thread.name == "question":
            thread.join(2.0)
    assert not status.done
    assert person.answer == ""
    status.set_finished()


def test_a_pause_does_not_ask_twice_who_cannot_be_stopped() -> None:
    bell = Bell()
    person = Person(lambda question: bell(question))  # has no cancel
    first = person.set("Ready?")
    person.stop()
    second = person.set("Ready?")
    bell.rings.set()
    second.wait(2.0)
    assert (bell.times, person.answer) == (1, "here")
    assert not first.done
    first.set_finished()
