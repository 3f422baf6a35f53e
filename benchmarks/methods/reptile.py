"""`reptile`: Reptile, then PPO."""

from benchmarks.methods.kinds.meta import MetaMethod, search_spaces
from benchmarks.protocol.settings import MetaSettings
from nb_evaluation.method import Style

METHOD = MetaMethod(
    summary="Reptile, then PPO",
    row=140,
    style=Style("#CC79A7", ":", "h"),
    learner="Reptile",
    plays_last=False,
    short=MetaSettings(inner_lr=0.3, episodes_per_task=4, adapt_episodes=4),
    long=MetaSettings(inner_lr=0.03, tasks_per_iteration=10, episodes_per_task=4, adapt_episodes=2),
    searches=search_spaces("reptile"),
)
