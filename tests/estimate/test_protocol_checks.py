"""``stmtem check``: shipped protocols, all refusals with their places, and the screen."""

import json
from pathlib import Path

import pytest

from stmtem_control.cli import main
from stmtem_control.config import Station, load_station
from stmtem_control.estimate import WalkedLegs, check_protocol
from stmtem_control.protocol import read_protocol

SHIPPED = sorted((Path(__file__).parents[2] / "protocols").glob("*.yaml"))
BAD = """\
protocol: too much
beam: {dose_rate: 20 e/A^2/s, budget: 500 e/A^2}
camera: {rate: 5 Hz, exposure: 35 ms}
steps:
  - approach: {fine_range: 140 V}
  - deposit: {bias: -12 V, duration: 34 s}
  - cycles:
      repeat: 2
      deposit: {bias: -5 V, duration: 1 s}
      strip: {bias: 15 V, duration: 1 s}
  - retract: {steps: 500}
"""
GOOD = """\
protocol: one cycle
beam: {dose_rate: 20 e/A^2/s}
camera: {rate: 25 Hz, exposure: 35 ms}
steps:
  - deposit: {bias: -5 V, duration: 1 s}
  - strip: {bias: 5 V, until: {charge: 0 C}, timeout: 3 s}
"""


@pytest.fixture
def bench(tmp_path: Path) -> Station:
    return load_station("sim").with_data(tmp_path / "runs")


@pytest.fixture(scope="module")
def memory() -> WalkedLegs:
    return WalkedLegs()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_protocols_can_run_on_the_bench(
    path: Path, bench: Station, memory: WalkedLegs
) -> None:
    found = check_protocol(path, bench, memory=memory)
    assert found.ok, found.refusals
    assert found.runs == 1
    waits = any(text.startswith("until ") for text in found.assumptions)
    assert found.frames_exact is not waits
    protocol = read_protocol(path)
    if (budget := protocol.beam.budget_e_per_A2) is not None:
        assert found.dose_e_per_A2 < budget
    assert found.timeline[-1].bias_V == 0.0


def test_legs_that_are_known_change_nothing(bench: Station) -> None:
    path = next(path for path in SHIPPED if path.stem == "several_cycles")
    memory = WalkedLegs()
    first, again = (check_protocol(path, bench, memory=memory) for _ in range(2))
    alone = check_protocol(path, bench)
    assert memory.known
    assert again.messages < 0.3 * first.messages
    for found in (again, alone):
        assert found.wall_s == pytest.approx(first.wall_s)
        assert (found.frames, found.readings) == (first.frames, first.readings)
        assert found.bias_edges == first.bias_edges
        assert found.typical_charge_C == pytest.approx(first.typical_charge_C)
        assert [p.t_s for p in found.timeline] == pytest.approx([p.t_s for p in first.timeline])
        assert [(p.bias_V, p.phase) for p in found.timeline] == [
            (p.bias_V, p.phase) for p in first.timeline
        ]


def test_every_refusal_has_its_place(tmp_path: Path, bench: Station) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(BAD, "utf-8")
    found = check_protocol(path, bench.with_safe())
    lines = [one.one_line() for one in found.refusals]
    placed = [line for line in lines if line.startswith(str(path))]
    assert [line.removeprefix(f"{path}:").split(" V is")[0] for line in placed[:2]] == [
        "6: deposit: bias: -12.0",
        "10: strip: bias: 15.0",
    ]
    assert placed[2].removeprefix(f"{path}:").startswith("11: retract: probe_z_coarse: -500 step")
    assert len(placed) == 3
    (dose,) = [line for line in lines if line not in placed]
    assert "its own budget is 500" in dose
    assert found.frames > 0
    assert any("0.2 s" in text for text in found.warnings)


def test_another_dose_rate_is_refused(tmp_path: Path, bench: Station) -> None:
    path = tmp_path / "bright.yaml"
    path.write_text(GOOD.replace("20 e/A^2/s", "50 e/A^2/s"), "utf-8")
    found = check_protocol(path, bench)
    (refusal,) = found.refusals
    assert "dose_rate is 50 e/A^2/s in the protocol, and 20 e/A^2/s" in refusal.message
    assert found.frames > 0


def test_the_screen_and_the_exit_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text(GOOD, "utf-8")
    Path("bad.yaml").write_text(BAD, "utf-8")
    assert main(["check", "good.yaml", "--plot", "timeline.svg"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("one cycle   at simulated bench\n")
    assert "time      " in out
    assert "until charge 0 C: counted to its time-out" in out
    assert out.splitlines()[-1] == "timeline.svg"
    assert Path("timeline.svg").read_text("utf-8").startswith("<?xml")
    assert main(["check", "bad.yaml"]) == 2
    out = capsys.readouterr().out
    assert "refused  bad.yaml:6: deposit: bias: -12.0 V is outside -10 to 10 V ([bias_so" in out
    assert main(["check", "good.yaml", "--json", "--speed", "10"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert told["station_s"] == pytest.approx(10.0 * told["wall_s"])
    assert not Path("runs").exists()  # nothing is made


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["none.yaml"], "none.yaml: No such file or directory; give the path of a protocol file"),
        (["good.yaml", "--plot", "timeline.txt"], "give a file that ends in .png, .pdf, .svg"),
        (["good.yaml", "--plot", "nowhere/timeline.png"], "cannot be written"),
        (["good.yaml", "--station", "nolab"], "station file nolab"),
        (["good.yaml", "--station", "example_lab", "--speed", "3"], "is not simulated"),
    ],
)
def test_wrong_input_is_one_line(
    arguments: list[str],
    told: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text(GOOD, "utf-8")
    assert main(["check", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("stmtem check: ")
    assert told in error


def test_one_name_for_the_sample_and_the_old_one_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text(GOOD, "utf-8")
    told = []
    for option in ("--sample", "--specimen"):
        assert main(["check", "good.yaml", "--json", option, "CNF-12", "--site", "fibre 2"]) == 0
        out, error = capsys.readouterr()
        (site,) = json.loads(out)["sites"]
        assert (site["specimen"], site["site"]) == ("CNF-12", "fibre 2")
        told.append(error)
    assert told == ["", "stmtem check: --specimen is called --sample now\n"]


def test_the_bench_is_the_one_of_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Size and seed make a difference to what a run comes to."""
    monkeypatch.chdir(tmp_path)
    found = []
    for options in ([], ["--size", "1024"], ["--seed", "7"]):
        assert main(["check", "small_particles", "--json", *options]) == 0
        found.append(json.loads(capsys.readouterr().out))
    plain, large, seeded = found
    assert large["image_shape"] == [1024, 1024]
    assert large["bytes_on_disk"] > 3 * plain["bytes_on_disk"]
    assert seeded["station_s"] != plain["station_s"]
    assert main(["check", "small_particles", "--preset", "fig9"]) == 2
    assert "fig9" in capsys.readouterr().err
