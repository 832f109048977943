"""How records are kept and delivered: the settings."""

from pydantic import BaseModel, ConfigDict, Field


class RecordsConfig(BaseModel):
    """How records are kept until they have arrived."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    require_record: bool = Field(
        False,
        description="Commit each record before its verdict goes out, and answer NO_VERDICT store_failed where that "
        "fails. False: the verdict goes first, and a full disk does not stop the line.",
    )
    max_mb: int = Field(256, ge=1, description="Cap of the outbox file, MiB; keep it well below the volume.")
    max_waiting: int = Field(
        10_000, ge=1, description="Records held in memory while the disk is full; beyond it they are lost, counted."
    )
    historical_after_s: float = Field(
        5.0, gt=0, description="A record sent later than this after its verdict is marked historical."
    )
    await_ack: bool = Field(
        False, description="Keep a record until its consumer says so on …/ack; false: until the broker's PUBACK."
    )
    ack_timeout_s: float = Field(
        30.0,
        gt=0,
        description="With await_ack: send again what was not acknowledged for so long; set it aside after three.",
    )
