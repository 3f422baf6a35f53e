"""`conditioned-k`: signed gates per layer, k = f(context); only f and k0 adapt."""

from benchmarks.methods.kinds.gradient import GradientMethod
from nb_evaluation.method import Style

METHOD = GradientMethod(
    summary="signed gates per layer, k = f(context); only f and k0 adapt",
    row=56,
    style=Style("#44AA99", "-", "$f$"),
    panel="signed gates",
    compared=False,
    gated=True,
    signed=True,
    told={"A": (1.0, 1.8), "torque_gain": (-1.0, 1.0), "b": (0.2, 1.0)},
    adapts="gates",
)
