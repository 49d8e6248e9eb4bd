"""Plans in which something happens at a chosen message."""

from collections.abc import Callable
from typing import Any


def at_message(plan: Any, command: str, number: int, action: Callable[[], object]) -> Any:
    """Do something before the n-th message of a kind."""
    seen, response = 0, None
    while True:
        try:
            msg = plan.send(response)
        except StopIteration:
            return
        if msg.command == command:
            seen += 1
            if seen == number:
                action()
        response = yield msg
