"""`fomaml`: first-order MAML, then PPO."""

from benchmarks.methods.kinds.meta import PPO_LONG, PPO_SHORT, MetaMethod, search_spaces
from nb_evaluation.method import Style

METHOD = MetaMethod(
    summary="first-order MAML, then PPO",
    row=130,
    style=Style("#0072B2", "--", "p"),
    learner="FOMAML",
    short=PPO_SHORT,
    long=PPO_LONG,
    searches=search_spaces("fomaml", "trpo", "ppo"),
)
