"""The page on Tiled: its Python blocks run against a server, and its server's file works."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .recorded_run import RecordedRun, frame

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "read-with-tiled.md"


def test_blocks_of_the_page_on_tiled(
    server: Any, registrar: Any, record: Callable[..., RecordedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = record()
    run.record(30)
    run.stop()
    registrar.step()
    page = PAGE.read_text("utf-8")
    # The server of the tests has another address and folder than the page's.
    assert "http://127.0.0.1:8000/api/v1" in page
    page = page.replace("http://127.0.0.1:8000/api/v1", server.uri)
    page = page.replace('"runs/.catalog/api_key"', repr(str(server.key_file)))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    names: dict[str, Any] = {}
    for block in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        exec(block, names)
        if "runs" in names and "run" in names:
            # Other tests have runs in this catalog, too.
            names["run"] = names["runs"][run.uid]
    np.testing.assert_array_equal(names["some"], [frame(i) for i in range(10, 20)])
    assert names["corner"].shape == (10, 10)
    assert names["counts"].dims == ("camera_run_time_s",)
    assert len(names["first_second"]["camera_image"]) == 26
    names["runs"].context.close()


def test_the_file_for_another_server_is_one_that_tiled_takes(server: Any, tmp_path: Path) -> None:
    import yaml
    from tiled.config import Config

    from stmtem_control.catalog.adapter import FramesAdapter
    from stmtem_control.catalog.consolidator import MIMETYPE

    (text,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    described = yaml.safe_load(text)
    arguments = described["trees"][0]["args"]
    # The database of the test's own server, so that no other has to be made.
    arguments |= {
        "uri": f"sqlite:///{server.folder / 'catalog.db'}",
        "init_if_not_exists": False,
        "writable_storage": [str(tmp_path)],
    }
    config: Any = Config.model_validate(described)
    (spec,) = config.trees
    assert spec.tree.context.adapters_by_mimetype[MIMETYPE] is FramesAdapter
