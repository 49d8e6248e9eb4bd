"""Questions of a plan to the person at the terminal, where nothing else shows them."""

import sys

from .keyboard import Keyboard, echo_key, has_keyboard

PROMPT = "answer ('no' ends the run): "


class AskAtTerminal:
    """Asks the person at the terminal.

    Where keys can be read, a question that is withdrawn lets the terminal go.  Else what is typed
    next would be taken for its answer, and not reach the prompt of IPython.
    """

    def __init__(self) -> None:
        self._keyboard: Keyboard | None = None

    def __call__(self, question: str) -> str:
        """Ask, wait for the answer, and return it; "" where the question is withdrawn.

        Raises
        ------
        EOFError
            There is nobody to be asked.
        """
        print(f"\n{question}", file=sys.stderr, flush=True)
        if not has_keyboard():
            return input(PROMPT)
        with Keyboard(_pass_by, _prompt, echo=echo_key) as keyboard:
            self._keyboard = keyboard
            try:
                return keyboard(question)
            finally:
                self._keyboard = None

    def cancel(self) -> None:
        """Withdraw the question."""
        keyboard = self._keyboard
        if keyboard is not None:
            keyboard.cancel()


def _pass_by(_key: str) -> None:
    """Take a key that is no part of an answer."""


def _prompt(text: str) -> None:
    """Ask for the answer once it can be typed, not before; ``"> text"`` is the answer itself."""
    if not text.startswith("> "):
        print(PROMPT, end="", file=sys.stderr, flush=True)
