"""f of a policy in which each row of a vector environment has a k-set of its own."""

from __future__ import annotations

import torch
from torch import nn


class RowKSets(nn.Linear):
    """What is added to k0 in each row, one column of the weight for each: a linear map of the row, without a bias.

    As k_net of a policy it takes the part that `nb_agents.vec_env.rows.RowObservation` shows. A row's gradient is that
    of its own column; in the others the products with its zeros are 0.

    Args:
        n_rows: Number of rows.
        n_k: Numbers in a k-set.
    """

    def __init__(self, n_rows: int, n_k: int) -> None:
        super().__init__(n_rows, n_k, bias=False)
        nn.init.zeros_(self.weight)

    def each_row(self) -> torch.Tensor:
        """What the rows show, ``(n_rows, n_rows)``."""
        return torch.eye(self.in_features, device=self.weight.device, dtype=self.weight.dtype)
