"""The parity certificate of a bundle: how the scores of each backend compare with those of float32."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

AUROC_MAY_LOSE = 0.002
"""On val, by which a backend in whole numbers may be worse than float32 and still be taken by `auto`."""

_Difference = Annotated[float, Field(ge=0, le=1)]


class Agreement(BaseModel):
    """Of one backend's scores with the reference's, over some parts.

    `largest` and `mean` are of the absolute difference of a part's score, P(defect). `other_verdicts` counts parts that
    the bundle's thresholds put elsewhere. `auroc_change` is the backend's minus the reference's; None where good or bad
    parts are missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parts: Annotated[int, Field(ge=0)]
    largest: _Difference
    mean: _Difference
    other_verdicts: Annotated[int, Field(ge=0)]
    auroc_change: Annotated[float, Field(ge=-1, le=1)] | None


class Certified(BaseModel):
    """One backend, by its name in the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    backend: str
    golden: Agreement
    val: Agreement

    @property
    def good_enough(self) -> bool:
        """For `auto` to take the backend, unasked, for the sake of its speed."""
        change = self.val.auroc_change
        return self.golden.other_verdicts == 0 and change is not None and change >= -AUROC_MAY_LOSE


class Certificate(BaseModel):
    """Made once, where the bundle was exported: another CPU may round in another way, and is checked at each start.

    `reference` is the backend that the others are compared with on val; on the golden parts it is the score in the
    bundle. `thresholds` are the two that verdicts were counted with; `clipping` how the whole numbers' ranges were
    chosen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference: str
    cpu: str
    clipping: str
    thresholds: tuple[float, float]
    backends: Annotated[tuple[Certified, ...], Field(max_length=20)]

    def of(self, backend: str) -> Certified | None:
        """What it says of a backend; None where it says nothing."""
        return next((found for found in self.backends if found.backend == backend), None)
