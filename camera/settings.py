"""The keys that every camera kind has."""

from pydantic import BaseModel, ConfigDict, Field

from camera.health import HealthConfig


class CameraSettings(BaseModel):
    """What the process that runs a camera needs to know of it, whatever its kind."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    health: HealthConfig = Field(default=HealthConfig(), description="What makes a picture unfit to be judged.")
    stall_timeout_s: float = Field(
        default=3.0,
        gt=0,
        le=600,
        description="A camera that owes a picture and gives none for this long is killed and opened again.",
    )
    open_timeout_s: float = Field(
        default=20.0,
        gt=0,
        le=600,
        description="A camera that is not open after this long is killed and tried again.",
    )
    restart_max_s: float = Field(
        default=30.0,
        ge=0.5,
        le=600,
        description="Longest wait before the next try; the first is 0.5 s, then doubled.",
    )
    max_frame_mb: int = Field(
        default=64,
        ge=1,
        le=2048,
        description="Largest picture in MiB of raw pixels; memory is taken only for what pictures really use.",
    )

    @property
    def pace_hz(self) -> float | None:
        """Pictures a second on a free-running station; None: whatever the camera gives."""
        return None

    @property
    def hardware_trigger(self) -> bool:
        """A signal wire decides when it exposes, so that pictures and MQTT triggers have to be paired."""
        return False

    @property
    def trigger_slack_s(self) -> float:
        """Longest time between a hardware-triggered picture and its trigger, whichever comes first."""
        return 0.0

    @property
    def frozen_after(self) -> int:
        """Exact repeats that make a picture frozen, where the config does not say; 0 for replays."""
        return 1

    @property
    def same_size(self) -> bool:
        """Whether every picture has the size of the first, where the config does not say."""
        return True
