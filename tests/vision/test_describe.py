"""What a picture is compared by is what the network decides on."""

import cv2
import numpy as np
import pytest

from vision.bundle import Bundle
from vision.describe import Describer
from vision.explain import Explainer
from vision.recipe import Recipe


def test_the_features_are_those_that_the_last_layer_weighs(drawn: Bundle) -> None:
    picture = np.asarray(cv2.imread(str(drawn.golden[3].path)), np.uint8)

    found = Describer(drawn, 1).describe(picture)

    fc = {part: drawn.tensors()[f"fc.{part}"].astype(np.float64) for part in ("weight", "bias")}
    logits = fc["weight"] @ found.features + fc["bias"]
    assert found.margin == pytest.approx((logits[1] - logits[0]) / drawn.temperature, abs=1e-4)
    assert 1 / (1 + np.exp(-found.margin)) == pytest.approx(Explainer(drawn, 1).explain(picture).score, abs=1e-6)


def test_of_several_tiles_the_one_that_decides_is_described(drawn: Bundle) -> None:
    recipe = Recipe.model_validate({**drawn.recipe.model_dump(), "tiles": {"columns": 3, "rows": 2}})
    describer = Describer(drawn, 1)
    picture = np.asarray(cv2.imread(str(drawn.golden[3].path)), np.uint8)
    describer._recipe = recipe

    found = describer.describe(picture)

    margins, features = describer._session.run(["margin", "features"], {"crops": recipe.crops(picture)})
    assert found.margin == pytest.approx(margins.max(), abs=1e-4)
    np.testing.assert_allclose(found.features, features[margins.argmax()], atol=1e-4)
