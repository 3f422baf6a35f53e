"""Frames as a GIF with titles, of a size that a README bears."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from nb_evaluation.files import write_atomically

GIF_SECONDS = 10.0
GIF_COLOURS = 64
FRAME_SIZE = 320
TITLE_HEIGHT = 32


def save_film(frames: Iterable[NDArray[np.uint8]], titles: Sequence[str], path: Path) -> None:
    """Save frames, whose parts stand side by side, with a title above each part.

    Args:
        frames: Colours, each of shape `(height, width, 3)`.
        titles: One for each part.
        path: File to write.
    """
    pictures = [_with_titles(frame, titles) for frame in frames]
    palette = pictures[-1].quantize(GIF_COLOURS)
    indexed = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    buffer = io.BytesIO()
    duration = GIF_SECONDS * 1000 / len(indexed)
    indexed[0].save(buffer, "GIF", save_all=True, append_images=indexed[1:], duration=duration, loop=0, optimize=True)
    write_atomically(path, buffer.getvalue())


def _with_titles(frame: NDArray[np.uint8], titles: Sequence[str]) -> Image.Image:
    """A strip with one title for each part of the frame, above it."""
    height, width, _ = frame.shape
    picture = Image.new("RGB", (width, height + TITLE_HEIGHT), tuple(frame[0, 0].tolist()))
    picture.paste(Image.fromarray(frame), (0, TITLE_HEIGHT))
    font, draw = ImageFont.load_default(size=15), ImageDraw.Draw(picture)
    for i, title in enumerate(titles):
        draw.text(((i + 0.5) * width / len(titles), TITLE_HEIGHT / 2), title, "black", font, anchor="mm")
    return picture
