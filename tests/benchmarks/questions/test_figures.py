import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.methods import METHODS
from benchmarks.questions.sequence.strategies import STRATEGIES
from benchmarks.questions.transfer.curves import save_curves
from benchmarks.questions.transfer.question import QUESTION
from benchmarks.questions.transfer.replay import save_before_and_after
from nb_evaluation.method import REFERENCE_PANEL, panels
from nb_evaluation.report.style import apart, scale_differences, scale_returns, scale_scores, svg


def test_every_method_has_a_style_of_its_own():
    assert len({method.style.marker for method in METHODS.values()}) == len(METHODS)
    assert len({method.row for method in METHODS.values()}) == len(METHODS)


def test_the_lines_of_a_panel_can_be_told_apart_with_and_without_colour():
    layout = panels(METHODS, METHODS)
    assert {name for names in layout.values() for name in names} == set(METHODS)
    for names in layout.values():
        assert len({METHODS[name].style.colour for name in names}) == len(names) <= 5
        assert len({(METHODS[name].style.line, METHODS[name].style.marker) for name in names}) == len(names)
        assert METHODS[names[0]].panel == REFERENCE_PANEL


def test_few_methods_share_a_panel():
    assert panels(["scratch", "nb"], METHODS) == {"": ["nb", "scratch"]}
    assert len(panels(METHODS, METHODS)) == 9


def test_curves(made_up_run, tmp_path):
    runs = [made_up_run(method=method, seed=seed) for method in ("nb-pro", "scratch") for seed in (100, 101, 102)]
    save_curves(runs, tmp_path / "curves.png", "python -m benchmarks transfer")
    with Image.open(tmp_path / "curves.png") as picture:
        assert min(picture.size) > 600
        colours = {tuple(pixel) for pixel in np.asarray(picture.convert("RGB")).reshape(-1, 3)}
    for method in ("nb-pro", "scratch"):
        assert tuple(bytes.fromhex(METHODS[method].style.colour[1:])) in colours


def test_one_run_makes_a_figure(made_up_run, tmp_path):
    save_curves([made_up_run(method="scratch", target={"A": 1.5})], tmp_path / "curves.png", "command")
    assert (tmp_path / "curves.png").stat().st_size > 10_000


@pytest.mark.parametrize(("low", "high"), [(-18_150.0, -2.5), (-40.0, -0.4)])
def test_the_axis_holds_everything_drawn(low, high):
    axes = Figure().subplots()
    axes.plot([0, 1], [-20.0, high])
    axes.axhline(low)
    scale_returns(axes)
    bottom, top = axes.get_ylim()
    assert bottom < low < high < top
    ticks = axes.get_yticks()
    assert bottom <= min(ticks) <= 0.3 * low
    assert -3.0 <= max(ticks) <= top


def test_panels_that_share_an_axis_hold_what_is_drawn_in_any():
    grid = Figure().subplots(1, 2, sharey=True)
    grid[0].plot([0, 1], [-5000.0, -20.0])
    grid[1].plot([0, 1], [-40.0, -2.0])
    for axes in grid:
        scale_returns(axes)
    low, high = grid[0].get_ylim()
    assert low < -5000.0
    assert high > -2.0


@pytest.mark.parametrize(("low", "high"), [(-9.3, 0.97), (0.95, 0.999), (0.5, 1.02)])
def test_the_axis_of_scores_tells_apart_what_is_near_1_and_what_fails(low, high):
    axes = Figure().subplots()
    axes.plot([0, 1, 2], [low, 0.5 * (low + high), high])
    scale_scores(axes)
    bottom, top = axes.get_ylim()
    assert bottom < low < max(high, 1.0) < top
    assert 1.0 in axes.get_yticks()
    heights = axes.transLimits.transform(axes.transScale.transform([(0.0, y) for y in (0.95, 0.99, 1.0)]))[:, 1]
    assert np.diff(heights).min() > 0.05


@pytest.mark.parametrize(("low", "high"), [(-1200.0, 0.5), (-0.2, 0.3), (-400.0, 900.0)])
def test_the_axis_of_differences_holds_everything_drawn_and_0(low, high):
    axes = Figure().subplots()
    axes.plot([low, high], [0, 1])
    scale_differences(axes)
    left, right = axes.get_xlim()
    assert left < min(low, 0.0) < max(high, 0.0) < right
    assert 0.0 in axes.get_xticks()
    places = axes.transLimits.transform(axes.transScale.transform([(x, 0.0) for x in axes.get_xticks()]))[:, 0]
    assert np.diff(places).min() > 0.05  # no labels touch


def test_the_lines_of_a_sequence_can_be_told_apart_with_and_without_colour():
    styles = [strategy.style for strategy in STRATEGIES.values()]
    assert len({style.colour for style in styles}) == len(styles)
    assert len({(style.line, style.marker) for style in styles}) == len(styles)


def test_before_and_after(made_up_run, tmp_path):
    run = made_up_run()
    save_before_and_after(run, tmp_path / "transfer.gif")
    with Image.open(tmp_path / "transfer.gif") as picture:
        assert picture.n_frames == 100
        picture.seek(picture.n_frames - 1)
        left, right = np.split(np.asarray(picture.convert("L"), dtype=float), 2, axis=1)
    assert np.abs(left - right).max() > 100  # other torques, another end
    assert (tmp_path / "transfer.gif").stat().st_size < 1_500_000


def test_labels_are_moved_apart_no_further_than_needed():
    np.testing.assert_allclose(apart(np.array([0.0, 0.1, 5.0]), 1.0), [-0.45, 0.55, 5.0])
    np.testing.assert_allclose(apart(np.array([0.0, 1.0, 2.5]), 1.0), [0.0, 1.0, 2.5])
    assert np.diff(apart(np.array([0.0, 0.2, 0.3, 0.3, 4.0]), 1.0)).min() >= 1.0 - 1e-12


def test_little_can_be_drawn_too(made_up_run):
    """One run of a method that trains on no target and has surveyed nothing."""
    run = made_up_run(method="randomised", seed=100)
    bare = replace(run.result, transfer_episodes=[], landscape_before=None, landscape_after=None)
    pictures = QUESTION.figures([replace(run, result=bare)])
    assert [picture.title for picture in pictures][1:] == [
        "Interval plots",
        "Performance profiles",
        "Every seed",
        "Score against numbers adapted",
    ]
    for picture in pictures:
        assert ElementTree.fromstring(svg(picture.figure)).tag.endswith("svg")


def test_shorter_paths_leave_the_text_where_it_is():
    """Glyphs are scaled by small factors, which must keep all their digits."""
    figure = Figure()
    figure.text(0.5, 0.5, "θ")
    figure.subplots().plot([0, 1, 2], [0.123456, 0.7, 0.3])
    drawing = svg(figure).decode()
    assert "scale(0.015625)" in drawing
    assert not re.search(r' d="[^"]*\.\d\d\d', drawing)
    assert svg(figure).decode() == drawing
