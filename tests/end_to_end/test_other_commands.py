"""``stmtem sim``, ``doctor``, ``runs``, ``session``, and the examples."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from stmtem_control.cli import main

ROOT = Path(__file__).resolve().parents[2]
STMTEM = [sys.executable, "-m", "stmtem_control.cli"]


def start_sim(*options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [*STMTEM, "sim", "--json", "--size", "256", *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ask(port: int, question: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5.0) as wire, wire.makefile("rb") as answers:
        wire.sendall(question)
        return bytes(answers.readline())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sim_prints_one_line_when_all_accept_and_ends_on_a_signal(number: signal.Signals) -> None:
    process = start_sim("--model", "2450")
    assert process.stdout is not None
    addresses = json.loads(process.stdout.readline())
    assert set(addresses) == {"bias_source", "probe", "camera"}
    assert set(addresses["bias_source"]) == {"resource", "serial"}
    assert set(addresses["probe"]) == {"serial", "host", "port", "password"}
    assert set(addresses["camera"]) == {"host", "control", "data"}
    kind, host, port, end = addresses["bias_source"]["resource"].split("::")
    assert (kind, host, end) == ("TCPIP", "127.0.0.1", "SOCKET")
    assert b"MODEL 2450" in ask(int(port), b"*IDN?\n")
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (0, "", "")


def test_sim_ends_with_its_parent() -> None:
    process = start_sim("--until-eof")
    assert process.stdout is not None
    json.loads(process.stdout.readline())
    _, err = process.communicate(timeout=20)  # closes its standard input
    assert (process.returncode, err) == (0, "")


def test_sim_refuses_a_busy_port_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start_sim("--source-port", str(port))
        out, err = process.communicate(timeout=20)
    assert process.returncode == 2
    assert out == ""
    assert f"port {port}" in err
    assert len(err.splitlines()) == 1


def test_doctor_finds_the_simulated_station_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "FAIL" not in out
    assert "MODEL 6430" in out
    assert "all is well" in out


def test_doctor_names_what_does_not_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import stmtem_control

    text = (Path(stmtem_control.__file__).parent / "stations" / "sim.toml").read_text("utf-8")
    path = tmp_path / "lab.toml"
    text = text.replace('port = "bench"', 'port = "/dev/nothing"')
    path.write_text(text.replace('data = "runs"', f'data = "{tmp_path}/runs"'))
    assert main(["doctor", "--station", str(path)]) == 2
    out = capsys.readouterr().out
    assert out.count("FAIL") == 1
    assert "/dev/nothing" in out


def test_runs_of_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(tmp_path)]) == 0
    assert "no runs" in capsys.readouterr().out


def test_runs_of_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_session_has_the_names_that_it_promises(tmp_path: Path) -> None:
    code = (
        "RE(bps.mv(bias, 0.1)); print('bias', bias.setpoint.get(), bias.voltage.describe())\n"
        "print(sorted(device.name for device in (bias, probe, camera, beam)))\n"
        "print(safe_state().ok, callable(deposit), callable(retract))"
    )
    done = subprocess.run(
        [*STMTEM, "session", "--out", str(tmp_path / "runs"), "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert "['beam', 'bias', 'camera', 'probe']" in done.stdout
    assert "True True True" in done.stdout


@pytest.mark.parametrize("name", sorted(p.name for p in (ROOT / "examples").glob("*.py")))
def test_examples_run(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / name), str(tmp_path / "runs")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
