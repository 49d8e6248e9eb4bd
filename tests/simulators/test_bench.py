"""The bench as a whole: wiring, repeatability, and that it leaves nothing behind."""

import contextlib
import csv
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stmtem_control.simulators import Bench, HandClock
from stmtem_control.simulators.truth_log import COLUMNS


def ask(port: int, *lines: bytes) -> list[bytes]:
    """Send messages to the source; return an answer for each that is a query."""
    answers = []
    with socket.create_connection(("127.0.0.1", port), 5.0) as wire, wire.makefile("rb") as replies:
        for line in lines:
            wire.sendall(line + b"\n")
            if b"?" in line:
                answers.append(replies.readline().strip())
    return answers


@pytest.fixture
def hand_bench() -> Iterator[Bench]:
    with Bench(clock=HandClock(), size=256) as made:
        yield made


def test_it_starts_safe(hand_bench: Bench) -> None:
    assert hand_bench.safe() == dict.fromkeys(hand_bench.safe(), True)


def test_line_1_of_the_source_blanks_the_beam(hand_bench: Bench) -> None:
    port = hand_bench.source_tcp.port
    ask(port, b":SOUR2:TTL 14", b"*OPC?")
    assert not hand_bench.specimen.blanked
    ask(port, b":SOUR2:TTL 15", b"*OPC?")
    assert hand_bench.specimen.blanked


def test_the_source_drives_the_specimen(hand_bench: Bench) -> None:
    hand_bench.specimen.step(2, 421.0)
    port = hand_bench.source_tcp.port
    setup = (b"*RST", b":SENS:CURR:PROT 1e-8", b":OUTP:SMOD HIMP", b":SOUR:VOLT -5", b":OUTP ON")
    ask(port, *setup, b"*OPC?")
    hand_bench.clock.wait_until(hand_bench.clock.now() + 0.8)
    hand_bench.specimen.settle()
    assert len(hand_bench.specimen.model.particles) > 20
    ask(port, b":OUTP OFF", b"*OPC?")
    assert not hand_bench.source.output_on
    assert hand_bench.specimen.noise(1.0) == 0.0  # high impedance: nothing is connected


def test_the_same_commands_at_the_same_times_give_the_same() -> None:
    def run() -> tuple[list[bytes], bytes, bytes]:
        with Bench(clock=HandClock(), size=256, seed=5) as bench:
            bench.specimen.step(2, 421.0)
            port = bench.source_tcp.port
            setup = (b":SENS:CURR:PROT 1e-8", b":SOUR2:TTL 14", b":SOUR:VOLT -5", b":OUTP ON")
            ask(port, *setup, b"*OPC?")
            answers = []
            for _ in range(5):
                bench.clock.wait_until(bench.clock.now() + 0.1)
                answers += ask(port, b":READ?")
            now = bench.clock.now()
            image = bench.specimen.image(now - 0.1, now, (64, 64), 7)
            return answers, image.tobytes(), bench.specimen.model.particles.tobytes()

    assert run() == run()


def test_another_seed_is_another_specimen() -> None:
    volumes = []
    for seed in (1, 2):
        with Bench(clock=HandClock(), size=256, seed=seed) as bench:
            bench.specimen.step(2, 421.0)
            bench.specimen.drive(-5.0, 1e-8)
            bench.clock.wait_until(0.5)
            bench.specimen.settle()
            volumes.append(bench.specimen.model.particles["volume_nm3"].tobytes())
    assert volumes[0] != volumes[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 300}, "image size is 300"),
        ({"preset": "fig9"}, "fig9"),
        ({"model": "9999"}, "9999"),
        ({"speed": 0.0}, "speed"),
        ({"speed": float("nan")}, "speed"),
    ],
)
def test_bad_options_are_refused_and_leave_nothing(options: dict[str, object], words: str) -> None:
    before = threading.active_count()
    with pytest.raises(ValueError, match=words):
        Bench(**options)  # type: ignore[arg-type]
    assert threading.active_count() == before


def test_a_busy_port_is_named_and_leaves_nothing() -> None:
    before = threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port}"):
            Bench(size=256, data_port=port)
    assert threading.active_count() == before


def test_closing_hangs_up_on_everybody(hand_bench: Bench) -> None:
    wires = [
        socket.create_connection(("127.0.0.1", port), 5.0)
        for port in (hand_bench.source_tcp.port, hand_bench.camera_control.port)
        for _ in range(3)
    ]
    hand_bench.close()
    for wire in wires:
        wire.settimeout(5.0)
        # One that had not been accepted yet is reset.
        with wire, contextlib.suppress(ConnectionResetError):
            assert wire.recv(64) == b""
    hand_bench.close()


def test_closing_does_not_wait_for_an_endless_motion() -> None:
    bench = Bench(size=256)
    with socket.create_connection(("127.0.0.1", bench.probe_tcp.port), 5.0) as wire:
        wire.settimeout(5.0)
        wire.recv(256)
        wire.sendall(b"123456\r\n")
        got = b""
        while b"success" not in got:
            got += wire.recv(256)
        wire.sendall(b"setm 3 stp\r\nstepd 3 c\r\nstepw 3\r\n")
        while b"stepw" not in got:
            got += wire.recv(256)
        bench.close()


def test_the_ground_truth_of_every_frame_is_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    with Bench(clock=HandClock(), truth=path, seed=2) as bench:
        bench.specimen.blank.drive(False)
        bench.specimen.bend(2, 425.0)  # in contact
        bench.specimen.drive(-5.0, 1e-6)
        for number in range(3):
            bench.clock.wait_until(0.3 * (number + 1))
            bench.specimen.image(0.3 * number, 0.3 * (number + 1), (128, 128), number)
        shown = len(bench.specimen.model.ground_truth((128, 128), 8.0, (-631.36, 0.0)))
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert {row["exposure"] for row in rows} == {"0", "1", "2"}
    last = [row for row in rows if row["exposure"] == "2"]
    assert len(last) == shown > 5
    assert {float(row["stop_s"]) for row in last} == {0.9}
    assert float(last[0]["dose_e_per_A2"]) == pytest.approx(6.0)
    with pytest.raises(OSError, match="nowhere"):
        Bench(clock=HandClock(), truth=tmp_path / "nowhere" / "truth.csv")
