"""The startup module: the same names by every door, one session in a process, safe at the end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from stmtem_control.config import load_station
from stmtem_control.errors import ConfigError
from stmtem_control.shared_prompt import shared_prompt

QUIET = ("EPICS_CA_ADDR_LIST", "DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND", "STMTEM_STATION")

# Of runpy, for a module that was imported before it is run.
TAKEN = "ignore:'stmtem_control.startup' found in sys.modules:RuntimeWarning"

TWICE = """
import importlib, runpy, sys
import stmtem_control, stmtem_control.plans
assert "ophyd" not in sys.modules and "stmtem_control.session" not in sys.modules

from stmtem_control.startup import *
import stmtem_control.startup as startup

first, public = session, set(startup.__all__)
print("one", session.station.bench.seed, session.root)
assert {"RE", "bias", "deposit", "devices", "plans", "bec", "last_run", "run_protocol"} <= public
assert not {"give_names"} & set(vars(startup))
assert not {"epics", "caproto"} & set(sys.modules)

sys.argv = ["startup"]
again = runpy.run_module("stmtem_control.startup", run_name="__main__")
assert again["session"] is first and again["RE"] is RE and public <= set(again)

sys.argv = ["startup", "sim"]
try:
    runpy.run_module("stmtem_control.startup", run_name="__main__")
except SystemExit as error:
    print("refused", error)

session.close()
importlib.reload(startup)
from stmtem_control.startup import *
assert session is not first and RE is not first.RE
RE(bp.count([bias]))
bias.set(2.0).wait(5)
make_safe_first = session.safe_state.make_safe

def and_ask_the_bench(*reason, **how):
    report = make_safe_first(*reason, **how)
    print("at exit", session.bench.safe()["safe"])
    return report

assert not session.bench.safe()["safe"]["output off"]
session.safe_state.make_safe = and_ask_the_bench
"""


def run(*command: str, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if name not in QUIET}
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**kept, "IPYTHONDIR": str(cwd), **environment},
        check=False,
        timeout=50,
    )


def test_one_session_in_a_process_and_safe_at_its_end(tmp_path: Path) -> None:
    station = tmp_path / "lab.toml"
    station.write_text(load_station("sim").with_bench(seed=5, size=256, speed=5.0).to_toml())
    done = run(
        "-W",
        "error",
        "-W",
        TAKEN,
        "-c",
        TWICE,
        cwd=tmp_path,
        STMTEM_STATION=str(station),
        STMTEM_DATA="kept",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "one 5 kept" in done.stdout
    refused = "refused stmtem_control.startup: station 'simulated bench' (data in kept) is open in"
    assert refused in done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith("at exit {")
    assert "False" not in last
    assert list((tmp_path / "kept").glob("*_count_*/outcome.json"))


IN_IPYTHON = """
%run -m stmtem_control.startup sim data
print(devices["beam"])
%wa
%wa shutters nothing
%mov probe.z.fine 3
%movr probe.z.fine -1
print("fine", probe.z.fine.get())
%mov bias 1 beam "open"
%ct
for refused in ("ct nothing", "mov bias 50", "mov bias", "run -m stmtem_control.startup nowhere"):
    get_ipython().run_cell("%" + refused)
from bluesky.magics import BlueskyMagics
BlueskyMagics.RE = RE
get_ipython().register_magics(BlueskyMagics)
%mov bias 0
%mov probe.z.fine 5 beam "blanked"
%movr probe.z.coarse -1
print("bluesky's", probe.z.fine.get(), probe.z.coarse.get())
%ct detectors
%wa motors
print("safe", session.bench.safe()["safe"], RE.state)
"""


def test_run_in_ipython_with_magics(tmp_path: Path) -> None:
    done = run("-m", "IPython", "--no-banner", "--colors=nocolor", "-c", IN_IPYTHON, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert "<BeamBlanker beam: blanked>" in out
    assert "probe.z.coarse" in out
    assert "nothing: nothing has this label; there are cameras, detectors, motors, shutters" in out
    assert "fine 2.0" in out
    assert "bias_current" in out
    assert "bluesky's 5.0 -1" in out
    assert "safe {" in out
    assert "False" not in out.rpartition("safe {")[2]
    assert out.rstrip().endswith("idle")
    # One line each, no stack.
    assert "Traceback" not in done.stderr + out
    told = done.stderr.splitlines()
    assert any("bias: 50 V is outside -10 to 10 V" in line for line in told)
    assert any("%mov: give what to move and a value" in line for line in told)
    assert any("%ct: nothing is labelled nothing; see %wa" in line for line in told)
    assert any("nowhere: No such file" in line for line in told)


def test_a_station_that_is_not_there_is_refused_with_the_choice() -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: No such file.*sim"):
        shared_prompt(environment={"STMTEM_STATION": "nowhere.toml"})
