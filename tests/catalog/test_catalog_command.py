"""``stmtem catalog`` as a person runs it."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stmtem_control.catalog import command
from stmtem_control.cli import main

from .recorded_run import RecordedRun

STMTEM = [sys.executable, "-m", "stmtem_control.cli"]


def test_what_to_install_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    assert main(["catalog", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "stmtem catalog: tiled is not installed; "
        "pip install 'stmtem-control[catalog]' (about 1.2 GB)\n"
    )


def test_a_data_folder_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: "something")
    assert main(["catalog", str(tmp_path / "runs")]) == 2
    assert "not there; give the one that holds the runs" in capsys.readouterr().err


def test_the_port_is_taken(server: Any, tmp_path: Path) -> None:
    from stmtem_control.catalog.server import CatalogServer
    from stmtem_control.errors import ConfigError

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}: taken by another program; choose"):
            CatalogServer(tmp_path, port)
    with pytest.raises(ConfigError, match="port 70000: "):
        CatalogServer(tmp_path, 70000)


def test_one_folder_is_served_once(server: Any) -> None:
    from stmtem_control.catalog.server import CatalogServer
    from stmtem_control.errors import ConfigError

    with pytest.raises(ConfigError, match="another 'stmtem catalog' serves it"):
        CatalogServer(server.root)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_catalog_that_is_none(server: Any, tmp_path: Path) -> None:
    (tmp_path / ".catalog").mkdir()
    (tmp_path / ".catalog" / "catalog.db").write_text("this is not a database", "utf-8")
    # In a process of its own: a second server would change the key of the first.
    done = subprocess.run(
        [*STMTEM, "catalog", str(tmp_path), "--port", "0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert re.fullmatch(r"stmtem catalog: catalog .* cannot be opened: .*\n", done.stderr)
    assert "it can be removed: all that it holds is made again" in done.stderr


def test_registering_at_a_server_that_runs_already(
    server: Any,
    client: Any,
    record: Callable[..., RecordedRun],
    root: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = record()
    run.record(3)
    run.stop()
    monkeypatch.setenv("TILED_API_KEY", server.key_file.read_text("ascii"))
    monkeypatch.setenv("TILED_RETRY_ATTEMPTS", "1")
    monkeypatch.setenv("TILED_RETRY_TIMEOUT", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert main(["catalog", str(root), "--once", "--server", server.uri]) == 0
    assert "1 runs registered" in capsys.readouterr().out
    assert client[run.uid]["frames"]["camera_image"].shape == (3, 12, 16)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert main(["catalog", str(root), "--once", "--server", f"http://127.0.0.1:{port}"]) == 1
    assert "Connection refused; tried again in 1 s" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_command_serves_until_it_is_interrupted(server: Any, tmp_path: Path) -> None:
    from tiled.client import from_uri

    first = RecordedRun(tmp_path)
    first.record(3)
    first.stop()
    process = subprocess.Popen(
        [*STMTEM, "catalog", str(tmp_path), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        told = ""
        for line in process.stdout:
            told += line
            if "1 runs registered" in line:
                break
        # What it says about how to connect is true.
        found = re.search(r'runs = from_uri\("(.*)", api_key=open\("(.*)"\)\.read\(\)\)', told)
        assert found is not None, told
        key = Path(found[2]).read_text("ascii")
        client = from_uri(found[1], api_key=key, cache=None, trust_env=False)
        assert client[first.uid]["frames"]["camera_image"].shape == (3, 12, 16)
        second = RecordedRun(tmp_path, plan="strip")  # comes while it runs
        second.record(2)
        second.stop()
        assert any("2 runs registered" in line for line in process.stdout)
        assert len(client) == 2
        client.context.close()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
    finally:
        process.kill()
        process.communicate()
