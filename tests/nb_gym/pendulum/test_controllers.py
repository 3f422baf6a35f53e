"""The reference controllers reach the anchors that every table is measured against."""

from __future__ import annotations

import numpy as np
import pytest

from nb_gym import controllers
from nb_gym.pendulum.controllers import Controller, reference_return, reference_returns

ANCHORS: list[tuple[Controller, tuple[float, float, float]]] = [
    (controllers.zero, (-2372, -3829, -7451)),
    (controllers.random, (-2324, -4007, -7482)),
    (controllers.pd(10, 5), (-60, -105, -245)),
    (controllers.pd(100, 20), (-9.1, -14.3, -156)),
    (controllers.bang_bang, (-4.0, -4.0, -156)),
    (controllers.feed_forward(), (-2.9, -2.9, -147)),
]


@pytest.mark.parametrize(("controller", "anchors"), ANCHORS)
def test_anchors(controller: Controller, anchors: tuple[float, float, float]) -> None:
    for A, anchor in zip((1.0, 1.8, 2.5), anchors, strict=True):
        returns = reference_returns(controller, A=A)
        assert returns.shape == (64,)
        # The anchors are means over 64 other starts, printed to about three digits.
        error = np.sqrt(2 / 64) * returns.std()
        assert returns.mean() == pytest.approx(anchor, abs=3 * error + 0.005 * abs(anchor))


def test_returns_are_seeded_and_do_not_depend_on_who_else_is_simulated() -> None:
    returns = reference_returns(controllers.random, n_starts=8, seed=3, A=1.8)
    assert reference_return(controllers.random, n_starts=8, seed=3, A=1.8) == returns.mean()
    assert (returns != reference_returns(controllers.random, n_starts=8, seed=4, A=1.8)).all()


def test_feed_forward_knows_the_context() -> None:
    unknown = {"A": 1.8, "omega": 1.5, "phase": 1.0, "torque_gain": -1.0}
    assert reference_return(controllers.feed_forward(), **unknown) > -10
    assert reference_return(controllers.pd(100, 20), **unknown) < -1000


def test_feed_forward_needs_an_actuator() -> None:
    with pytest.raises(ValueError, match=r"torque_gain must not be 0 for feed_forward, got array\(\[1., 0.\]\)"):
        reference_return(controllers.feed_forward(), n_starts=2, torque_gain=np.array([1.0, 0.0]))


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="n_starts must be an integer of at least 1, got 0"):
        reference_return(controllers.zero, n_starts=0)
    with pytest.raises(TypeError, match="unexpected keyword argument 'a'"):
        reference_return(controllers.zero, a=1.8)
