"""From a frame to the network's input: one recipe, stored in the bundle, for training and production."""

import math
from typing import Literal, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from inspection.errors import PictureError
from inspection.frame import CropMaker, CropPixels, Pixels
from vision.enhance import COMPARING, Enhancement, Image, Region, checked, eight_bits, enhance, gray
from vision.reference import ReferencePicture
from vision.resize import resized

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_MOST_BYTES = 64 << 20
_STACKED = ("stack", "compare")
_MIDDLE_GRAY = 128
_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


class Tiles(BaseModel):
    """An overlapping grid of square tiles that covers the whole picture, edge to edge."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    columns: int = Field(2, ge=1, le=32, description="Tiles side by side.")
    rows: int = Field(2, ge=1, le=32, description="Tiles one above the other.")
    overlap: float = Field(0.1, ge=0, le=0.5, description="Least part of a tile that its neighbour sees too, 0 to 0.5.")

    def regions(self, width: int, height: int) -> list[Region]:
        """Row by row. Raises PictureError where squares in this grid cannot cover the picture."""
        across = width / (self.columns - (self.columns - 1) * self.overlap)
        down = height / (self.rows - (self.rows - 1) * self.overlap)
        side = int(np.ceil(max(across, down)))
        if side > min(width, height):
            raise PictureError(
                f"a grid of {self.columns} x {self.rows} square tiles does not cover {width} x {height} "
                "pixels: use more tiles along the longer side"
            )
        lefts = _spread(width - side, self.columns)
        tops = _spread(height - side, self.rows)
        return [Region(x, y, side, side) for y in tops for x in lefts]


def _spread(room: int, count: int) -> list[int]:
    return [round(room * i / (count - 1)) for i in range(count)] if count > 1 else [room // 2]


class Recipe(BaseModel):
    """How a frame becomes crops. Picklable; the same bytes out for the same pixels in, in every process."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    enhance: Enhancement = Field(
        "equalize_gradient",
        description="What is done to the gray picture: histogram equalisation or CLAHE (contrast limited, "
        "8 x 8 fields), then a 3x3 morphological gradient or not; or none; or stack: the gray picture, the "
        "equalised one and its gradient side by side as three channels; or compare: the gray picture, the "
        "`reference` brought to where the part lies in it, and their absolute difference as three channels; or "
        "difference: the gray picture less that reference, around the middle gray.",
    )
    reference: ReferencePicture | None = Field(
        None, description="Of a good part, for `compare` and `difference`; training makes one where there is none."
    )
    roi: tuple[int, int, int, int] | None = Field(
        None, description="Region of interest: x, y, width, height in pixels of the frame; cut out first."
    )
    rotate: Literal[0, 90, 180, 270] = Field(0, description="Clockwise turn after the region was cut, degrees.")
    geometry: Literal["center_crop", "squash", "letterbox"] = Field(
        "center_crop",
        description="center_crop: shorter side to `resize`, then the middle `size` square (the rim is not "
        "seen). squash: the whole picture, its sides scaled apart. letterbox: the whole picture in "
        "proportion, with a black rim.",
    )
    resize: int = Field(256, ge=16, le=4096, description="Shorter side before the centre crop, pixels.")
    size: int = Field(224, ge=32, le=1024, multiple_of=32, description="Side of the crop, pixels.")
    color: bool = Field(default=False, description="Three channels instead of gray; only with `enhance: none`.")
    tiles: Tiles | None = Field(
        None,
        description="A grid of crops from the full resolution in place of `geometry`; the part's score is "
        "the highest of them.",
    )
    mean: tuple[float, float, float] = Field(
        IMAGENET_MEAN, description="Mean of red, green and blue, of pixels as 0..1."
    )
    std: tuple[float, float, float] = Field(IMAGENET_STD, description="Standard deviation of red, green and blue.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.color and self.enhance != "none":
            raise ValueError("color: true needs enhance: none (enhancement works on gray)")
        if self.reference is not None and self.enhance not in COMPARING:
            raise ValueError("a reference needs enhance: compare or difference (nothing else looks at it)")
        if self.resize < self.size:
            raise ValueError(f"resize {self.resize} is smaller than size {self.size}")
        if self.roi is not None and (min(self.roi[:2]) < 0 or min(self.roi[2:]) < 1):
            raise ValueError("roi is x, y, width, height: x and y at least 0, width and height at least 1")
        if min(self.std) <= 0:
            raise ValueError("std must be above 0")
        if math.prod(self.crop_shape) > _MOST_BYTES:
            raise ValueError(f"the crops of one picture take more than {_MOST_BYTES >> 20} MiB: fewer or smaller tiles")
        return self

    @property
    def crop_shape(self) -> tuple[int, int, int, int]:
        """[tiles, channels, height, width] of what `crops` gives, for a picture of any size."""
        count = self.tiles.columns * self.tiles.rows if self.tiles else 1
        return count, 3 if self.color or self.enhance in _STACKED else 1, self.size, self.size

    def crops(self, pixels: Pixels, bit_depth: int = 8) -> CropPixels:
        """Crops of one picture: uint8 [tiles, channels, size, size], gray, BGR, or what `enhance` makes of it.

        `pixels` is [height, width] gray or [height, width, 3] BGR, uint8, or uint16 with values of
        `bit_depth` bits of which the upper eight are used. Raises PictureError for anything else, for a
        region of interest that lies outside the picture, for a picture that the tiles cannot cover, and for one
        that has not the size of the reference.
        """
        image = self.upright(pixels, bit_depth)
        regions = self._regions(image.shape[1], image.shape[0])
        if self.enhance in COMPARING:
            return self._compared(image, regions)
        left, top = min(r.x for r in regions), min(r.y for r in regions)
        seen = Region(left, top, max(r.x + r.width for r in regions) - left, max(r.y + r.height for r in regions) - top)
        enhanced = seen.of(image) if self.color else enhance(image, self.enhance, seen)
        crops = np.empty(self.crop_shape, np.uint8)
        for crop, region in zip(crops, regions, strict=True):
            tile = self._scaled(region._replace(x=region.x - left, y=region.y - top).of(enhanced), region)
            crop[:] = tile.transpose(2, 0, 1) if tile.ndim == 3 else tile
        return crops

    def upright(self, pixels: Pixels, bit_depth: int = 8) -> Image:
        """The region of interest of a picture, turned, in eight bits: what `enhance` gets. As `crops` otherwise."""
        inside = checked(pixels, bit_depth)[self._inside(pixels.shape[1], pixels.shape[0])]
        return self._oriented(eight_bits(inside, bit_depth))

    def spread(self, maps: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
        """The way back of `crops`: maps [tiles, rows, columns] over the crops as one over the frame, [height, width].

        NaN where the crops do not see the frame; the highest where tiles overlap. Raises PictureError as `crops` does
        for a frame of this size.
        """
        whole = np.full((height, width), np.nan, np.float32)
        turned = np.rot90(whole[self._inside(width, height)], -self.rotate // 90)
        for values, region in zip(maps, self._regions(turned.shape[1], turned.shape[0]), strict=True):
            crop = cv2.resize(values, (self.size, self.size), interpolation=cv2.INTER_LINEAR)
            across, down = self._inner(region.width, region.height)
            seen = cv2.resize(crop[down, across], (region.width, region.height), interpolation=cv2.INTER_LINEAR)
            at = turned[region.y : region.y + region.height, region.x : region.x + region.width]
            np.fmax(at, seen, out=at)
        return whole

    def _compared(self, image: Image, regions: list[Region]) -> CropPixels:
        """Difference, reference and picture, in the places of blue, green and red; or one channel, which has a sign.

        Compared is what the network would see of either: pixels of a crop, not of the frame. Where the reference
        knows nothing, at a rim that the part has moved away from, it is what the picture is.
        """
        if self.reference is None:
            raise PictureError("the recipe compares pictures with a reference picture, and has none: train makes it")
        placed = self.reference.placed(image)
        crops = np.empty(self.crop_shape, np.uint8)
        for crop, region in zip(crops, regions, strict=True):
            live = self._scaled(region.of(image), region)
            good = live.copy()
            across, down = self._inner(region.width, region.height)
            known = placed.covered(region, across.stop - across.start, down.stop - down.start)
            good[down, across][known] = self._scaled(placed.of(region), region)[down, across][known]
            if self.enhance == "difference":
                crop[0] = cv2.addWeighted(live, 1, good, -1, _MIDDLE_GRAY)
            else:
                crop[:] = cv2.absdiff(live, good), good, live
        return crops

    def _inside(self, width: int, height: int) -> tuple[slice, slice]:
        """Rows and columns of the region of interest."""
        if self.roi is None:
            return slice(None), slice(None)
        x, y, across, down = self.roi
        if x + across > width or y + down > height:
            raise PictureError(f"the region of interest {list(self.roi)} lies outside a picture of {width} x {height}")
        return slice(y, y + down), slice(x, x + across)

    def _oriented(self, image: Image) -> Image:
        if not self.color:
            image = gray(image)
        elif image.ndim == 2:
            image = np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
        return np.asarray(cv2.rotate(image, _TURNS[self.rotate]), np.uint8) if self.rotate else image

    def _regions(self, width: int, height: int) -> list[Region]:
        """What of the picture is seen.

        The centre crop is cut from the source and scaled once: the same picture as scaling the whole and
        cutting then, but for less than a pixel of shift where the sides do not divide.
        """
        if self.tiles:
            return self.tiles.regions(width, height)
        if self.geometry != "center_crop":
            return [Region(0, 0, width, height)]
        side = max(round(min(width, height) * self.size / self.resize), 1)
        return [Region((width - side) // 2, (height - side) // 2, side, side)]

    def _scaled(self, image: Image, region: Region) -> Image:
        """The crop of a region, from what there is of it in `image`."""
        across, down = self._inner(region.width, region.height)
        scaled = resized(image, across.stop - across.start, down.stop - down.start)
        if scaled.shape[:2] == (self.size, self.size):
            return scaled
        framed = np.zeros((self.size, self.size, *image.shape[2:]), np.uint8)
        framed[down, across] = scaled
        return framed

    def _inner(self, width: int, height: int) -> tuple[slice, slice]:
        """Columns and rows of the crop that a region of this size fills; the rest is the rim of a letterbox."""
        longer = max(width, height) if self.geometry == "letterbox" and not self.tiles else 0
        across, down = (max(round(self.size * side / longer), 1) if longer else self.size for side in (width, height))
        left, top = (self.size - across) // 2, (self.size - down) // 2
        return slice(left, left + across), slice(top, top + down)


REFERENCE = Recipe()


def read_recipe(text: str) -> CropMaker:
    """What makes the crops of a recipe's JSON, as `Recipe.model_dump_json` gives it. Raises ValueError."""
    return Recipe.model_validate_json(text).crops
