"""Faults in a bench that runs in a process of its own; its standard input stays its lifeline."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.bench_process import BenchProcess
from stmtem_control.config import load_station
from stmtem_control.errors import ConfigError, TransportError
from stmtem_control.station_tables import BenchTable

PATIENCE_S = 20.0


@pytest.fixture(scope="module")
def bench() -> Iterator[BenchProcess]:
    made = BenchProcess(table(speed=20.0, faults=("bias_source:drop@when=ESE",)))
    yield made
    made.close()


def table(**keys: Any) -> BenchTable:
    return BenchTable.model_validate({"size": 256, **keys})


def port(bench: BenchProcess) -> int:
    return int(bench.addresses["bias_source"]["resource"].split("::")[2])


def test_faults_of_the_table_and_at_run_time(
    bench: BenchProcess, attach: Callable[[int], Any]
) -> None:
    source = attach(port(bench))
    source.send(b"*ESE?\n")
    assert source.ask(b"*OPC?\n") == b"1\n"
    bench.inject("bias_source:truncate@exchange=2,amount=1")
    assert source.ask(b"*OPC?\n") == b"1\n"
    source.send(b"*OPC?\n")
    assert source.take(1) == b"1"
    struck = [(event["fault"], event["message"]) for event in bench.fault_log]
    assert struck == [
        ("bias_source:drop@when=ESE", "*ESE?"),
        ("bias_source:truncate@exchange=2,amount=1.0", "*OPC?"),
    ]


def test_the_bench_is_asked_what_is_safe(bench: BenchProcess, attach: Callable[[int], Any]) -> None:
    source = attach(port(bench))
    source.ask(b":SOUR:VOLT 1;:OUTP ON;*OPC?\n")
    answer = bench.safe()
    assert not answer["safe"]["output off"]
    assert answer["since_s"]["output off"] is None
    assert answer["unsafe_s"]["output off"] >= 0.0
    bench.inject("bias_source:reboot")
    assert bench.safe()["safe"]["output off"]
    told = [c["value"] for c in bench.transitions if c["part"] == "output off"]
    assert told == [0.0, 1.0, 0.0]


def test_a_long_log_comes_in_parts(bench: BenchProcess) -> None:
    before = len(bench.fault_log)
    for _ in range(23):
        bench.inject("camera:close")
    assert len(bench.fault_log) == before + 23


def test_bad_orders_are_answered_in_one_line(bench: BenchProcess) -> None:
    with pytest.raises(ConfigError, match="no kind 'dorp'; the nearest is 'drop'"):
        bench.inject("bias_source:dorp")
    with pytest.raises(ConfigError, match="write where:kind"):
        bench.inject("rubbish\nclear\n")
    with pytest.raises(ConfigError, match="no order"):
        bench._order("dance")
    with pytest.raises(ConfigError, match="longer than"):
        bench.inject("x" * 5000)
    bench.clear_faults()


def test_a_bench_that_has_ended_says_so() -> None:
    made = BenchProcess(table())
    made.close()
    with pytest.raises(TransportError, match="has ended"):
        made.clear_faults()


def test_a_bad_fault_of_the_table_is_told() -> None:
    with pytest.raises(TransportError, match="the nearest is 'drop'"):
        BenchProcess(table(faults=("bias_source:dorp",)))


def test_the_station_file_has_faults(tmp_path: Path) -> None:
    file = tmp_path / "faulty.toml"
    sim = (Path(__file__).parents[2] / "stmtem_control" / "stations" / "sim.toml").read_text()
    file.write_text(sim.replace("[bench]", '[bench]\nfaults = ["probe:drop@exchange=3"]'))
    bench = load_station(str(file)).bench
    assert bench is not None
    assert bench.faults == ("probe:drop@exchange=3",)


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "stmtem_control.simulators", "--json", "--until-eof", "--size=256"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    assert process.stdin is not None
    process.stdin.close()
    process.stdout.close()


def test_answers_that_nobody_reads_block_nothing(child: "subprocess.Popen[bytes]") -> None:
    """Also with its output full, the bench hears the end of its input, which is its lifeline."""
    assert child.stdin is not None
    descriptor = child.stdin.fileno()
    os.set_blocking(descriptor, False)
    sent = 0
    while sent < 4000:  # some 600 kB of answers, ten times what a pipe holds
        assert select.select([], [descriptor], [], PATIENCE_S)[1], "the bench reads no more"
        sent += os.write(descriptor, b"safe\n" * 100) // 5
    child.stdin.close()
    assert child.wait(PATIENCE_S) == 0


def test_the_lifeline_holds_with_half_an_order(child: "subprocess.Popen[bytes]") -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b"clear\ninject bias_source:drop@exch")
    child.stdin.flush()
    assert json.loads(child.stdout.readline())["order"] == 1
    child.stdin.close()
    assert child.wait(PATIENCE_S) == 0
