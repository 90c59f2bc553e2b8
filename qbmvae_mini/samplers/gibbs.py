"""Gibbs sampling: redraw units from their law given all the others.

Geman and Geman 1984, Stochastic relaxation, Gibbs distributions, and the
Bayesian restoration of images. For an RBM a whole layer is redrawn at once
(block Gibbs), which is exact because a layer's units are not coupled.
"""

import weakref

import torch

from qbmvae_mini.checks import check_whole

#: Sweeps from coin flips before persistent chains give their first draw.
BURN_IN = 100


def random_bits(n, n_units, *, generator=None, like=None):
    """Fair coin flips, shape (n, n_units), on the device of `like`."""
    like = torch.zeros(()) if like is None else like
    z = like.new_empty(n, n_units).uniform_(generator=generator)
    return z.round_()


@torch.no_grad()
def sweep(machine, z, beta=1.0, *, sweeps=1, generator=None):
    """Redraw every unit of every chain, in place.

    The one kernel of this package: Gibbs sampling, annealed importance
    sampling and tempering all call it. It leaves exp(-beta E) / Z(beta)
    unchanged.

    Parameters
    ----------
    machine : Machine
    z : Tensor, shape (chains, n_units)
        Bits, overwritten with the new state.
    beta : float
        Inverse temperature.
    sweeps : int
        How often to redraw every unit.
    generator : torch.Generator, optional

    Returns
    -------
    Tensor
        `z` itself.
    """
    steps = machine.conditionals()
    for _ in range(sweeps):
        for target, source, weight, bias in steps:
            # (chains, n_source) @ (n_source, n_target) -> (chains, n_target)
            on = torch.addmm(bias, z[:, source], weight, beta=beta, alpha=beta)
            on.sigmoid_()
            # uniform < p is three times as fast as torch.bernoulli.
            uniform = torch.empty_like(on).uniform_(generator=generator)
            z[:, target] = uniform.lt_(on)
    return z


class GibbsSampler:
    """Many Gibbs chains side by side, kept between calls.

    Persistent chains track a machine that changes slowly, as in persistent
    contrastive divergence (Tieleman 2008). They live outside the machine: a
    module's buffers would be broadcast and overwritten in data-parallel
    training.

    Parameters
    ----------
    chains : int
        Number of chains.
    sweeps : int
        Sweeps between two draws from one chain.
    persistent : bool
        Keep the chains from call to call. Otherwise each call starts `n`
        fresh chains at random bits and runs `sweeps` sweeps.
    seed : int
        Seeds the sampler's own random numbers.

    Raises
    ------
    ValueError
        If the sampler's chains belong to another machine.
    """

    def __init__(self, chains=256, sweeps=10, persistent=True, seed=0):
        check_whole("chains", chains, 1)
        check_whole("sweeps", sweeps, 1)
        self.chains = chains
        self.sweeps = sweeps
        self.persistent = persistent
        self.seed = seed
        self._generator = None
        self._states = None  # (chains, n_units)
        self._machine = None  # weak: the sampler does not keep it alive

    def sample(self, machine, n):
        """Draw `n` states.

        With persistent chains, up to `chains` draws come from different
        chains; further ones come from the same chains after more sweeps, and
        so are correlated with the earlier ones.

        Returns
        -------
        Tensor, shape (n, n_units)
        """
        check_whole("n", n, 1)
        machine.check()
        like = next(machine.parameters())
        self._seed_on(like.device)
        if not self.persistent:
            z = self._fresh(n, machine, like)
            return self._sweep(machine, z, self.sweeps)
        self._bind(machine, like)
        draws = []
        while sum(map(len, draws)) < n:
            self._sweep(machine, self._states, self.sweeps)
            draws.append(self._states.clone())
        return torch.cat(draws)[:n]

    def state_dict(self):
        """Chains and random state, as a flat dict of tensors."""
        state = {}
        if self._generator is not None:
            state["generator"] = self._generator.get_state()
        if self._states is not None:
            state["chains"] = self._states.clone()
        return state

    def load_state_dict(self, state):
        """Restore chains and random state; the next machine adopts them."""
        self._machine = None
        self._states = self._generator = None
        if "chains" in state:
            self._states = state["chains"].clone()
            self.chains = len(self._states)
        if "generator" in state:
            device = "cpu" if self._states is None else self._states.device
            self._seed_on(device)
            self._generator.set_state(state["generator"].cpu())

    def __deepcopy__(self, memo):
        """A copy with chains of its own, for the copy of a machine."""
        twin = GibbsSampler(
            self.chains, self.sweeps, self.persistent, self.seed
        )
        twin.load_state_dict(self.state_dict())
        return twin

    def _sweep(self, machine, z, sweeps):
        return sweep(machine, z, sweeps=sweeps, generator=self._generator)

    def _fresh(self, n, machine, like):
        return random_bits(
            n, machine.n_units, generator=self._generator, like=like
        )

    def _seed_on(self, device):
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device).manual_seed(self.seed)

    def _bind(self, machine, like):
        """Start the chains, or make sure that they are this machine's."""
        if self._machine is None and self._states is not None:
            if self._states.shape[1] != machine.n_units:
                raise ValueError(
                    f"these chains have {self._states.shape[1]} units, the "
                    f"machine has {machine.n_units}; use a new GibbsSampler"
                )
        elif self._machine is None:
            self._states = self._fresh(self.chains, machine, like)
            self._sweep(machine, self._states, BURN_IN)
        elif self._machine() is not machine:
            raise ValueError(
                "these persistent chains belong to another machine; use one "
                "GibbsSampler a machine, or persistent=False"
            )
        self._machine = weakref.ref(machine)
        self._states = self._states.to(like)
