"""Protocols that come with the package: listed, found by name, and copied out."""

import tomllib
from pathlib import Path

import pytest

from stmtem_control.cli import main
from stmtem_control.errors import ProtocolFileError
from stmtem_control.protocol import find_protocol, read_protocol, shipped_protocols

ROOT = Path(__file__).resolve().parents[2]
NAME = "small_particles"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be in a folder without any protocol."""
    monkeypatch.chdir(tmp_path)


def test_all_of_the_folder_are_shipped() -> None:
    data = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    assert data["package-dir"]["stmtem_control.protocols"] == "protocols"
    assert data["package-data"]["stmtem_control.protocols"] == ["*.yaml"]
    assert set(shipped_protocols()) == {path.stem for path in (ROOT / "protocols").glob("*.yaml")}


@pytest.mark.parametrize("given", [NAME, f"{NAME}.yaml", Path(NAME), f"{NAME}.YML"])
def test_a_name_does_where_no_such_file_is(given: str | Path) -> None:
    assert read_protocol(given).name == "small particles"


def test_a_file_here_goes_before_a_name() -> None:
    Path(NAME).mkdir()  # a folder is none
    assert read_protocol(NAME).name == "small particles"
    own = Path("large_crystal.yaml")
    own.write_text("protocol: mine\nsteps: [rest: {duration: 1 s}]\n")
    assert find_protocol("large_crystal.yaml") == own
    assert read_protocol("large_crystal.yaml").name == "mine"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("small_particels", "did you mean 'small_particles', which comes with the package?"),
        ("Small particles", "did you mean 'small_particles', which comes with the package?"),
        ("xyz.yaml", "give the path of a protocol file, or a name that 'stmtem protocols' lists"),
        ("here/small_particles", "give the path of a protocol file"),
        ("small\0particles", "embedded null byte; give the path of a protocol file"),
    ],
)
def test_an_unknown_name_gets_the_nearest(given: str, says: str) -> None:
    with pytest.raises(ProtocolFileError) as raised:
        read_protocol(given)
    assert str(raised.value).endswith(says)
    assert "\n" not in str(raised.value)


def test_a_folder_is_no_protocol() -> None:
    Path("folder").mkdir()
    with pytest.raises(ProtocolFileError, match="folder: Is a directory"):
        read_protocol("folder")


def test_they_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protocols"]) == 0
    listed = capsys.readouterr().out
    for name, path in shipped_protocols().items():
        assert f"{name} " in listed
        assert " ".join(str(read_protocol(path).shows).split()) in listed


def test_one_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["protocols", NAME]) == 0
    assert capsys.readouterr().out == shipped_protocols()[NAME].read_text("utf-8")


def test_one_is_copied_and_nothing_is_overwritten(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["protocols", NAME, "--copy"]) == 0
    assert capsys.readouterr().out == f"{NAME}.yaml\n"
    copy = tmp_path / f"{NAME}.yaml"
    assert copy.read_bytes() == shipped_protocols()[NAME].read_bytes()
    copy.write_text("edited")
    assert main(["protocols", NAME, "--copy", "."]) == 2
    assert copy.read_text() == "edited"
    assert "is there already, and is kept; give another name" in capsys.readouterr().err
    assert main(["protocols", NAME, "--copy", "other.yaml"]) == 0
    assert (tmp_path / "other.yaml").read_bytes() == shipped_protocols()[NAME].read_bytes()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--copy"], "say which one to copy: 'stmtem protocols NAME --copy'"),
        (["smal_particles"], "did you mean 'small_particles'"),
        ([NAME, "--copy", "nowhere/x.yaml"], "give a file that can be written: --copy FILE"),
    ],
)
def test_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], says: str
) -> None:
    assert main(["protocols", *arguments]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_name_is_checked_and_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["check", NAME], ["run", NAME, "--dry-run"]):
        assert main(command) == 0
        assert capsys.readouterr().out.startswith("small particles   at simulated bench\n")
