"""What a contact is, from a small I-V at the place where the probe touched."""

from typing import Any, NamedTuple

from bluesky import Msg

from .contact_search import ContactSearch, Touch
from .current import Sample
from .leakage import SETTLE_S
from .notes import Fact, Notes
from .roles import Plan
from .stubs import set_bias

LEVELS = (0.5, 1.0)  # of the approach's bias: two points and the leak make a line
MORE = 4  # times as many readings where the kind is in doubt

CONTACT = {
    "kind": Fact("open", "", "What the contact is: oxide or ohmic."),
    "sure": Fact(False, "", "Whether the resistance is so many sigmas from the other kind's."),
    "resistance_ohm": Fact(0.0, "ohm", "Slope of the I-V, leak subtracted."),
    "resistance_std_ohm": Fact(0.0, "ohm", "Its standard deviation."),
    "current_A": Fact(0.0, "A", "Current at the bias of the approach."),
    "excess_A": Fact(0.0, "A", "The same without the leak."),
    "leak_A": Fact(0.0, "A", "Leak that was subtracted."),
    "leak_std_A": Fact(0.0, "A", "Its standard deviation."),
    "noise_A": Fact(0.0, "A", "Standard deviation of one reading."),
    "bias_V": Fact(0.0, "V", "Bias of the approach."),
    "fine_V": Fact(0.0, "V", "Fine offset of z at contact."),
    "coarse": Fact(0, "step", "Net coarse steps of z at contact."),
    "steps_taken": Fact(0, "step", "Coarse steps towards the fibre in this approach."),
    "at_start": Fact(False, "", "Whether it was in contact before anything moved."),
    "step_up_V": Fact(0.0, "V", "Coarse step towards the fibre, in fine offset; 0 unknown."),
    "step_down_V": Fact(0.0, "V", "Coarse step away from the fibre; 0 unknown."),
}


class Judgement(NamedTuple):
    """What was judged, and on what evidence."""

    kind: str
    evidence: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Return all of it by name."""
        return dict(self.evidence)


def judge(search: ContactSearch, touch: Touch, taken: int) -> Plan:
    """Measure a small I-V, judge, and note it as the event of stream "contact".

    Returns the `Judgement`, or None when the contact was lost meanwhile.

    Raises
    ------
    ShortError
        It has become a short.
    """
    settings = search.settings
    fewest = max(4, search.settings.readings)
    search.stage.write(stage="contact")
    for count in (fewest, MORE * fewest):
        ohm, std, full = yield from _resistance(search, count)
        if not search.seen(full):
            return None
        limit = 1e9 * settings.oxide_GOhm
        sure = abs(ohm - limit) > settings.sigmas * std
        if sure:
            break
    sizes = search.probe.step_size
    found = Notes("contact", CONTACT)
    found.write(
        kind="ohmic" if ohm < limit else "oxide", sure=sure,
        resistance_ohm=ohm, resistance_std_ohm=std,
        current_A=full.current_A, excess_A=full.current_A - search.stage.leak_A,
        leak_A=search.stage.leak_A, leak_std_A=search.leak_std_A, noise_A=search.noise_A,
        bias_V=settings.approach_V, fine_V=touch.fine_V, coarse=touch.coarse,
        steps_taken=taken, at_start=search.at_start,
        step_up_V=sizes.up_V.get(), step_down_V=sizes.down_V.get(),
    )  # fmt: skip
    yield Msg("create", None, name="contact")
    yield Msg("read", search.probe)
    yield Msg("read", found)
    yield Msg("save")
    return Judgement(str(found.as_dict()["kind"]), found.as_dict())


def _resistance(search: ContactSearch, count: int) -> Plan:
    """Return resistance and its standard deviation in ohm, and the `Sample` at the full bias."""
    full_V = search.settings.approach_V
    samples: list[Sample] = []
    for share in LEVELS:
        yield from set_bias(search.bias, share * full_V)
        yield from search.bias.clock.sleep(SETTLE_S)
        samples.append((yield from search.measure(count)))
    low, high = samples
    # The leak is a straight line; its share of the slope is subtracted.
    step_V = (LEVELS[1] - LEVELS[0]) * full_V
    siemens = (high.current_A - low.current_A) / step_V - search.leak_S
    noise = max(search.noise_A, low.noise_A, high.noise_A)
    error = 1.2533 * noise * (2.0 / count) ** 0.5 / abs(step_V)
    siemens = max(siemens, 1e-15)
    return 1.0 / siemens, error / siemens**2, high
