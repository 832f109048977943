"""Crops of pictures, by one recipe or several, which may change between two pictures."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from camera import messages
from camera.messages import send
from camera.ring import Place, Ring
from inspection.errors import PictureError
from inspection.frame import CropMaker, Frame, ReadRecipe

_DETAIL_CHARACTERS = 500


class Making:
    """Makes crops and puts them into the ring. One thread makes them, another one may change the recipes."""

    def __init__(self, sock: socket.socket, ring: Ring, recipes: Mapping[str, str], read: ReadRecipe) -> None:
        """Raises ValueError for a recipe that cannot be read."""
        self._sock = sock
        self._ring = ring
        self._read = read
        self._makers = self._makers_of(recipes)
        self._one_picture = threading.Lock()

    def change(self, recipes: Mapping[str, str]) -> None:
        """From the next picture on by these, and tell the parent so.

        Raises OSError when it is gone, ValueError for a recipe that cannot be read.
        """
        makers = self._makers_of(recipes)
        with self._one_picture:  # so that no picture of the old recipes is told of after this message
            self._makers = makers
            send(self._sock, messages.Making(tuple(makers)))

    def _makers_of(self, recipes: Mapping[str, str]) -> dict[str, CropMaker]:
        return {name: self._read(text) for name, text in recipes.items()}

    @contextmanager
    def of(self, frame: Frame) -> Iterator[tuple[dict[str, Place], dict[str, str]]]:
        """Where the crops of each recipe lie, and why a recipe made none. Tell the parent before you leave."""
        places: dict[str, Place] = {}
        unmade: dict[str, str] = {}
        with self._one_picture:
            for recipe, make in self._makers.items():
                try:
                    places[recipe] = self._ring.write(make(frame.pixels, frame.bit_depth))
                except (PictureError, ValueError) as error:
                    unmade[recipe] = str(error)[:_DETAIL_CHARACTERS]
            yield places, unmade
