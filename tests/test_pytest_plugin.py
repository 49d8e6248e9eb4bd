"""The pytest plugin, as a lab's tests meet it, and the example of a lab's repository."""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bluesky import Msg

import stmtem_control.session  # noqa: F401  before pytester, which forgets what it sees imported
from stmtem_control.config import load_station
from stmtem_control.errors import ConfigError
from stmtem_control.pytest_plugin import (
    _ini,
    assert_bias_within,
    assert_safe,
    assert_struck,
    assert_untouched,
    at_message,
)
from stmtem_control.simulators import Bench, HandClock

KINDS = {".py", ".toml", ".yml"}
LAB = Path(__file__).resolve().parents[1] / "examples" / "lab"


def tell(bench: Bench, message: bytes) -> None:
    """Send a message to the source, as any program may."""
    with socket.create_connection(("127.0.0.1", bench.source_tcp.port), 5.0) as wire:
        wire.sendall(message + b";*OPC?\n")
        assert wire.recv(10) == b"1\n"


# -- what it costs ----------------------------------------------------------------------------


def test_who_does_not_use_it_pays_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_what_is_imported():
            assert "stmtem_control.pytest_plugin" in sys.modules
            heavy = {"numpy", "ophyd", "bluesky", "pydantic", "matplotlib", "tifffile"}
            assert not heavy & set(sys.modules)
        """
    )
    # Without the plugins of others, which import what they like.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        result = pytester.runpytest_subprocess("-p", "stmtem_control.pytest_plugin")
    result.assert_outcomes(passed=1)


def test_it_leaves_no_thread_socket_or_process(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import os, pathlib, threading

        def pytest_sessionfinish():
            assert threading.enumerate() == [threading.main_thread()]
            if os.path.isdir("/proc/self/fd"):
                opened = [os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd")
                          if os.path.lexists(f"/proc/self/fd/{n}")]
                assert not [name for name in opened if name.startswith("socket:")], opened
                task = pathlib.Path(f"/proc/self/task/{os.getpid()}/children")
                assert task.read_text() == ""
        """
    )
    pytester.makepyfile(
        """
        from stmtem_control.plans import deposit

        def test_a_run(session, run_engine, bench, station, tmp_path):
            assert run_engine is session.RE
            assert station.station.data == str(tmp_path / "runs")
            outcome = session.run(
                deposit(session.bias, session.camera, session.beam, duration_s=0.5)
            )
            assert outcome.status == "success", outcome.reason
            assert outcome.folder.parent == tmp_path / "runs"
            assert all(bench.safe().values())
        """
    )
    result = pytester.runpytest_subprocess("-Werror")
    result.assert_outcomes(passed=1)
    assert result.ret == 0


# -- how the bench is -------------------------------------------------------------------------


def test_ini_options_and_markers_say_how_the_bench_is(pytester: pytest.Pytester) -> None:
    pytester.makeini(
        """
        [pytest]
        stmtem_preset = na
        stmtem_seed = 4
        stmtem_speed = 20
        stmtem_gap_nm = 100
        """
    )
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.bench(seed=5, speed=10)

        def test_of_the_module(bench, station):
            table = station.bench
            assert (table.preset, table.seed, table.speed, table.size) == ("na", 5, 10.0, 256)
            assert bench.clock.speed == 10.0
            assert bench.specimen.gap_nm == pytest.approx(100.0)
            assert station.camera.pixel_size_nm * table.size == pytest.approx(1024.0)

        @pytest.mark.bench(seed=6, model="2400", gap_nm=-3, faults=["specimen:leak"])
        def test_the_nearest_marker_wins(bench, station):
            assert (station.bench.seed, station.bench.speed) == (6, 10.0)
            assert station.bias_source.model == "2400"
            assert bench.specimen.gap_nm == pytest.approx(-3.0)
            assert bench.fault_log[0].fault.kind == "leak"
        """
    )
    pytester.runpytest("--strict-markers").assert_outcomes(passed=2)


def test_a_labs_own_station_with_its_limits(pytester: pytest.Pytester) -> None:
    text = (LAB / "our_lab.toml").read_text("utf-8")
    (pytester.mkdir("stations") / "lab.toml").write_text(text, "utf-8")
    pytester.makeini("[pytest]\nstmtem_station = stations/lab.toml\n")
    pytester.makeconftest(
        """
        import pytest

        @pytest.fixture
        def station(station):
            less = station.bias_source.model_copy(update={"max_bias_V": 2.0})
            return station.model_copy(update={"bias_source": less})
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from stmtem_control.errors import LimitError

        def test_limits(session):
            assert session.station.station.name == "our lab"
            assert "MODEL 2400" in session.identities()
            with pytest.raises(LimitError, match="outside -2 to 2 V"):
                session.bias.set(2.5)
        """
    )
    pytester.runpytest().assert_outcomes(passed=1)


def test_what_cannot_be_is_told(pytester: pytest.Pytester) -> None:
    markers = ("siez=512", "size=300", "3", 'station="nowhere.toml"')
    tests = [
        f"@pytest.mark.bench({marker})\ndef test_{n}(bench):\n    pass\n"
        for n, marker in enumerate(markers)
    ]
    pytester.makepyfile("import pytest\n" + "\n".join(tests))
    result = pytester.runpytest()
    result.assert_outcomes(errors=len(markers))
    for told in (
        "*[[]bench[]] siez: unknown key; did you mean 'size'?*",
        "*[[]bench[]] size: *found 300*",
        "*give keywords, as in @pytest.mark.bench(seed=2)*",
        "*nowhere.toml: No such file*",
    ):
        result.stdout.fnmatch_lines([told])


@pytest.mark.parametrize(
    ("option", "text", "told"),
    [
        ("stmtem_seed", "seven", "stmtem_seed is 'seven'; give a whole number"),
        ("stmtem_speed", "fast", "stmtem_speed is 'fast'; give a number"),
    ],
)
def test_an_ini_option_that_cannot_be_read(option: str, text: str, told: str) -> None:
    config: Any = SimpleNamespace(getini=lambda name: text if name == option else "")
    with pytest.raises(pytest.UsageError, match=told):
        _ini(config)


def test_a_session_needs_the_time_of_its_bench(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def slow(station):
            return station.with_bench(speed=1.0)

        def test_no_time(session, hand_clock):
            pass

        class TestOther:
            @pytest.fixture
            def station(self, slow):
                return slow

            @pytest.fixture
            def slow(self, simulated_station):
                return simulated_station.with_bench(speed=1.0)

            def test_another_time(self, session):
                pass
        """
    )
    result = pytester.runpytest()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        [
            "session: the bench's clock is moved by hand*",
            "session: the station has [[]bench[]] speed = 1, the bench runs at 5;*",
        ]
    )


