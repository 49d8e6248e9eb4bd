"""One server for all tests of the catalog, since starting it takes seconds."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from .recorded_run import RecordedRun

WITHOUT = "Tiled is not installed: pip install 'stmtem-control[test,catalog]'"
INSTALLED = find_spec("tiled") is not None and find_spec("bluesky_tiled_plugins") is not None
needs_tiled = pytest.mark.skipif(not INSTALLED, reason=WITHOUT)
# Warnings of Tiled, and of what it needs, about themselves; it is tested in versions as pinned.
THEIRS = (
    "ignore::DeprecationWarning:tiled",
    "ignore::DeprecationWarning:fastapi",
    "ignore::DeprecationWarning:starlette",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            for text in THEIRS:
                item.add_marker(pytest.mark.filterwarnings(text))
            if not INSTALLED and "server" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason=WITHOUT))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A catalog of a folder in which each test has a data folder of its own."""
    from stmtem_control.catalog.server import CatalogServer

    with pytest.MonkeyPatch.context() as patch:
        import dask.config
        import tiled.client.utils

        dask.config.set(scheduler="synchronous")  # its pool of threads is never ended
        patch.setattr(tiled.client.utils, "TILED_RETRY_ATTEMPTS", 1)
        with CatalogServer(tmp_path_factory.mktemp("served")) as made:
            yield made


@pytest.fixture
def client(server: Any) -> Iterator[Any]:
    made = server.client()
    yield made
    made.context.close()


@pytest.fixture
def root(server: Any, request: pytest.FixtureRequest) -> Path:
    """A data folder that the server may read."""
    folder: Path = server.root / request.node.name.replace("/", "-").replace("[", "-").strip("]")
    folder.mkdir()
    return folder


@pytest.fixture
def registrar(server: Any, root: Path) -> Iterator[Any]:
    from stmtem_control.catalog.register import Registrar

    made = Registrar(root, server.client)
    yield made
    made.disconnect()


@pytest.fixture
def record(root: Path) -> Iterator[Callable[..., RecordedRun]]:
    """Begin a run on disk; its files are closed at the end."""
    begun: list[RecordedRun] = []

    def make(**options: Any) -> RecordedRun:
        begun.append(RecordedRun(root, **options))
        return begun[-1]

    yield make
    for run in begun:
        run.close()
