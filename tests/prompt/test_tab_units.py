"""What Tab offers after a device's name, in IPython's own completer."""

from collections.abc import Callable

import pytest
from IPython.core.completer import IPCompleter, provisionalcompleter

from stmtem_control.session import Session
from stmtem_control.tab_units import signal_matcher


@pytest.fixture
def tab(session: Session) -> Callable[[str], dict[str, str]]:
    """A function that returns what is offered after a text, with what it means."""
    completer = IPCompleter(namespace={**session.devices, "session": session})
    completer.custom_matchers.append(signal_matcher(session.devices))

    def press(text: str) -> dict[str, str]:
        with provisionalcompleter():
            found = list(completer.completions(text, len(text)))
        return {text[: each.start] + each.text: str(each.type) for each in found}

    return press


def test_signals_come_with_unit_and_meaning(tab: Callable[[str], dict[str, str]]) -> None:
    found = tab("RE(bps.mv(probe.z.f")
    assert found == {
        "RE(bps.mv(probe.z.fine": "V: DC offset of the piezo.",
        "RE(bps.mv(probe.z.frequency_Hz": "Hz: Step frequency.",
    }


def test_a_device_offers_signals_first_and_not_all_of_ophyd(
    tab: Callable[[str], dict[str, str]],
) -> None:
    found = tab("bias.")
    assert next(iter(found)) == "bias.voltage"
    assert found["bias.current"] == "A: Current through the output, as measured."
    assert found["bias.set"].startswith("Set the level in V and switch the output on")
    assert {"bias.read", "bias.stop", "bias.locate", "bias.limits"} <= set(found)
    assert "bias.add_instantiation_callback" not in found


def test_other_names_are_completed_as_ever(tab: Callable[[str], dict[str, str]]) -> None:
    assert "bias.wait_for_connection" in tab("bias.wait_for")
    assert "session.run_folder" in tab("session.run_f")
    assert "bias.sequence.points" in tab("bias.sequence.poi")
    assert tab("bias.nothing_like_it.") == {}
