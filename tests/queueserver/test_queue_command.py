"""``stmtem queue`` before it becomes a manager: what it refuses, and the line that it prints."""

import os
import shlex
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import NoReturn

import pytest

from stmtem_control.cli import main
from stmtem_control.queueserver import command
from stmtem_control.queueserver.asked import Asked

from .conftest import free_port, wait_for

W = 10.0


@pytest.fixture
def no_manager(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Note what would be started, instead of becoming it; the list is not made either."""
    started: list[list[str]] = []

    def become(_program: str, words: list[str], _environment: dict[str, str]) -> NoReturn:
        started.append(words)
        raise SystemExit(0)

    monkeypatch.setattr(command, "_write_list", lambda _path, _environment: 0)
    monkeypatch.setattr(os, "execve", become)
    return started


def test_the_line_that_it_prints_names_the_files_of_the_package(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["queue", "--print", "--out", str(tmp_path), "--redis", "there:1"]) == 0
    words = shlex.split(capsys.readouterr().out)
    assert words[:3] == ["STMTEM_STATION=sim", f"STMTEM_DATA={tmp_path}", "start-re-manager"]
    options = dict(word.removeprefix("--").split("=", 1) for word in words[3:])
    assert options["startup-module"] == "stmtem_control.queueserver.startup"
    assert Path(options["user-group-permissions"]).is_file()
    assert options["existing-plans-devices"].startswith(str(tmp_path))
    assert options["redis-addr"] == "there:1"
    assert options["redis-name-prefix"] == "stmtem_simulated_bench"
    assert options["zmq-control-addr"].startswith("tcp://127.0.0.1:")
    assert options["zmq-info-addr"].startswith("tcp://127.0.0.1:")


def test_without_redis_nothing_is_started(
    tmp_path: Path, no_manager: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    address = f"127.0.0.1:{free_port()}"
    assert main(["queue", "--out", str(tmp_path), "--redis", address]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"stmtem queue: redis at {address}: Connection refused; start one")
    assert told.count("\n") == 1
    assert not no_manager


@pytest.mark.parametrize(("answer", "starts"), [(b"+PONG\r\n", True), (b"HTTP/1.1 400", False)])
def test_only_a_redis_server_will_do(
    tmp_path: Path,
    no_manager: list[list[str]],
    capsys: pytest.CaptureFixture[str],
    answer: bytes,
    starts: bool,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as beside:

        def serve() -> None:
            with server.accept()[0] as line:
                assert line.recv(16) == b"PING\r\n"
                line.sendall(answer)

        served = beside.submit(serve)
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(SystemExit) if starts else nullcontext():
            assert main(["queue", "--out", str(tmp_path), "--redis", address]) == 2
        served.result(W)
    assert bool(no_manager) == starts
    assert ("something else answers" in capsys.readouterr().err) != starts


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--permissions", "nowhere.yaml"], "nowhere.yaml: no such file"),
        (["--attach", "nowhere.json"], "not the addresses of a bench"),
        (["--station", "nowhere.toml"], "No such file"),
    ],
)
def test_a_file_that_is_not_there_is_named(
    option: list[str], told: str, no_manager: list[list[str]],
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(["queue", *option]) == 2
    assert told in capsys.readouterr().err
    assert not no_manager


def test_without_the_extra_it_is_said_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "find_spec", lambda _name: None)
    assert main(["queue"]) == 2
    assert "pip install 'stmtem-control[queue]'" in capsys.readouterr().err


def test_a_question_waits_for_its_answer_or_is_withdrawn(
    capsys: pytest.CaptureFixture[str], helpers: list[threading.Thread]
) -> None:
    asked, answers = Asked(), list[str]()

    def ask() -> None:
        helpers.append(
            threading.Thread(target=lambda: answers.append(asked("In focus?")), daemon=True)
        )
        helpers[-1].start()
        wait_for(lambda: asked.question)

    assert not asked.answer("yes")
    ask()
    assert asked.question == "In focus?"
    assert asked.answer("yes")
    wait_for(lambda: answers == ["yes"])
    assert asked.question == ""
    ask()
    asked.cancel()
    wait_for(lambda: answers == ["yes", "stop"])
    assert "QUESTION: In focus?" in capsys.readouterr().out
