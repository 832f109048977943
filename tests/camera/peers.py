"""Real peers of the cameras: an RTSP server, a GenTL producer, a video file."""

import os
import signal
import subprocess
from importlib.metadata import distribution
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from tests.programs import RTSP_SERVER, need

SYSTEM_PYTHON = "/usr/bin/python3"
FAKE_GIGE = "arv-fake-gv-camera-0.8"
# A GenTL producer with three simulated cameras, from the wheel that harvesters brings. Its cameras know no
# trigger and stamp no pictures; the first shows little but white.
VIKY = Path(str(distribution("genicam").locate_file("genicam/viky.cti")))


class RtspServer:
    """tests/camera/rtsp_server.py as a process; `port` is free, or the one that a server before it had."""

    def __init__(
        self, port: int = 0, *, user: str = "", password: str = "", size: tuple[int, int] = (320, 240)
    ) -> None:
        need(RTSP_SERVER)
        login = [user, password] if user else []
        command = [SYSTEM_PYTHON, str(Path(__file__).with_name("rtsp_server.py")), str(port), *login]
        environment = {**os.environ, "WIDTH": str(size[0]), "HEIGHT": str(size[1])}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/line"

    def stall(self) -> None:
        """Connections stay open and give nothing, as when the camera's processor hangs."""
        self._process.send_signal(signal.SIGSTOP)

    def told(self) -> str:
        """The next word of the server: `teardown`."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def write_video(path: Path, pictures: int, *, fps: float = 25) -> Path:
    """A motion JPEG file whose picture number n, from 1, is of gray 40 + 10 n."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    for number in range(1, pictures + 1):
        writer.write(np.full((48, 64, 3), 40 + 10 * number, np.uint8))
    writer.release()
    return path


def write_folder(folder: Path, pictures: int) -> Path:
    """`pictures` gray PNG files, the first named 01.png."""
    folder.mkdir(exist_ok=True)
    for number in range(1, pictures + 1):
        cv2.imwrite(str(folder / f"{number:02}.png"), np.full((48, 64), 40 + 10 * number, np.uint8))
    return folder
