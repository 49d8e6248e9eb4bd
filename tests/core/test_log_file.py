"""The log: quiet where it cannot be written."""

import logging
from pathlib import Path

import pytest

from stmtem_control.log_file import LOG_NAME, log_to


def test_warnings_go_to_the_file(tmp_path: Path) -> None:
    with log_to(tmp_path):
        logging.getLogger("some.library").warning("beware")
    assert "beware" in (tmp_path / LOG_NAME).read_text()


def test_a_disk_that_is_gone_stops_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with log_to(tmp_path / "gone"):
        logging.getLogger("some.library").error("told to nobody")
    assert capsys.readouterr() == ("", "")
