"""Parallel tempering: hot replicas carry cold ones over the hills."""

import torch

from qbmvae_mini.checks import check_real, check_whole
from qbmvae_mini.samplers.chains import GO_ON, Chains
from qbmvae_mini.samplers.random_numbers import Uniforms


class TemperingSampler(Chains):
    """Gibbs chains at a ladder of temperatures that exchange their states.

    Each chain has one replica a rung of the ladder, from beta = 1 (the law
    that is asked for) down to `beta_min`, in equal ratios. After each sweep
    neighbouring rungs i, j swap their states with probability
    ``min(1, exp((beta_i - beta_j)(E_i - E_j)))``, pairs (0, 1), (2, 3), ...
    and (1, 2), (3, 4), ... in turn. That leaves the law of every rung as it
    is, and lets a state that is stuck at beta = 1 leave by the hot end.

    Hukushima and Nemoto 1996, Exchange Monte Carlo method and application to
    spin glass simulations; for machines that are being learned, Desjardins et
    al. 2010, Tempered Markov chain Monte Carlo for training of restricted
    Boltzmann machines.

    Parameters
    ----------
    chains : int
        Number of chains, each with `temperatures` replicas.
    temperatures : int
        Rungs of the ladder, at least 2.
    beta_min : float
        Inverse temperature of the hottest rung, between 0 and 1.
    sweeps : int
        Sweeps, each followed by swaps, between two draws from one chain.
    persistent : bool
        Keep the chains from call to call; see `GibbsSampler`. They start with
        100 sweeps; a state needs more than that to come down a long ladder,
        so on a hard machine throw the first draws away.
    seed : int

    Attributes
    ----------
    betas : Tensor, shape (temperatures,)
    swap_rates : Tensor, shape (temperatures - 1,)
        Share of proposed swaps between neighbouring rungs that were made,
        since this object exists; NaN where none was proposed. A rate near
        zero is a broken ladder: take more rungs.

    Raises
    ------
    TypeError, ValueError
        As `GibbsSampler`, and for a ladder that is none.
    """

    def __init__(
        self,
        chains=64,
        temperatures=10,
        beta_min=0.1,
        sweeps=10,
        persistent=True,
        seed=0,
    ):
        super().__init__(chains, sweeps, persistent, seed)
        self.temperatures = check_whole("temperatures", temperatures, 2)
        self.beta_min = check_real("beta_min", beta_min, above=0, below=1)
        exponents = torch.linspace(0, 1, self.temperatures, dtype=torch.float64)
        self.betas = self.beta_min**exponents
        self._round = 0
        self._count_anew()

    @property
    def swap_rates(self):
        """Share of the proposed swaps that were made, a rung pair each."""
        return self._made / self._proposed

    _names = Chains._names | {"betas", "round"}

    @property
    def _rows(self):
        return self.temperatures

    def settings(self):
        """Those of the chains, and the ladder."""
        ladder = {"temperatures": self.temperatures, "beta_min": self.beta_min}
        return super().settings() | ladder

    @torch.inference_mode(False)
    def reset(self):
        """Forget replicas, random state, swaps and whose turn it is."""
        super().reset()
        self._round = 0
        self._count_anew()

    def state_dict(self):
        """Replicas, their ladder, random state and whose turn it is."""
        return super().state_dict() | {
            "betas": self.betas.clone(),
            "round": torch.tensor(self._round),
        }

    @torch.inference_mode(False)  # as in `sample`
    def load_state_dict(self, state):
        """Restore all that `state_dict` gave; swaps are counted anew.

        Raises
        ------
        ValueError
            If the state is damaged, none of tempering, or of another ladder;
            nothing is changed then.
        """
        super().load_state_dict(state)
        self._round = int(state["round"])
        self._count_anew()

    def _check_state(self, state):
        if not {"betas", "round"} <= set(state):
            raise ValueError(
                "this state is none of a TemperingSampler: it holds "
                f"{', '.join(sorted(state)) or 'nothing'}, and no ladder "
                f"(betas, round); {GO_ON}"
            )
        super()._check_state(state)
        betas, round_ = state["betas"].cpu(), state["round"]
        if betas.ndim != 1 or not len(betas) or round_.ndim:
            raise ValueError(
                "betas of this state are a row of numbers and round is one, "
                f"not of shape {tuple(betas.shape)} and "
                f"{tuple(round_.shape)}; {GO_ON}"
            )
        if betas.tolist() != self.betas.tolist():
            raise ValueError(
                f"these replicas are of a ladder of {len(betas)} rungs down "
                f"to beta {float(betas[-1]):g}, this sampler has "
                f"{self.temperatures} down to {self.beta_min:g}; give it the "
                "same temperatures and beta_min"
            )

    def _count_anew(self):
        self._proposed = torch.zeros_like(self.betas[1:])
        self._made = torch.zeros_like(self.betas[1:])

    @torch.no_grad()
    def _advance(self, machine, z, sweeps):
        heat_bath = self._heat_bath_of(machine, z)
        rungs = z.unflatten(0, (self.temperatures, -1))
        chains = rungs.shape[1]
        beta = self.betas.to(z).repeat_interleave(chains)[:, None]
        pairs = [(self.temperatures // 2, chains)]
        uniforms = Uniforms(self._words, pairs, z)
        for _ in range(sweeps):
            heat_bath.sweep(beta)
            for (u,) in uniforms.draws(1):
                self._swap(machine, rungs, u)

    def _swap(self, machine, z, u):
        """Exchange states of neighbouring rungs, (rungs, chains, units)."""
        low = torch.arange(self._round % 2, self.temperatures - 1, 2)
        self._round += 1
        energy = machine.energy(z)  # (rungs, chains)
        beta = self.betas.to(energy)[:, None]
        log_ratio = (beta[low] - beta[low + 1]) * (
            energy[low] - energy[low + 1]
        )
        made = u[: len(low)].log() < log_ratio  # (pairs, chains)
        self._proposed[low] += made.shape[1]
        self._made[low] += made.sum(1).cpu()
        cold, hot, swap = z[low], z[low + 1], made[:, :, None]
        z[low] = torch.where(swap, hot, cold)
        z[low + 1] = torch.where(swap, cold, hot)
