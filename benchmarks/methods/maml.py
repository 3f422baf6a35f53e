"""`maml`: MAML, 5 inner steps, then PPO."""

from benchmarks.methods.kinds.meta import PPO_LONG, PPO_SHORT, MetaMethod, search_spaces
from nb_evaluation.method import Style

METHOD = MetaMethod(
    summary="MAML, 5 inner steps, then PPO",
    row=120,
    style=Style("#E69F00", "-", "D"),
    learner="MAML",
    short=PPO_SHORT,
    long=PPO_LONG,
    searches=search_spaces("maml", "trpo", "ppo"),
)
