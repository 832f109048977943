"""The map is the network's own, and lies over the frame where the crops came from."""

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inspection.errors import PictureError
from vision.bundle import Bundle
from vision.enhance import Region
from vision.explain import Explainer, Explanation, captioned, overlay
from vision.recipe import Recipe, Tiles
from vision.resnet import build_resnet18, normalise


def torch_map(bundle: Bundle, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The margin of each place by torch, [n, rows, columns]: features before the average, times fc."""
    network = build_resnet18(bundle.tensors())
    seen = []
    network.layer4.register_forward_hook(lambda _module, _given, out: seen.append(out))
    with torch.inference_mode():
        network(normalise(torch.from_numpy(crops.copy()), bundle.recipe.mean, bundle.recipe.std))
        logits = torch.einsum("nchw,kc->nkhw", seen[0], network.fc.weight) + network.fc.bias[None, :, None, None]
    margins: NDArray[np.float32] = ((logits[:, 1] - logits[:, 0]) / bundle.temperature).numpy()
    return margins


def picture_of(bundle: Bundle, golden: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.imread(str(bundle.golden[golden].path)), np.uint8)


def test_the_map_is_the_networks_own_and_its_mean_the_margin(drawn: Bundle) -> None:
    picture = picture_of(drawn, 3)
    expected = torch_map(drawn, drawn.recipe.crops(picture))
    found = Explainer(drawn, 1).explain(picture)
    assert found.score == pytest.approx(1 / (1 + np.exp(-expected.mean())), abs=1e-5)
    height, width = picture.shape[:2]
    np.testing.assert_allclose(found.heat, drawn.recipe.spread(expected, width, height), atol=2e-4)


@pytest.mark.parametrize(
    "geometry",
    [
        {"geometry": "squash"},
        {"geometry": "letterbox"},
        {"geometry": "center_crop"},
        {"geometry": "center_crop", "rotate": 90, "roi": (10, 20, 200, 90)},
        {"geometry": "letterbox", "rotate": 270},
        {"geometry": "squash", "rotate": 180, "roi": (0, 0, 150, 120)},
        {"tiles": Tiles(columns=3, rows=2, overlap=0.2)},
        {"tiles": Tiles(columns=2, rows=3, overlap=0.2), "rotate": 90, "roi": (31, 7, 180, 120)},
    ],
    ids=str,
)
def test_a_map_lies_over_the_frame_where_its_crop_was_taken(geometry: dict[str, Any]) -> None:
    """Crops that are taken for maps give the frame back, wherever they saw it."""
    recipe = Recipe(enhance="none", resize=128, size=128, **geometry)
    ramp = np.add.outer(np.linspace(0, 90, 140), np.linspace(0, 160, 240)).astype(np.uint8)
    seen = recipe.spread(recipe.crops(ramp)[:, 0].astype(np.float32), 240, 140)
    assert seen.shape == ramp.shape
    known = ~np.isnan(seen)
    assert np.abs(seen - ramp)[known].max() <= 3
    x, y, width, height = recipe.roi or (0, 0, 240, 140)
    inside = np.zeros(ramp.shape, bool)
    inside[y : y + height, x : x + width] = True
    assert not known[~inside].any()
    if recipe.geometry == "center_crop" and not recipe.tiles:
        assert known[inside].mean() == pytest.approx(min(width, height) / max(width, height), abs=0.02)
    else:
        assert known[inside].all()


def test_a_frame_too_small_for_the_recipe_is_refused(drawn: Bundle) -> None:
    recipe = drawn.recipe.model_copy(update={"roi": (0, 0, 500, 500)})
    with pytest.raises(PictureError, match="region of interest"):
        recipe.spread(np.zeros((1, 2, 2), np.float32), 100, 100)


def test_the_hottest_box_holds_the_hottest_place_and_no_other_region(drawn: Bundle) -> None:
    found = Explainer(drawn, 1).explain(picture_of(drawn, 5))
    (x, y), box = found.hottest, found.box
    assert found.heat[y, x] == np.nanmax(found.heat)
    assert box.x <= x < box.x + box.width
    assert box.y <= y < box.y + box.height
    halfway = (np.nanmean(found.heat) + found.heat[y, x]) / 2
    assert np.nanmax(found.heat[box.y + box.height :, box.x : box.x + box.width], initial=-np.inf) < found.heat[y, x]
    assert (found.heat[box.y, box.x : box.x + box.width] >= halfway - 1e-4).any()


def test_the_overlay_is_the_frame_where_the_map_says_nothing() -> None:
    frame = np.random.default_rng(0).integers(0, 1024, (60, 80)).astype(np.uint16)
    heat = np.full((60, 80), np.nan, np.float32)
    heat[:, 40:] = 0
    heat[20:30, 60:70] = 5
    found = Explanation(0.9, heat, (60, 20), Region(60, 20, 10, 10))
    shown = overlay(frame, 10, found)
    assert shown.shape == (60, 80, 3)
    assert np.array_equal(shown[:, :40, 1], (frame[:, :40] >> 2).astype(np.uint8))
    assert np.array_equal(shown[:15, 40:, 2], (frame[:15, 40:] >> 2).astype(np.uint8))
    assert np.ptp(shown[24, 64].astype(int)) > 20, "the hottest place is coloured"
    assert shown[20, 65].tolist() == [255, 255, 255]


@pytest.mark.parametrize("size", [(1000, 2448), (40, 60)], ids=["large", "smaller than a caption"])
def test_a_caption_stands_below_the_frame_and_hides_none_of_it(size: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 255, (*size, 3)).astype(np.uint8)
    shown = captioned(frame, ["FAIL  score 0.9", "model x"])
    assert np.array_equal(shown[: size[0], : size[1]], frame)
    below = shown[size[0] :]
    assert (below == 0).all(axis=2).any()
    coloured = np.ptp(below.astype(int), axis=2) > 100
    assert coloured.any(axis=0).sum() > 0.2 * below.shape[1], "a legend of the colours"
    assert (below[:, -1] == 255).all(), "no letter is cut off at the right"
