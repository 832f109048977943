"""What cameras this machine can see, without opening one: V4L2 devices, and what GenTL producers list."""

import fcntl
import json
import multiprocessing
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from camera.genicam import find_devices
from inspection import spawn
from inspection.errors import CameraError
from inspection.verdict import Reason

GENTL_VARIABLE = "GENICAM_GENTL64_PATH"

# linux/videodev2.h: VIDIOC_QUERYCAP with a struct of 104 bytes, VIDIOC_ENUM_FMT with one of 64.
_QUERYCAP = 0x80685600
_ENUM_FMT = 0xC0405602
_CAPABILITIES = struct.Struct("=16s32s32sIII12x")
_FORMAT = struct.Struct("=III32s4s16x")
_VIDEO_CAPTURE = 0x1
_DEVICE_CAPS = 0x80000000
_MOST_FORMATS = 64


@dataclass(frozen=True, slots=True)
class Found:
    """One camera. `source` is what the config calls it: a device file, or the serial at `producer`.

    `problem` says why it cannot be used as it stands; empty where nothing is known against it.
    """

    kind: str
    source: str
    name: str = ""
    formats: tuple[str, ...] = ()
    producer: str = ""
    problem: str = ""


def find_v4l2(folder: Path = Path("/dev")) -> tuple[Found, ...]:
    """Every video device that gives pictures; a second node that only gives a camera's metadata is left out."""
    nodes = sorted(folder.glob("video*"), key=lambda node: (len(node.name), node.name))
    return tuple(found for node in nodes if (found := _v4l2(node)) is not None)


def find_producers(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The .cti files in the folders of GENICAM_GENTL64_PATH, where vendors' installers put theirs."""
    folders = [Path(folder) for folder in environ.get(GENTL_VARIABLE, "").split(os.pathsep) if folder]
    return tuple(dict.fromkeys(file for folder in folders for file in sorted(folder.glob("*.cti"))))


def find_genicam(producer: Path, *, timeout_s: float = 20.0) -> tuple[Found, ...]:
    """The cameras that one GenTL producer lists. Raises CameraError, also where the producer hangs or crashes.

    A vendor's library runs in a process of its own, which is killed when it takes longer than `timeout_s`.
    """
    ours, theirs = multiprocessing.Pipe(duplex=False)
    with theirs:
        process = spawn.start(_list, producer, theirs, os.getpid(), name="find cameras")
    try:
        if not ours.poll(timeout_s):
            raise CameraError(Reason.CAMERA_STALLED, f"{producer} lists nothing within {timeout_s:g} s")
        answer: list[dict[str, str]] | str = json.loads(ours.recv_bytes())
    except EOFError:
        process.join(timeout_s)
        raise CameraError(Reason.CAMERA_LOST, f"{producer} ends its process ({process.exitcode})") from None
    finally:
        process.kill()
        process.join()
        process.close()
        ours.close()
    if isinstance(answer, str):
        raise CameraError(Reason.CAMERA_LOST, answer)
    return tuple(
        Found("genicam", d["serial"], f"{d['vendor']} {d['model']} ({d['transport']})", producer=str(producer))
        for d in answer
    )


def _list(producer: Path, to_parent: Connection, parent: int) -> None:
    spawn.die_with(parent)
    try:
        answer: list[dict[str, str]] | str = find_devices((producer,))
    except CameraError as error:
        answer = error.detail
    to_parent.send_bytes(json.dumps(answer).encode())


def _v4l2(node: Path) -> Found | None:
    try:
        fd = os.open(node, os.O_RDWR | os.O_NONBLOCK)
    except PermissionError:
        return Found("opencv", str(node), problem="no permission; put the user into the group video")
    except OSError as error:
        return Found("opencv", str(node), problem=error.strerror or str(error))
    try:
        answer = fcntl.ioctl(fd, _QUERYCAP, bytes(_CAPABILITIES.size))
        _, card, _, _, whole, device = _CAPABILITIES.unpack(answer)
        if not (device if whole & _DEVICE_CAPS else whole) & _VIDEO_CAPTURE:
            return None
        return Found("opencv", str(node), card.rstrip(b"\0").decode("ascii", "replace"), _formats(fd))
    except OSError as error:
        return Found("opencv", str(node), problem=f"no V4L2 device: {error.strerror}")
    finally:
        os.close(fd)


def _formats(fd: int) -> tuple[str, ...]:
    """The `fourcc` codes that the device offers."""
    found: list[str] = []
    for index in range(_MOST_FORMATS):
        try:
            answer = fcntl.ioctl(fd, _ENUM_FMT, _FORMAT.pack(index, _VIDEO_CAPTURE, 0, b"", b""))
        except OSError:
            break
        found.append(_FORMAT.unpack(answer)[4].decode("ascii", "replace"))
    return tuple(found)
