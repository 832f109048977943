"""Every camera kind: one line in the union, one case in the opener."""

from typing import Annotated, assert_never

from pydantic import Field

from camera.camera import Camera
from camera.folder import FolderCamera, FolderConfig
from camera.genicam import GenicamCamera, GenicamConfig
from camera.opencv import OpencvCamera, OpencvConfig
from camera.simulated import SimulatedCamera, SimulatedConfig

CameraConfig = Annotated[FolderConfig | GenicamConfig | OpencvConfig | SimulatedConfig, Field(discriminator="kind")]


def open_camera(name: str, config: CameraConfig) -> Camera:
    """Open the camera. Raises CameraError.

    Vendors' libraries are imported by a kind only when it opens, so that a station needs none of the others'.
    """
    match config:
        case FolderConfig():
            return FolderCamera(name, config)
        case GenicamConfig():
            return GenicamCamera(name, config)
        case OpencvConfig():
            return OpencvCamera(name, config)
        case SimulatedConfig():
            return SimulatedCamera(name, config)
        case _:
            assert_never(config)
