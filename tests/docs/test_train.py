"""The recipe that the page on training shows is one that training takes."""

import json
import re
from pathlib import Path

from training.recipes import TrainingRecipe, training_recipe

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "train-a-model.md"


def test_the_recipe_of_the_page_is_taken(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    path = tmp_path / "mine.json"
    path.write_text(shown)

    recipe = training_recipe(str(path))

    assert recipe != TrainingRecipe()
    assert set(json.loads(shown)) <= set(TrainingRecipe.model_fields)
