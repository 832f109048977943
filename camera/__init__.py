"""Frames in."""

import os

MAX_PICTURE_PIXELS = 128 * 2**20

# OpenCV reads this once, when its library is loaded, so it must stand before anything here imports cv2; a
# spawned child inherits it. Without it a PNG of 389 KB was seen to take 2.3 GB.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PICTURE_PIXELS))
