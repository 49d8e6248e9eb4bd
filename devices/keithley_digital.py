"""The digital port of a source: four TTL lines, set all at once."""

from collections.abc import Callable
from concurrent.futures import Future

from stmtem_control.errors import LimitError
from stmtem_control.exchanges import Exchange
from stmtem_control.link import NORMAL, SAFE, Link
from stmtem_control.transport import Transport

from .scpi import Scpi, near

ALL = 0b1111

Blind = Callable[..., Callable[[Transport], None]]  # what writes commands and reads nothing


def since(said: list[float], exchange: Exchange) -> Exchange:
    """Return an exchange that begins when its command was first sent, blindly."""
    return Exchange(min([exchange.sent, *said]), exchange.answered)


class DigitalPort:
    """Knows what the four lines were set to; runs in the worker of the link.

    Parameters
    ----------
    scpi : Scpi
        How the source is spoken to.
    word_after_reset : int, optional
        What a reset puts on the lines, bit 0 is line 1, while nothing else has been set.

    Attributes
    ----------
    word : int or None
        As set last; None while it is not known.

    Raises
    ------
    LimitError
        The word is not one of four bits.
    """

    def __init__(self, scpi: Scpi, word_after_reset: int | None = None) -> None:
        self.word: int | None = None
        self._scpi = scpi
        self._word_after_reset = word_after_reset
        if word_after_reset is not None:
            self.check(word_after_reset)

    def check(self, word: int) -> None:
        """Raise LimitError unless `word` has four bits."""
        if not 0 <= word <= ALL:
            raise LimitError(f"{self._scpi.name}: digital word {word}; the port takes 0 to {ALL}")

    def bit(self, line: int) -> int:
        """Return the bit of a line; raise LimitError when there is no such line."""
        if line not in (1, 2, 3, 4):
            raise LimitError(f"{self._scpi.name}: digital line {line}; the port has lines 1 to 4")
        return 1 << (line - 1)

    @property
    def word_at_reset(self) -> int | None:
        """What a reset must put back, in the same message; None leaves all lines high."""
        return self._word_after_reset if self.word is None else self.word

    def ask(self, transport: Transport) -> int:
        """Return the word, from the instrument while it is not known."""
        if self.word is None:
            self.word = int(self._scpi.number(transport, ":SOUR2:TTL?")) & ALL
        return self.word

    def set(self, transport: Transport, word: int) -> Exchange:
        """Set all lines, and read them back."""
        exchange = self._scpi.set(transport, f":SOUR2:TTL {word}", near(word))
        self.word = word
        return exchange

    def change(
        self, link: Link, line: int, high: bool, safe: bool, blind_words: Blind
    ) -> "Future[Exchange]":
        """Queue the change of one line; see ``Keithley2400.set_line``."""
        bit = self.bit(line)
        said: list[float] = []

        def changed(word: int) -> int:
            return word | bit if high else word & ~bit

        def job(transport: Transport) -> Exchange:
            word = changed(self.ask(transport))
            return since(said, self.set(transport, word))

        def blind(transport: Transport) -> None:
            if self.word is not None:
                blind_words(f":SOUR2:TTL {changed(self.word)}", said=said)(transport)

        def want(ended: "Future[Exchange]") -> None:
            # Not confirmed, but from here on no other line's word, and no reset, undoes it.
            if ended.exception() is not None and self.word is not None:
                self.word = changed(self.word)

        name = f"digital line {line} {'high' if high else 'low'}"
        topic = f"line {line}"
        if safe:
            future = link.submit(job, SAFE, name=name, drops=(topic,), blind=blind)
            future.add_done_callback(want)
            return future
        return link.submit(job, NORMAL, name=name, topic=topic)
