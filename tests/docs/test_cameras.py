"""The pages on cameras: what they tell the reader to write is taken, and what they explain is there."""

import re
from contextlib import closing
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest

from camera.camera import Camera
from camera.settings import CameraSettings
from daemon.config import load
from inspection.frame import Frame
from inspection.verdict import Reason

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"
CONNECT = (HOW_TO / "connect-a-camera.md").read_text()
ADD = (HOW_TO / "add-a-camera.md").read_text()
SNIPPETS = re.findall(r"```yaml\n(.*?)```", CONNECT, re.DOTALL)
HEAD = "site: plant\nline: line1\nstate_dir: state\nmodel: {bundle: model}\n"


def test_there_are_snippets_for_every_kind() -> None:
    text = "".join(SNIPPETS)
    assert {f"kind: {kind}" in text for kind in ("folder", "genicam", "opencv", "simulated")} == {True}


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_is_a_configuration_that_is_taken(snippet: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(HEAD + snippet)
    assert load(path, {}).stations


def test_every_reason_that_a_picture_can_have_is_explained() -> None:
    picture = [reason for reason in Reason if reason.startswith(("camera_", "frame_", "decode_"))]
    explained = re.findall(r"^\| `(\w+)` \|", CONNECT, re.MULTILINE)
    assert set(picture) <= set(explained)
    assert set(explained) <= set(Reason)


def test_the_kind_of_the_page_works_as_it_stands() -> None:
    source = next(
        block for block in re.findall(r"```python\n(.*?)```", ADD, re.DOTALL) if "class PatternCamera" in block
    )
    module = ModuleType("pattern")
    exec(compile(source, "add-a-camera.md", "exec"), module.__dict__)
    config: CameraSettings = module.PatternConfig(kind="pattern", width=64, height=48)
    camera: Camera = module.PatternCamera("top", config)
    with closing(camera):
        frames = [capture for capture in islice(camera.captures(), 3) if isinstance(capture, Frame)]
    assert [frame.number for frame in frames] == [1, 2, 3]
    assert {frame.pixels.shape for frame in frames} == {(48, 64)}
    assert not any(frame.pixels.flags.writeable for frame in frames)
    assert (frames[0].pixels != frames[1].pixels).any()
