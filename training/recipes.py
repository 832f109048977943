"""Training recipes by name. A recipe says how pictures become crops and what is minimised."""

import json
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inspection.errors import DataError
from training.losses import LossName
from vision.recipe import Recipe

_SMALLER = 5 / 7
Unfreeze = Literal["layer4", "layer3", "layer2"]


class TrainingRecipe(BaseModel):
    """Everything that training needs beside pictures, weights and a seed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: Recipe = Field(Recipe(), description="From a frame to crops; stored in the bundle.")
    loss: LossName = Field("focal", description="focal (alpha 0.1 good, 0.9 defective; gamma 2) or cross_entropy.")
    epochs: int = Field(
        30, ge=0, le=1000, description="At most so many passes over the training pictures; 0: layer4 learns nothing."
    )
    patience: int = Field(6, ge=1, description="Stop after so many epochs without a lower loss on val.")
    start: Literal["drawn", "probe"] = Field(
        "drawn", description="The classifier before the first step: drawn, or fitted to the frozen features."
    )
    unfreeze: Unfreeze = Field(
        "layer4",
        description="The first layer that learns. With layer2 every step goes through the whole network, from pixels: "
        "several times the work, and it can learn what no frozen feature shows.",
    )
    deeper: float = Field(
        0.3, gt=0, le=1, description="Factor of the learning rate for each layer that learns below layer4."
    )
    warm_up: float = Field(0.0, ge=0, lt=1, description="Share of the steps in which the learning rate rises from 0.")
    balance: bool = Field(
        default=False, description="Draw the rarer class so often that it is a fifth of what is learnt in each epoch."
    )
    flips: bool = Field(
        default=False, description="Learn also from each picture mirrored, upside down, and both: each step draws one."
    )
    light: bool = Field(
        default=False, description="Each step draws the picture brighter or darker, by up to a fifth; with layer2 only."
    )
    small_first: bool = Field(
        default=False,
        description="See 5/7 of the resolution in the first 85 % of the steps, for half of the work; with layer2 only.",
    )
    batch: int = Field(32, ge=1, le=1024, description="Pictures in one step.")
    learning_rate: float = Field(1e-4, gt=0, le=1, description="Of AdamW, falling to 0 along a cosine.")
    weight_decay: float = Field(1e-2, ge=0, le=1, description="Of AdamW.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.unfreeze != "layer2" and (self.light or self.small_first):
            raise ValueError("light and small_first change pixels: they need unfreeze: layer2")
        return self

    def plain(self) -> "TrainingRecipe":
        """Without what changes pictures: how they are judged."""
        return self.model_copy(update={"flips": False, "light": False, "small_first": False})


def smaller(side: int) -> int:
    """5/7 of the side of a crop, a multiple of 32: 160 of 224 pixels. Half of the work."""
    return round(side * _SMALLER / 32) * 32


NAMED = {
    "reference": TrainingRecipe(),
    "whole-frame": TrainingRecipe(image=Recipe(geometry="squash"), loss="cross_entropy", learning_rate=3e-4),
}


def training_recipe(name: str) -> TrainingRecipe:
    """The recipe of that name, or of a JSON file. Raises DataError that names the key and the known names."""
    if name in NAMED:
        return NAMED[name]
    path = Path(name)
    if not path.is_file():
        raise DataError(f"recipe '{name}' is neither one of {', '.join(NAMED)} nor a JSON file")
    try:
        return TrainingRecipe.model_validate(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            raise DataError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        raise DataError(f"{path}: not a readable JSON file ({error})") from error
