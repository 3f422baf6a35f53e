"""`anil`: MAML whose inner steps move the last layer alone, then PPO."""

from benchmarks.methods.kinds.meta import PPO_LONG, MetaMethod, search_spaces
from benchmarks.protocol.settings import MetaSettings
from nb_evaluation.method import DENSE, Style

METHOD = MetaMethod(
    summary="MAML whose inner steps move the last layer alone, then PPO",
    row=150,
    style=Style("#009E73", DENSE, "*"),
    learner="ANIL",
    short=MetaSettings(inner_lr=0.3, episodes_per_task=4, adapt_episodes=2, max_kl=0.05),
    long=PPO_LONG,
    searches=search_spaces("anil", "trpo", "ppo"),
)
