"""Every camera kind: one line in the union, one case in the opener."""

from typing import Annotated, assert_never

from pydantic import Field

from camera.camera import Camera
from camera.folder import FolderConfig

CameraConfig = Annotated[FolderConfig, Field()]


def open_camera(name: str, config: CameraConfig, *, triggered: bool) -> Camera:
    """Open the camera. Raises CameraError.

    A kind's own libraries are imported only here, so that a station needs none of the others'.
    """
    match config:
        case FolderConfig():
            from camera.folder import FolderCamera  # noqa: PLC0415

            return FolderCamera(name, config)
        case _:
            assert_never(config)
