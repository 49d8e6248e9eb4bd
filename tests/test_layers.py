"""Imports run one way, and devices, plans and simulators are strangers to each other."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GROUND = {
    "errors",
    "units",
    "config",
    "clock",
    "timeline",
    "transport",
    "link",
    "exchanges",
    "clock_model",
    "interlock_table",
    "permit",
    "device_limits",
    "recording",
    "dose",
    "protocol",
}
WIRES = {"visa", "serial_port", "tcp"}
MAY_IMPORT = {  # folder -> the stmtem_control names it may use
    "devices": {*GROUND, *WIRES, "devices"},
    "plans": {"errors", "units", "clock", "device_limits", "protocol", "plans"},
    "simulators": {"errors", "simulators"},
}
# Within stmtem_control itself: who may import whom, from the ground up.
FLOORS = [
    {"errors", "units", "exchanges", "permit", "terminal", "device_limits", "command_options"},
    {"clock", "clock_model", "timeline", "transport", "nucleation_transients"},
    {"nucleation_coverage"},
    {"recording", "dose", "protocol"},
    {"config", "station_tables", "interlock_table"},
    {"station_dose", "named_station"},
    {
        "answer",
        "socket_wire",
        "serial_port",
        "visa",
        "tcp",
        "job_queue",
        "connection",
        "link",
        "run_folder",
    },
    {"bench_process", "log_file", "page_validation", "station_lock", "end_signals", "keyboard"},
    {"catalog_feed", "overview", "tab_units"},
    {
        "contact_sheet",
        "recovery_report",
        "run_report",
        "show_run",
        "export_run",
        "run_commands",
    },
    {"dose_picture", "past_run"},
    {"dose_command"},
    {"session_dose", "estimate", "public_plans"},
    {"check_command", "list_protocols"},
    {"document_line", "safe_channel", "during_task", "outcome"},
    {"run_engine"},
    {"mend_links", "publish"},
    {"connect", "declare_rest"},
    {"safe_station", "ending", "heartbeat", "guard"},
    {"judge"},
    {"guard_process", "safe_command", "watch", "run_completion"},
    {"session"},
    {"progress", "doctor", "recover", "catalog", "watch_documents", "pytest_plugin"},
    {"ask_at_terminal", "run_protocol"},
    {"run_control", "protocol_progress", "magics", "scan_table"},
    {"prompt"},
    {"console", "demo", "shared_prompt", "queueserver", "run_command", "protocol_commands"},
    {"startup", "queue_commands"},
    {"cli"},
]


def imported(path: Path) -> set[str]:
    """Return the second part of every stmtem_control import in a file, relative ones too."""
    names: set[str] = set()
    top, *rooms = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                inside = module.split(".")[0]
                found = [inside] if inside else [alias.name for alias in node.names]
                dotted = [f"stmtem_control.{name}" for name in found]
                # One dot, in a room below: its own neighbours; two dots: the house.
                if top != "stmtem_control":
                    dotted = [f"stmtem_control.{top}"]
                elif rooms and node.level == 1:
                    dotted = [f"stmtem_control.{rooms[0]}"]
            else:
                dotted = [f"{module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names]
        else:
            continue
        names |= {d.split(".")[1] for d in dotted if d.startswith("stmtem_control.")}
    return names


FILES = [p for folder in MAY_IMPORT for p in sorted((ROOT / folder).rglob("*.py"))]
HOUSE = sorted((ROOT / "stmtem_control").rglob("*.py"))
EVERY = [*FILES, *HOUSE, *sorted((ROOT / "tests").rglob("*.py"))]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_folders_import_what_they_may(path: Path) -> None:
    folder = path.relative_to(ROOT).parts[0]
    assert imported(path) <= MAY_IMPORT[folder]


@pytest.mark.parametrize("path", HOUSE, ids=name_of)
def test_floors_import_downwards(path: Path) -> None:
    if path.stem == "__init__":
        return
    room = path.relative_to(ROOT / "stmtem_control").with_suffix("").parts[0]
    level = next(i for i, floor in enumerate(FLOORS) if room in floor)
    below = set().union(*FLOORS[: level + 1])
    if level >= next(i for i, floor in enumerate(FLOORS) if "session_dose" in floor):
        below |= {"devices", "plans", "simulators", "__version__"}
    assert imported(path) <= below


@pytest.mark.parametrize("path", EVERY, ids=name_of)
def test_no_second_copies(path: Path) -> None:
    """In a checkout 'import devices' works too, and makes a second copy of every class."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and not node.level:
            assert (node.module or "").split(".")[0] not in MAY_IMPORT
        elif isinstance(node, ast.Import):
            assert not {a.name.split(".")[0] for a in node.names} & set(MAY_IMPORT)


@pytest.mark.parametrize("path", sorted((ROOT / "plans").glob("*.py")), ids=name_of)
def test_a_queue_can_read_the_annotations_of_plans(path: Path) -> None:
    assert "from __future__ import annotations" not in path.read_text("utf-8")


@pytest.mark.parametrize("path", [*HOUSE, *FILES], ids=name_of)
def test_files_stay_readable(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 450


@pytest.mark.parametrize("path", EVERY, ids=name_of)
def test_nothing_sleeps_to_synchronise(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr == "sleep":
            assert not (isinstance(node.value, ast.Name) and node.value.id == "time")