def test_the_clock_in_the_tests_hand(bench: Bench, hand_clock: HandClock) -> None:
    bench.inject("bias_source:overheat@time=1e6")
    hand_clock.advance(1e6)
    assert bench.clock is hand_clock
    assert_struck(bench, "bias_source:overheat")


def test_a_real_station_on_the_bench_keeps_what_it_may_do() -> None:
    lab = load_station("example_lab")
    lab = lab.model_copy(update={"dose": lab.dose.model_copy(update={"ledger": "/real/ledger"})})
    found = lab.on_bench(seed=3)
    assert found.bench is not None
    assert (found.bench.seed, found.bench.model) == (3, "6430")
    assert {found.bias_source.resource, found.probe.port, found.camera.host} == {"bench"}
    assert found.beam.calibrated == "simulated"
    assert found.dose.ledger == ""
    assert found.dose.budget() == lab.dose.budget()
    assert found.interlocks == lab.interlocks
    kept = ("max_bias_V", "compliance_A", "nplc", "dead_man_s")
    assert found.bias_source.model_dump(include=set(kept)) == lab.bias_source.model_dump(
        include=set(kept)
    )
    assert found.probe.max_fine_V == lab.probe.max_fine_V
    other = lab.bias_source.model_copy(update={"model": "2635B"})
    assert lab.model_copy(update={"bias_source": other}).on_bench().bias_source.model == "6430"
    with pytest.raises(ConfigError, match="unknown key; did you mean 'seed'"):
        lab.on_bench(sed=3)


# -- assertions and hooks ---------------------------------------------------------------------


@pytest.mark.usefixtures("hand_clock")
def test_assertions_say_what_is_wrong(bench: Bench) -> None:
    assert_safe(bench)
    assert_untouched(bench)
    tell(bench, b":SOUR:VOLT 1;:OUTP ON")
    with pytest.raises(AssertionError, match="not safe, there is no: bias 0 V, output off"):
        assert_safe(bench)
    tell(bench, b":SOUR:VOLT 2;:OUTP OFF;:SOUR:VOLT 0")
    assert_safe(bench)
    with pytest.raises(AssertionError, match=r"no bias 0 V from 0\.000 s on; no output off"):
        assert_untouched(bench)
    assert_bias_within(bench, 0.0, 2.0)
    with pytest.raises(AssertionError, match=r"outside -5 to 1\.5 V: 2 V at 0\.000 s"):
        assert_bias_within(bench, -5.0, 1.5)


@pytest.mark.usefixtures("hand_clock")
def test_a_fault_that_never_struck_is_told(bench: Bench) -> None:
    bench.inject("specimen:leak")
    assert_struck(bench, "specimen:leak@amount=5")
    with pytest.raises(AssertionError, match="specimen:short has not struck; specimen:leak did"):
        assert_struck(bench, "specimen:short")
    with pytest.raises(ConfigError, match="nearest is 'short'"):
        assert_struck(bench, "specimen:shrt")


def test_something_at_a_message_of_a_plan() -> None:
    told: list[Any] = []

    def plan() -> Any:
        try:
            told.append((yield Msg("set")))
            yield Msg("read")
            yield Msg("set")
        except KeyError as error:
            told.append(error)
            yield Msg("null")
        return "value"

    def fail() -> None:
        raise KeyError("acted")

    driven = at_message(plan(), "set", 2, fail)
    assert next(driven).command == "set"
    assert driven.send("answer").command == "read"
    assert driven.send(None).command == "null"
    with pytest.raises(StopIteration) as end:
        driven.send(None)
    assert end.value.value == "value"
    assert [str(one) for one in told] == ["answer", "'acted'"]
    # What the RunEngine raises at a message reaches the plan, too.
    driven = at_message(plan(), "set", 9, fail)
    next(driven)
    assert driven.throw(KeyError("thrown")).command == "null"
    driven.close()


# -- the example ------------------------------------------------------------------------------


def test_the_example_of_a_labs_repository(tmp_path: Path) -> None:
    folder = shutil.copytree(LAB, tmp_path / "lab")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


def test_the_page_quotes_the_example() -> None:
    page = LAB.parents[1] / "docs" / "how-to" / "test-your-labs-plans-in-ci.md"
    files = [path.read_text("utf-8") for path in LAB.rglob("*.*") if path.suffix in KINDS]
    quoted = re.findall(
        r"^```(?:python|toml|yaml)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S
    )
    assert len(quoted) > 4
    for text in quoted:
        assert any(text in file for file in files), text
