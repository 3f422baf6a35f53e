"""A policy seen before and after the transfer, as a GIF."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.protocol.environments import fixed_starts
from benchmarks.protocol.run import Run
from benchmarks.protocol.spec import EPISODE_STEPS
from nb_evaluation.files import write_atomically
from nb_gym import NBPendulumVectorEnv, tile

PICTURE_STEPS = 10
"""Physics steps from one picture of the GIF to the next."""
GIF_SECONDS = 10.0
GIF_COLOURS = 64
FRAME_SIZE = 320
TITLE_HEIGHT = 32


def save_before_and_after(run: Run, path: Path) -> None:
    """Play the same start twice, side by side: the policy as it came from the source task, and after the transfer."""
    titles = [f"{run.spec.method}: {when} the transfer" for when in ("before", "after")]
    pictures = [_with_titles(frame, titles) for frame in _replay(run)]
    palette = pictures[-1].quantize(GIF_COLOURS)
    indexed = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    buffer = io.BytesIO()
    duration = GIF_SECONDS * 1000 / len(indexed)
    indexed[0].save(buffer, "GIF", save_all=True, append_images=indexed[1:], duration=duration, loop=0, optimize=True)
    write_atomically(path, buffer.getvalue())


def _replay(run: Run) -> Iterator[NDArray[np.uint8]]:
    """The two episodes from the first fixed start, side by side, one picture for every `PICTURE_STEPS`."""
    context = dict[str, Any](run.spec.target)
    env = NBPendulumVectorEnv(2, episode_steps=EPISODE_STEPS, render_mode="rgb_array", frame_size=FRAME_SIZE, **context)
    theta, theta_dot = (float(starts[0]) for starts in fixed_starts())
    env.reset(options={"theta": theta, "theta_dot": theta_dot})
    decisions = np.array([run.result.torques_before, run.result.torques_after], dtype=np.float32).T
    # Decision by decision the motion would stutter; a torque that is held is the same whoever counts the steps.
    for step, torques in enumerate(np.repeat(decisions, run.spec.settings.frame_skip, axis=0), start=1):
        env.step(torques[:, np.newaxis])
        if step % PICTURE_STEPS == 0:
            yield tile(env.render() or ())
    env.close()


def _with_titles(frame: NDArray[np.uint8], titles: Sequence[str]) -> Image.Image:
    """A strip with one title for each part of the frame, above it."""
    height, width, _ = frame.shape
    picture = Image.new("RGB", (width, height + TITLE_HEIGHT), tuple(frame[0, 0].tolist()))
    picture.paste(Image.fromarray(frame), (0, TITLE_HEIGHT))
    font, draw = ImageFont.load_default(size=15), ImageDraw.Draw(picture)
    for i, title in enumerate(titles):
        draw.text(((i + 0.5) * width / len(titles), TITLE_HEIGHT / 2), title, "black", font, anchor="mm")
    return picture
