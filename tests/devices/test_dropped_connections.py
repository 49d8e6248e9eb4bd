"""Connections that drop while the sample is under bias, on the simulated bench's real wires."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from stmtem_control.clock import StationClock
from stmtem_control.devices import BeamBlanker, BiasSource, PiezoProbe
from stmtem_control.devices.anc300 import Anc300
from stmtem_control.devices.keithley import Keithley2400
from stmtem_control.devices.merlin import Merlin
from stmtem_control.errors import TransportError, TransportTimeout
from stmtem_control.link import Link
from stmtem_control.serial_port import SerialTransport
from stmtem_control.simulators import Bench
from stmtem_control.tcp import TcpTransport
from stmtem_control.timeline import Timeline
from stmtem_control.transport import Transport
from stmtem_control.visa import VisaTransport

W = 5.0  # wall seconds that a test waits at most
STOP_S = 1.5  # wall seconds that a stop may take; a busy machine gets as much again

Opened = Callable[[Callable[[], Transport], str], Link]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """A function that makes a link; all are closed at the end."""
    made: list[Link] = []

    def make(opener: Callable[[], Transport], name: str) -> Link:
        made.append(Link(opener, name=name))
        return made[-1]

    yield make
    for link in made:
        link.close()


@pytest.fixture
def source(bench: Bench, opened: Opened) -> Keithley2400:
    resource = bench.addresses.bias_source["resource"]
    return Keithley2400(
        opened(lambda: VisaTransport(resource), "bias_source"),
        speed=bench.clock.speed,
        digital_word_after_reset=15,
    )


@pytest.fixture
def devices(source: Keithley2400) -> tuple[BiasSource, BeamBlanker]:
    """A source at 5 V, with the output on, and an open beam."""
    clock, timeline = StationClock(), Timeline()
    bias = BiasSource(source=source, clock=clock, timeline=timeline, max_bias_V=10.0)
    beam = BeamBlanker(source=source, clock=clock, timeline=timeline, dose_rate_e_per_A2_s=1.0)
    bias.connect(W)
    beam.connect(W)
    bias.set(5.0).wait(W)
    beam.set("open").wait(W)
    return bias, beam


def exposed(bench: Bench) -> bool:
    """Tell whether the sample is under bias and beam."""
    return bench.source.output_on and not bench.specimen.blanked


def dropped(bench: Bench, bias: BiasSource) -> None:
    """Drop the connection, and let the driver notice it by an ordinary command."""
    bench.source_tcp.drop_clients()
    with pytest.raises(TransportError) as caught:
        bias.trigger().wait(W)
    assert not isinstance(caught.value, TransportTimeout)
    assert not bias.source.link.alive


@pytest.mark.parametrize("noticed", [False, True])
def test_a_stop_gets_through_after_the_connection_dropped(
    bench: Bench, devices: tuple[BiasSource, BeamBlanker], noticed: bool
) -> None:
    bias, beam = devices
    assert exposed(bench)
    if noticed:
        dropped(bench, bias)
    else:
        bench.source_tcp.drop_clients()
    begun = time.monotonic()
    bias.stop()
    assert time.monotonic() - begun < 2.0 * STOP_S
    assert bias.unsafe is None
    assert not bench.source.output_on
    assert bench.source.level == 0.0
    beam.stop()
    assert beam.unsafe is None
    assert bench.specimen.blanked
    # Whoever wants to go on must say so.
    for refused in (bias.set(1.0), beam.set("open")):
        with pytest.raises(TransportError):
            refused.wait(W)
    bias.source.link.reopen(W)
    bias.set(1.0).wait(W)
    assert bench.source.output_on


@pytest.mark.parametrize("noticed", [False, True])
def test_disconnecting_makes_safe_after_the_connection_dropped(
    bench: Bench, devices: tuple[BiasSource, BeamBlanker], noticed: bool
) -> None:
    bias, beam = devices
    if noticed:
        dropped(bench, bias)
    else:
        bench.source_tcp.drop_clients()
    beam.disconnect()
    bias.disconnect()
    assert bench.specimen.blanked
    assert not bench.source.output_on


def test_every_drop_is_survived(bench: Bench, devices: tuple[BiasSource, BeamBlanker]) -> None:
    bias, beam = devices
    for _ in range(3):
        bench.source_tcp.drop_clients()
        bias.stop()
        bench.source_tcp.drop_clients()
        beam.stop()
        assert (bias.unsafe, beam.unsafe) == (None, None)


def test_a_source_that_is_gone_is_told_in_time(
    bench: Bench, devices: tuple[BiasSource, BeamBlanker]
) -> None:
    bias, beam = devices
    bench.source_tcp.close()
    for device in (bias, beam):
        begun = time.monotonic()
        device.stop()
        assert time.monotonic() - begun < 2.0 * STOP_S
        assert device.unsafe is not None
        assert "cannot connect; is the instrument on?" in device.unsafe
    bias.disconnect()
    assert bias.unsafe is not None


def test_a_host_that_does_not_even_refuse_is_told_in_time(
    bench: Bench, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stmtem_control.devices.bias_source.STOP_S", 0.1)
    go, times = threading.Event(), list[float]()

    def open_source() -> Transport:
        times.append(time.monotonic())
        if len(times) > 1:
            assert go.wait(W)
        return TcpTransport("127.0.0.1", bench.source_tcp.port)

    bias = BiasSource(
        source=Keithley2400(opened(open_source, "bias_source"), speed=bench.clock.speed),
        clock=StationClock(),
        timeline=Timeline(),
        max_bias_V=10.0,
    )
    bias.connect(W)
    bias.set(5.0).wait(W)
    bench.source_tcp.drop_clients()
    begun = time.monotonic()
    bias.stop()
    assert time.monotonic() - begun < 1.0
    assert bias.unsafe is not None
    assert "did not end within 0.1 s; no answer from 127.0.0.1:" in bias.unsafe
    # Late is better than never: what could not be confirmed is still carried out.
    go.set()
    bias.source.link.call(lambda _: None, priority=0, timeout=W)
    assert not bench.source.output_on


def test_a_source_that_measures_for_seconds_is_switched_off_at_once(
    bench: Bench, devices: tuple[BiasSource, BeamBlanker], source: Keithley2400
) -> None:
    bias, beam = devices
    # A hundred readings of 10 cycles each, averaged: half a minute of the bench's time.
    slow = b":SENS:CURR:NPLC 10;:SENS:AVER:COUN 100;:SENS:AVER:TCON REP;:SENS:AVER ON\n"
    source.link.call(lambda transport: transport.write(slow), timeout=W)
    reading = bias.trigger()
    with pytest.raises(TransportTimeout):
        reading.wait(W)
    assert exposed(bench)  # it still measures
    begun = time.monotonic()
    bias.stop()
    beam.stop()
    assert time.monotonic() - begun < STOP_S
    assert (bias.unsafe, beam.unsafe) == (None, None)
    assert not bench.source.output_on
    assert bench.specimen.blanked


def test_a_source_that_is_busy_gets_the_bytes_of_a_stop(opened: Opened) -> None:
    """It takes everything in and answers nothing any more, on the old connection as on a new."""
    got, off = list[bytes](), threading.Event()

    def serve(peer: socket.socket) -> None:
        with peer, contextlib.suppress(ConnectionResetError):
            while data := peer.recv(4096):
                got.append(data)
                if b"*IDN?" in data and not busy.is_set():
                    peer.sendall(b"KEITHLEY INSTRUMENTS INC.,MODEL 6430,1117422,C27\n")
                if b":OUTP OFF" in data:
                    off.set()

    def accept() -> None:
        for _ in range(2):
            peer, _address = server.accept()
            peers.append(peer)
            serve(peer)

    busy, peers = threading.Event(), list[socket.socket]()
    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = threading.Thread(target=accept)
        listener.start()
        port = server.getsockname()[1]
        link = opened(lambda: TcpTransport("127.0.0.1", port), "bias_source")
        source = Keithley2400(link, timeout_s=0.3)
        source.open().result(W)
        busy.set()
        with pytest.raises(TransportTimeout):
            source.digital_lines(1).result(W)
        stopped = source.zero_and_off()
        assert off.wait(0.25)  # before it has had the time not to answer
        with pytest.raises(TransportTimeout):
            stopped.result(W)
        assert b"".join(got).endswith(b":SOUR:VOLT 0\n:OUTP OFF\n*ESE 1;*ESE?;*IDN?\n")
        off.clear()
        peers[0].shutdown(socket.SHUT_RDWR)
        with pytest.raises(TransportTimeout):
            source.zero_and_off().result(W)
        assert off.wait(W)
        assert b"".join(got).endswith(b"*ESE 2;*ESE?;*IDN?\n:SOUR:VOLT 0\n:OUTP OFF\n")
        link.close()
        listener.join(W)


@pytest.mark.parametrize("noticed", [False, True])
def test_a_probe_is_stopped_after_its_connection_dropped(
    bench: Bench, opened: Opened, noticed: bool
) -> None:
    """Over the network a new connection begins with a log-in."""
    place = bench.addresses.probe
    url = f"socket://{place['host']}:{place['port']}"
    link = opened(lambda: SerialTransport(url), "probe")
    probe = PiezoProbe(
        controller=Anc300(link, password=place["password"]),
        clock=StationClock(bench.clock.speed),
        timeline=Timeline(),
    )
    probe.connect(W)
    probe.connect(W)  # a second time there is no log-in
    probe.z.frequency_Hz.set(1).wait(W)
    motion = probe.z.coarse.set(-100)
    link.call(lambda _: None, timeout=W)
    assert bench.probe.moving
    bench.probe_tcp.drop_clients()
    if noticed:
        with pytest.raises(TransportError):
            probe.controller.getm(1).result(W)
        with pytest.raises(TransportError):
            motion.wait(W)
    probe.stop()
    assert probe.unsafe is None
    assert not bench.probe.moving
    probe.disconnect()


def test_a_camera_is_told_to_stop_after_its_connection_dropped(
    bench: Bench, opened: Opened
) -> None:
    place = bench.addresses.camera
    link = opened(lambda: TcpTransport(place["host"], place["control"]), "camera")
    camera = Merlin(link, host=place["host"], data_port=place["data"])
    camera.open().result(W)
    camera.set_many({"NUMFRAMESTOACQUIRE": 0, "TRIGGERSTART": 0}).result(W)
    camera.command("STARTACQUISITION").result(W)
    assert bench.camera.busy
    bench.camera_control.drop_clients()
    camera.command("STOPACQUISITION", safe=True).result(W)
    begun = bench.clock.now()
    while bench.clock.now() < begun + 0.5:  # the frame that is being exposed comes to its end
        bench.clock.wait_until(begun + 0.5)
    assert not bench.camera.busy
    with pytest.raises(TransportError):
        camera.get("ACQUISITIONTIME").result(W)


def test_a_source_that_lost_its_settings_is_not_gone_on_with(
    bench: Bench, devices: tuple[BiasSource, BeamBlanker]
) -> None:
    bias, _ = devices
    bench.source_tcp.drop_clients()
    bias.stop()
    bias.source.link.call(lambda transport: transport.write(b"*RST\n"), priority=0, timeout=W)
    bench.source_tcp.drop_clients()
    bias.stop()
    for go_on in (lambda: bias.source.link.reopen(W), lambda: bias.set(1.0).wait(W)):
        with pytest.raises(TransportError, match="the next plan sets it up again"):
            go_on()
    assert not bench.source.output_on
