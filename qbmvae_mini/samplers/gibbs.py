"""Gibbs sampling: redraw units from their law given all the others.

Geman and Geman 1984, Stochastic relaxation, Gibbs distributions, and the
Bayesian restoration of images.
"""

from qbmvae_mini.samplers.chains import Chains


class GibbsSampler(Chains):
    """Many Gibbs chains side by side, kept between calls.

    Parameters
    ----------
    chains : int
        Number of chains.
    sweeps : int
        Sweeps between two draws from one chain.
    persistent : bool
        Keep the chains from call to call (Tieleman 2008). Otherwise each call
        starts `n` fresh chains at random bits and runs `sweeps` sweeps.
    seed : int
        Seeds the sampler's own random numbers.

    Raises
    ------
    TypeError
        For a machine that is not classical, or a `persistent` that is neither
        True nor False.
    ValueError
        If a number is out of range, or the sampler's chains belong to
        another machine.
    """

    def __init__(self, chains=256, sweeps=10, persistent=True, seed=0):
        super().__init__(chains, sweeps, persistent, seed)

    def _advance(self, machine, z, sweeps):
        self._heat_bath_of(machine, z).sweep(sweeps=sweeps)
