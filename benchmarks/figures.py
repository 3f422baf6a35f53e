"""Pictures, made from finished runs alone: learning curves, and a policy seen before and after the transfer."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.anchors import BEST, PUBLISHED, PUBLISHED_TARGET, WORST, reference_returns
from benchmarks.environments import fixed_starts
from benchmarks.records import Run, write_atomically
from benchmarks.report import FEWEST_SEEDS, by_method, caption, conditions, describe_context, number
from benchmarks.spec import EPISODE_STEPS, RunSpec
from benchmarks.statistics import interquartile_mean, iqm
from nb_gym import NBPendulumVectorEnv

STYLES: dict[str, tuple[str, str]] = {
    "nb": ("#56B4E9", "--"),
    "nb-pro": ("#0072B2", "-"),
    "nb-k": ("#CC79A7", "--"),
    "nb-pro-k": ("#D55E00", "-"),
    "fine-tune": ("#000000", "-"),
    "fine-tune-folded": ("#000000", ":"),
    "head": ("#666666", "--"),
    "scratch": ("#009E73", "-."),
    "randomised": ("#009E73", ":"),
    "maml": ("#E69F00", "-"),
    "fomaml": ("#E69F00", "--"),
    "anil": ("#E69F00", "-."),
    "reptile": ("#E69F00", ":"),
}
"""Colour and line of each method: Okabe and Ito's palette, which the colour-blind can tell apart; lines for print."""

LABEL_GAP = 0.13
"""Decades between labels of neighbouring lines."""

LEGEND = "Dotted: reference controllers over the same starts, and the best training episodes that the paper printed."

PICTURE_STEPS = 10
"""Physics steps from one picture of the GIF to the next."""
GIF_SECONDS = 10.0
GIF_COLOURS = 64
TITLE_HEIGHT = 32


def save_curves(runs: Sequence[Run], path: Path, command: str) -> None:
    """Draw the deterministic return in the target context against all environment steps, pretraining included."""
    spec = runs[0].spec
    figure = Figure(figsize=(9.0, 5.6), layout="constrained")
    axes = figure.subplots()
    for name, group in by_method(runs).items():
        _draw_method(axes, name, group)
    if any(run.summary.steps > spec.transfer_episodes * EPISODE_STEPS for run in runs):
        _mark_transfer(axes, spec)
    _draw_anchors(axes, spec)
    _scale_returns(axes)
    axes.set_xlim(0, max(run.summary.steps for run in runs))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:g}k")
    axes.set_xlabel("environment steps (physics steps, pretraining included)")
    axes.set_ylabel(f"deterministic return at {describe_context(spec.target)}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=len(STYLES), borderaxespad=0.2)
    text = f"{caption(runs, command)} {conditions(runs)} {LEGEND}"
    figure.text(0.01, -0.01, text, fontsize=7.5, color="0.35", va="top", wrap=True)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=150, bbox_inches="tight", pad_inches=0.1)
    write_atomically(path, buffer.getvalue())


def _draw_method(axes: Axes, name: str, runs: Sequence[Run]) -> None:
    steps = runs[0].result.curve.steps
    scores = np.array([run.result.curve.target for run in runs])  # (num_runs, num_evaluations)
    colour, line = STYLES[name]
    axes.plot(steps, interquartile_mean(scores, axis=0), color=colour, linestyle=line, label=name, linewidth=1.8)
    if len(runs) < FEWEST_SEEDS:
        return
    rng = np.random.default_rng(0)
    band = [iqm(column, rng, num_resamples=500) for column in scores.T]
    low, high = ([getattr(point, end) for point in band] for end in ("low", "high"))
    axes.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)


def _scale_returns(axes: Axes) -> None:
    """A logarithmic axis that holds everything drawn; ticks at 1 and 3 times the powers of ten."""
    low, high = axes.dataLim.intervaly
    axes.set_yscale("symlog", linthresh=1.0)
    axes.set_ylim(1.6 * low, high / 1.6)
    ticks = [-factor * 10.0**power for power in range(int(np.log10(-low)) + 2) for factor in (1, 3)]
    shown = [tick for tick in sorted(ticks) if 1.6 * low <= tick <= high / 1.6]
    axes.set_yticks(shown, [number(tick, digits=0) for tick in shown])
    axes.minorticks_off()


def _mark_transfer(axes: Axes, spec: RunSpec) -> None:
    start = spec.pretrain_episodes * EPISODE_STEPS
    axes.axvline(start, color="0.6", linewidth=1.0)
    text = f"{describe_context(spec.source)} → {describe_context(spec.target)}"
    axes.annotate(
        text, (start, 0.02), xycoords=("data", "axes fraction"), xytext=(4, 0), textcoords="offset points", color="0.4"
    )


def _draw_anchors(axes: Axes, spec: RunSpec) -> None:
    """Horizontal lines, each with its label in the right margin, moved apart where they would overlap."""
    references = reference_returns(spec.target)
    lines: dict[str, tuple[float, Any]] = {
        f"{name} {number(references[name])}": (references[name], ":") for name in (WORST, BEST)
    }
    if spec.target == PUBLISHED_TARGET:
        lines |= {f"published {name} {number(row.best)}": (row.best, (0, (1, 3))) for name, row in PUBLISHED.items()}
    ordered = sorted(lines.items(), key=lambda item: item[1][0])
    heights = _spread(np.array([-np.log10(-value) for _, (value, _) in ordered]), LABEL_GAP)
    for (label, (value, style)), height in zip(ordered, heights, strict=True):
        axes.axhline(value, color="0.45", linestyle=style, linewidth=1.0, zorder=0)
        axes.annotate(
            label,
            (1.0, -(10.0**-height)),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color="0.35",
        )


def _spread(heights: NDArray[np.float64], gap: float) -> NDArray[np.float64]:
    """Move rising heights apart, up and down alike, until neighbours are at least `gap` from each other."""
    offsets = gap * np.arange(len(heights))
    upwards: NDArray[np.float64] = np.maximum.accumulate(heights - offsets) + offsets
    downwards: NDArray[np.float64] = np.minimum.accumulate((heights - offsets)[::-1])[::-1] + offsets
    return 0.5 * (upwards + downwards)


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
    env = NBPendulumVectorEnv(2, episode_steps=EPISODE_STEPS, render_mode="rgb_array", **context)
    theta, theta_dot = (float(starts[0]) for starts in fixed_starts())
    env.reset(options={"theta": theta, "theta_dot": theta_dot})
    decisions = np.array([run.result.torques_before, run.result.torques_after], dtype=np.float32).T
    # Decision by decision the motion would stutter; a torque that is held is the same whoever counts the steps.
    for step, torques in enumerate(np.repeat(decisions, run.spec.settings.frame_skip, axis=0), start=1):
        env.step(torques[:, np.newaxis])
        if step % PICTURE_STEPS == 0:
            yield np.asarray(env.render())
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
