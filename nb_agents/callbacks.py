"""Gates in SB3's logger."""

from __future__ import annotations

from stable_baselines3.common.callbacks import BaseCallback

from nb_agents.policies import KGatedMixin


class KGateCallback(BaseCallback):
    """Records gate values and the k-target loss after every rollout.

    Names: ``gates/layer_0`` is σ(k_layer) of the first gated layer, ``gates/layer_0_block_1`` is σ(k) of its second
    block (without the block's weight), ``train/k_target_loss`` the unweighted loss, and ``train/k_learning_rate`` the
    rate that the k's are stepped with. Layers are numbered in the order of `KGatedMixin.gates`.

    Raises:
        TypeError: When training starts, if the model's policy has no k-gates.
    """

    def _init_callback(self) -> None:
        if not isinstance(self.model.policy, KGatedMixin):
            raise TypeError(f"KGateCallback needs a k-gated policy, got {type(self.model.policy).__name__}")

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        policy = self.model.policy
        assert isinstance(policy, KGatedMixin)
        for i, gate in enumerate(policy.gates.values()):
            layer, *blocks = gate.k.detach().sigmoid().tolist()
            self.logger.record(f"gates/layer_{i}", layer)
            for j, block in enumerate(blocks):
                self.logger.record(f"gates/layer_{i}_block_{j}", block)
        self.logger.record("train/k_target_loss", policy.regularizer(policy.gates.values()).item())
        rate = self.model.lr_schedule(self.model._current_progress_remaining)
        self.logger.record("train/k_learning_rate", rate * policy.k_lr_ratio)
