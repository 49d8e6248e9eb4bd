"""``stmtem session`` as a person has it, on a dumb terminal and on a better one."""

import json
from pathlib import Path

from tests.end_to_end.terminal import Terminal


def test_a_dumb_terminal(tmp_path: Path) -> None:
    """The names, a table, a scan, Ctrl-C, going on, and the end."""
    terminal = Terminal(tmp_path, STMTEM_DATA=str(tmp_path / "elsewhere"))
    terminal.wait_for(r"In \[1\]")
    assert "devices  plans   print what there is" in terminal.said
    terminal.type("devices\r")
    terminal.wait_for(r"bias\.current +\S+ \w+ +A +Current through")
    terminal.wait_for(r"In \[2\]")
    terminal.type("bias.current?\r")
    terminal.wait_for(r"Unit: A \(float\); is read only")
    terminal.type("bias\r")
    terminal.wait_for("<BiasSource bias: 0 V, output off")
    terminal.type("RE(bp.scan([bias], bias, -1, 1, 3))\r")
    terminal.wait_for(r"bias_voltage \| bias_current")
    terminal.wait_for(r"generator scan")
    terminal.wait_for(r"In \[5\]")
    terminal.type("half a li")
    terminal.wait_for("half a li")
    # At the prompt nothing ends.  If a thread gets the signal, it is taken at the line's end.
    terminal.type("\x03\r")
    terminal.wait_for("KeyboardInterrupt")
    terminal.type("last_run()\r")
    terminal.wait_for(r"<run \S+_scan_\w+: done, 0 frames, 3 readings>")
    terminal.type("RE(deposit(bias, camera, beam, duration_s=60))\r")
    terminal.wait_for("deposit 1 .* frames")
    terminal.type("\x03")
    terminal.wait_for("paused: bias 0 V, output off")
    terminal.type("RE.abort()\r")
    terminal.wait_for(r"In \[\d+\]")
    assert "Traceback" not in terminal.said
    terminal.type("RE('a plan')\r")
    terminal.wait_for("NoPlanError: RE was given 'a plan', which is no plan")
    terminal.type("%tb\r")
    terminal.wait_for("(?s)Traceback .*RE\\('a plan'\\).*NoPlanError")
    terminal.type("exit\r")
    assert terminal.close() == 0, terminal.said[-2000:]
    (run,) = (tmp_path / "elsewhere").glob("*_deposit_*")
    assert json.loads((run / "outcome.json").read_text())["status"] == "aborted"


def test_a_question_that_is_withdrawn_lets_the_prompt_go(tmp_path: Path) -> None:
    """What is typed after Ctrl-C at a question is no answer to it."""
    (tmp_path / "asking.yaml").write_text(
        "protocol: asking\nsteps:\n  - prompt: Is the fibre in view?\n  - rest: {duration: 0.2 s}\n"
    )
    terminal = Terminal(tmp_path)
    terminal.wait_for(r"In \[1\]")
    terminal.type("run_protocol('asking.yaml').status\r")
    terminal.wait_for("(?s)Is the fibre in view.*answer")
    terminal.type("it \x7f")
    terminal.wait_for("it")
    terminal.type("\x03")
    terminal.wait_for("'aborted'")
    terminal.type("print(6 * 7, 'apples')\r")
    terminal.wait_for("42 apples")
    terminal.type("run_protocol('asking.yaml').status\r")
    terminal.wait_for(r"(?s)Is the fibre in view.*answer")
    terminal.type("yes\r")
    terminal.wait_for("'success'")
    terminal.type("exit\r")
    assert terminal.close() == 0, terminal.said[-2000:]
    assert "Traceback" not in terminal.said


def test_tab_completes_names_of_plans_and_signals(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path, kind="xterm")
    terminal.wait_for(r"In \[")
    terminal.type("leakage_b\t")
    terminal.wait_for("leakage_baseline")
    terminal.type("\x15bias.comp\t")
    terminal.wait_for("compliance")
    terminal.type("\x15plans['beam_irr\t")
    terminal.wait_for("beam_irradiation_control")
    terminal.type("\x15exit\r")
    assert terminal.close() == 0
