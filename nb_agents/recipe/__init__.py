"""The paper's own recipe: supervised trainer, policy, and DAgger's collection."""

from nb_agents.recipe.policy import NeuralBatteryPolicy
from nb_agents.recipe.trainer import NeuralBatteryTrainer

__all__ = ["NeuralBatteryPolicy", "NeuralBatteryTrainer"]
