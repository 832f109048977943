"""The text of a new configuration, from what one has to know of a station."""

import os
from dataclasses import dataclass
from pathlib import Path

from daemon.config.text import quoted
from inspection.whole import what_is


@dataclass(frozen=True, slots=True)
class Station:
    """`kind` is one of camera.kinds; `source`: of opencv what it opens, of folder the pictures, of genicam the .cti."""

    site: str
    line: str
    station: str
    mode: str
    kind: str
    source: str
    broker: str
    broker_port: int
    http_port: int
    bundle: Path
    state_dir: str


def starter(station: Station, folder: Path) -> str:
    """The text of a configuration that lies in `folder`; paths in that folder are relative to it."""
    camera = "\n".join(f"        {line}" for line in _camera(station, folder))
    return f"""\
# Written by `linegate init`. Every setting with its default: docs/reference/config.md.
# After a change: linegate check FILE. Text that looks like a number needs quotes.
site: {quoted(station.site)}
line: {quoted(station.line)}
state_dir: {quoted(station.state_dir)}

model:
  bundle: {quoted(_path(str(station.bundle), folder))}

mqtt:
  host: {quoted(station.broker)}
  port: {station.broker_port}

http:
  port: {station.http_port}

stations:
  {quoted(station.station)}:
    mode: {quoted(station.mode)}
    cameras:
      top:
{camera}
"""


def _camera(station: Station, folder: Path) -> list[str]:
    kind = f"kind: {station.kind}"
    match station.kind:
        case "simulated":
            mode = "on_demand" if station.mode == "triggered" else "stream"
            return [kind, f"mode: {mode}"]
        case "folder":
            return [kind, f"path: {quoted(_path(station.source, folder))}"]
        case "opencv":
            there = Path(station.source)
            return [
                kind,
                f"source: {quoted(_path(station.source, folder) if what_is(there) == 'file' else station.source)}",
            ]
        case _:
            trigger = "software" if station.mode == "triggered" else "off"
            return [kind, f"cti: [{quoted(_path(station.source, folder))}]", f"trigger: {trigger}"]


def _path(named: str, folder: Path) -> str:
    """From the folder of the configuration, where the path leads into it; else whole."""
    whole = Path(os.path.abspath(Path(named).expanduser()))  # noqa: PTH100 - links stay as they are
    return str(whole.relative_to(folder)) if whole.is_relative_to(folder) else str(whole)
