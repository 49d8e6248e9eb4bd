"""Questions of a plan that clients of the queue answer."""

import threading


class Asked:
    """Asks whoever looks, and waits for the answer; for the ``ask=`` of plans.

    The plan's question is printed, so that it is on the console that the manager publishes, and
    stands in :attr:`question` until :meth:`answer` is called.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._question: str | None = None
        self._answer: str | None = None

    @property
    def question(self) -> str:
        """What is asked now; empty while nothing is."""
        return self._question or ""

    def __call__(self, question: str) -> str:
        """Wait for an answer, in the plan's thread for it; "stop" if the plan withdraws it."""
        print(f"QUESTION: {question} (answer it with the function 'answer')", flush=True)
        with self._changed:
            self._question, self._answer = str(question), None
            self._changed.wait_for(lambda: self._answer is not None)
            self._question = None
            return self._answer or ""

    def answer(self, text: str) -> bool:
        """Answer; False if nothing is asked."""
        with self._changed:
            if self._question is None or self._answer is not None:
                return False
            self._answer = text
            self._changed.notify_all()
            return True

    def cancel(self) -> None:
        """Withdraw the question: the plan does not want to know any more."""
        self.answer("stop")
