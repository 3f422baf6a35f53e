"""FiLM's scale and shift of the units as a gate kind, to be compared with gates that scale alone."""

from __future__ import annotations

import torch

from nb_agents.gates.signed import SignedKGate


class FiLMGate(SignedKGate):
    """``h' = h ⊙ g + s``: a signed gate, and a shift that is spread over the units by the same matrix M.

    Both are ``M tanh(k / 2)``, of twice as many k's: those of the scale come first, as in a signed gate, then those of
    the shift, in the same order. The scale of a new gate is 1 and its shift 0; ``k_init`` is the start of the scales.
    The idea is that of Perez et al., FiLM: Visual Reasoning with a General Conditioning Layer, AAAI 2018, whose numbers
    are free for each unit.
    """

    def _start(self, k_init: float) -> torch.Tensor:
        scale = super()._start(k_init)
        return torch.cat([scale, torch.zeros_like(scale)])

    def k_names(self) -> list[str]:
        """See `KGate.k_names`; those of the shift begin with ``_shift``."""
        return [*super().k_names(), *(f"_shift{name}" for name in super().k_names())]

    def gate(self, k: torch.Tensor | None = None) -> torch.Tensor:
        """The scale g, see `KGate.gate`."""
        return super().gate(self._halves(k)[0])

    def shift(self, k: torch.Tensor | None = None) -> torch.Tensor:
        """The shift s, shaped as the scale."""
        return super().gate(self._halves(k)[1])

    def rows(self, k: torch.Tensor) -> torch.Tensor:
        """The scales of many k-sets, see `KGate.rows`."""
        return self._of_rows(self._halves(k)[0])

    def shifts(self, k: torch.Tensor) -> torch.Tensor:
        """The shifts of many k-sets, see `KGate.shifts`."""
        return self._of_rows(self._halves(k)[1])

    def by_rows(self, x: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        """See `KGate.by_rows`."""
        return torch.addcmul(self.shifts(k), self.activation(x), self.rows(k))

    def matrix(self) -> torch.Tensor | None:
        """See `KGate.matrix`."""
        own = self.membership.T
        if type(self).gate is not FiLMGate.gate or self.spatial_dims:
            return None
        return torch.block_diag(own, own)  # type: ignore[no-untyped-call, no-any-return]

    def by_values(self, x: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """See `KGate.by_values`."""
        scale, shift = values.chunk(2, dim=1)
        return torch.addcmul(shift, self.activation(x), scale)

    def _halves(self, k: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        return (self.k if k is None else k).chunk(2, dim=-1)
