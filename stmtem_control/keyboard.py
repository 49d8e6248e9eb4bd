"""Single keys and answers from a terminal, while something else has the main thread."""

import codecs
import contextlib
import os
import re
import select
import sys
import threading
from collections.abc import Callable
from typing import Any, Self

ENTER = ("\r", "\n")
ERASE = ("\x7f", "\b")
END = "\x04"  # Ctrl-D
SEVERAL = re.compile(rb"\x1b(\[[0-9;]*[A-Za-z~]|O.|.)?")  # what arrows and the like send


def has_keyboard(stream: Any = None) -> bool:
    """Tell whether keys can be read: a terminal, with this process in its foreground."""
    stream = sys.stdin if stream is None else stream
    try:
        descriptor = stream.fileno()
        # From the background, setting up the terminal would stop this process.
        return os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except (AttributeError, ValueError, OSError):
        return False


def echo_key(text: str) -> None:
    """Show what is typed, where nothing else does."""
    if sys.stderr.isatty():
        print(text, end="", file=sys.stderr, flush=True)


class Keyboard:
    """Reads keys in a thread of its own; the terminal is as before when the block is left.

    Parameters
    ----------
    on_key : callable
        Takes each key that is no part of an answer; in the keyboard's thread.
    on_question : callable
        Takes every question, and each answer as ``"> text"``, for who shows them; it may be called
        from any thread.
    echo : callable, optional
        Takes what is to be written for each key of an answer, where nothing else shows it.
    stream : file, optional
        A terminal; by default the standard input.

    Attributes
    ----------
    question, typed : str
        What is asked now, and what has been typed of the answer; "" if nothing is asked.
    """

    def __init__(
        self,
        on_key: Callable[[str], None],
        on_question: Callable[[str], None],
        *,
        echo: Callable[[str], None] = lambda _: None,
        stream: Any = None,
    ) -> None:
        self.question = self.typed = ""
        self._echo = echo
        self._on_key, self._on_question = on_key, on_question
        self._descriptor = (sys.stdin if stream is None else stream).fileno()
        self._answered = threading.Event()
        self._asking = threading.Lock()
        self._ended = False

    def __enter__(self) -> Self:
        """Take single keys from the terminal, without echo; Ctrl-C stays a signal."""
        import termios
        import tty

        self._before = termios.tcgetattr(self._descriptor)
        self._wake, self._waker = os.pipe()
        tty.setcbreak(self._descriptor, termios.TCSADRAIN)
        self._thread = threading.Thread(target=self._read, name="keyboard", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread, and set the terminal as it was."""
        import termios

        self._ended = True
        self.cancel()
        os.write(self._waker, b"x")
        self._thread.join()
        os.close(self._wake)
        os.close(self._waker)
        with contextlib.suppress(termios.error):  # the terminal may be gone
            termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    def __call__(self, question: str) -> str:
        """Ask, wait for the answer, and return it; "" where the question is withdrawn."""
        with self._asking:
            if self._ended:
                return ""
            self._answered.clear()
            self.typed, self.question = "", str(question)
            self._on_question(self.question)
            self._answered.wait()
            answer, self.question, self.typed = self.typed, "", ""
            self._on_question(f"> {answer}")
        return answer

    def cancel(self) -> None:
        """Withdraw the question."""
        if self.question:
            self.typed = ""
        self._answered.set()

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        while True:
            ready, _, _ = select.select([self._descriptor, self._wake], [], [])
            if self._wake in ready:
                return
            try:
                data = os.read(self._descriptor, 1024)
            except OSError:
                data = b""
            if not data:  # the terminal is gone
                self._take(END)
                return
            for key in decoder.decode(SEVERAL.sub(b"", data)):
                self._take(key)

    def _take(self, key: str) -> None:
        if not self.question or self._answered.is_set():
            self._on_key(key)
        elif key in ENTER or key == END:
            self._echo("\n")
            self._answered.set()
        elif key in ERASE and self.typed:
            self.typed = self.typed[:-1]
            self._echo("\b \b")
        elif key.isprintable() and len(self.typed) < 1000:
            self.typed += key
            self._echo(key)
