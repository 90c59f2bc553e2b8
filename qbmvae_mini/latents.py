r"""Latents: the posterior over a code and its prior, in one exchangeable part.

A `VAE` asks its latent for everything that depends on the prior, so that two
models differ in their latent and in nothing else. Every latent has

========================  ====================================================
``n_params, n_latent``    encoder outputs, and width of the code
``rsample(params)``       (batch, n_latent), differentiable, for training
``sample(params, n)``     (n, batch, n_latent), exact draws, for evaluation
``decoder_input(z)``      what the decoder reads
``kl(params)``            (batch,) KL(q||p) in nats
``log_q(params, z)``      log posterior of exact draws, (..., batch)
``log_prior(z)``          log prior of exact draws, (..., batch)
``mean(params)``          the embedding, (batch, n_latent)
``energy(params)``        (batch,) prior energy of the mean code, no log Z
``sample_prior(n)``       (n, n_latent)
``estimate_log_z()``      (value, lower, upper)
========================  ====================================================
"""

import math

import dimod
import torch
from torch import nn
from torch.nn import functional as F

from qbmvae_mini.checks import check_whole
from qbmvae_mini.partition import (
    Bracket,
    enumerable,
    exact_log_z,
    log_z_bracket,
)
from qbmvae_mini.relaxations import relaxation as find_relaxation
from qbmvae_mini.samplers import ExactSampler

#: Effort for a log Z that only has to be known to a few tenths of a nat.
ROUGH_AIS = {"chains": 250, "temperatures": 400}

#: Draws for the negative phase from a sampler that keeps no chains.
NEGATIVES = 256


class GaussianLatent(nn.Module):
    """Diagonal Gaussian posterior, standard Gaussian prior.

    Kingma and Welling 2014, 1312.6114, appendix B. The encoder gives mean
    and log variance, ``n_params = 2 n_latent``.

    Parameters
    ----------
    n_latent : int
    """

    def __init__(self, n_latent):
        super().__init__()
        n_latent = check_whole("n_latent", n_latent, 1)
        self.n_latent = n_latent
        self.n_params = 2 * n_latent

    def rsample(self, params):
        """One draw ``mean + sd * noise``, (batch, n_latent)."""
        return self._posterior(params).rsample()

    @torch.no_grad()
    def sample(self, params, n=1):
        """`n` draws, (n, batch, n_latent)."""
        return self._posterior(params).sample((n,))

    def decoder_input(self, z):
        """The code itself."""
        return z

    def kl(self, params):
        """``sum (mean^2 + var - log var - 1) / 2``, (batch,)."""
        mean, log_var = params.chunk(2, dim=-1)
        return (mean.square() + log_var.exp() - log_var - 1).sum(-1) / 2

    def log_q(self, params, z):
        """Log density of the posterior, (..., batch)."""
        return self._posterior(params).log_prob(z).sum(-1)

    def log_prior(self, z):
        """Log density of the prior, (..., batch)."""
        return -z.square().sum(-1) / 2 - self.estimate_log_z().value

    def mean(self, params):
        """Posterior mean, (batch, n_latent)."""
        return params.chunk(2, dim=-1)[0]

    def energy(self, params):
        """Half the squared length of the mean, (batch,)."""
        return self.mean(params).square().sum(-1) / 2

    def sample_prior(self, n):
        """`n` draws from the prior, (n, n_latent)."""
        return torch.randn(n, self.n_latent)

    def estimate_log_z(self):
        """``n_latent / 2 * log(2 pi)``, exactly."""
        value = self.n_latent / 2 * math.log(2 * math.pi)
        return Bracket(value, value, value)

    def _posterior(self, params):
        mean, log_var = params.chunk(2, dim=-1)
        sd = (log_var / 2).exp()
        return torch.distributions.Normal(mean, sd, validate_args=False)


class BitLatent(nn.Module):
    """Factorised Bernoulli posterior over bits; a child adds the prior.

    A child provides ``prior_energy(z)``, ``sample_prior``, ``kl``,
    ``estimate_log_z`` and ``current_log_z``.

    Parameters
    ----------
    n_latent : int
        Number of bits; the encoder gives one logit each.
    relaxation : str or callable
        A name of `qbmvae_mini.relaxations.RELAXATIONS`, or a function from
        logits to draws.
    """

    def __init__(self, n_latent, relaxation):
        super().__init__()
        n_latent = check_whole("n_latent", n_latent, 1)
        self.n_latent = self.n_params = n_latent
        self.relaxation = find_relaxation(relaxation)

    def rsample(self, params):
        """One relaxed draw, (batch, n_latent)."""
        return self.relaxation(params)

    @torch.no_grad()
    def sample(self, params, n=1):
        """`n` draws of true bits, (n, batch, n_latent)."""
        mean = torch.sigmoid(params)
        uniform = torch.rand((n, *params.shape), device=params.device)
        return (uniform < mean).to(params.dtype)

    def decoder_input(self, z):
        """Spins ``2z - 1``: centred, and worth nats over bits."""
        return 2 * z - 1

    def log_q(self, params, z):
        """Log probability of the bits under the posterior, (..., batch)."""
        # log sigmoid(l) = l - softplus(l) for a one, -softplus(l) for a zero
        return (z * params - F.softplus(params)).sum(-1)

    def entropy(self, params):
        """Entropy of the posterior in nats, (batch,)."""
        mean = torch.sigmoid(params)
        return (F.softplus(params) - mean * params).sum(-1)

    def log_prior(self, z):
        """``-E(z) - log Z``, with log Z at its pessimistic (upper) end."""
        return -self.prior_energy(z) - self.current_log_z().upper

    def mean(self, params):
        """Mean spins ``2 sigmoid(logits) - 1``, (batch, n_latent)."""
        return 2 * torch.sigmoid(params) - 1

    def energy(self, params):
        """Mean prior energy ``E(mu)``, which is exact: E is multilinear."""
        return self.prior_energy(torch.sigmoid(params))


class BernoulliLatent(BitLatent):
    """Independent bits as prior: a Boltzmann machine without couplings.

    The control that isolates the couplings: the same bits, the same
    decoder, learned biases, W = 0.

    Parameters
    ----------
    n_latent : int
    relaxation : str or callable
        See `BitLatent`.

    Attributes
    ----------
    bias : Parameter, shape (n_latent,)
        ``p(z_i = 1) = sigmoid(bias_i)``.
    """

    def __init__(self, n_latent, *, relaxation="straight-through"):
        super().__init__(n_latent, relaxation)
        self.bias = nn.Parameter(torch.zeros(n_latent))

    def prior_energy(self, z):
        """``-b.z``, (..., n_latent) -> (...)."""
        return -z @ self.bias

    def kl(self, params):
        """``-H(q) + E(mu) + log Z`` in closed form, (batch,)."""
        log_z = F.softplus(self.bias).sum()
        return -self.entropy(params) + self.energy(params) + log_z

    def sample_prior(self, n):
        """`n` draws from the prior, (n, n_latent)."""
        mean = torch.sigmoid(self.bias.detach())
        return torch.bernoulli(mean.expand(n, -1))

    def estimate_log_z(self):
        """``sum softplus(b)``, exactly."""
        value = float(F.softplus(self.bias.detach().double()).sum())
        return Bracket(value, value, value)

    current_log_z = estimate_log_z  # exact, so there is nothing to keep


class BoltzmannLatent(BitLatent):
    r"""A Boltzmann machine as prior: the latent of the QBM-VAE.

    .. math:: KL(q\|p) = -H(q) + E(\mu) + \log Z

    The first two terms are exact and carry gradient to the encoder. The
    gradient of log Z is *minus* the mean gradient of E over states drawn by
    the sampler (Ackley et al. 1985): this is the only place where a sampler,
    simulated or quantum, enters training. For an RBM both layers hold
    posterior bits and nothing is summed out, unlike in Rolfe 2016, whose
    posterior is hierarchical.

    Parameters
    ----------
    machine : Machine
    sampler : object with ``sample(machine, n)``
        An `ExactSampler` gives the negative phase without noise.
    relaxation : str or callable
        See `BitLatent`.
    negatives : int, optional
        Draws for the negative phase of one step; by default all chains of
        the sampler, or 256.
    """

    def __init__(
        self,
        machine,
        sampler,
        *,
        relaxation="straight-through",
        negatives=None,
    ):
        _check_sampler(sampler)
        super().__init__(machine.n_units, relaxation)
        self.machine = machine
        self.sampler = sampler
        if negatives is None:
            negatives = getattr(sampler, "chains", NEGATIVES)
        self.negatives = check_whole("negatives", negatives, 1)
        # Kept with the weights, so that a resumed run reports the same loss.
        self.register_buffer("log_z", torch.tensor(math.nan))
        self._bracket = None  # and the effort and weights it was made with:
        self._effort = self._weights = None

    def prior_energy(self, z):
        """Energy of the machine, (..., n_latent) -> (...)."""
        return self.machine.energy(z)

    def kl(self, params):
        """KL of each row in nats, each with the full log Z, (batch,).

        In ``train()`` the sampler is called once, the *gradient* of log Z is
        right in expectation, and its value is the last estimate. In
        ``eval()`` the sampler is left alone and log Z is estimated anew when
        the weights have changed, at its pessimistic end.
        """
        without_log_z = -self.entropy(params) + self.energy(params)
        if not self.training:
            return without_log_z + self.current_log_z().upper
        surrogate = -self.negative_phase()
        if self.log_z.isnan():
            self.estimate_log_z(**ROUGH_AIS)
        log_z = self.log_z + (surrogate - surrogate.detach())
        return without_log_z + log_z

    def negative_phase(self):
        """Mean energy of states drawn from the machine, a scalar.

        Its gradient is minus the gradient of log Z.
        """
        if isinstance(self.sampler, ExactSampler):
            return self.sampler.mean_energy(self.machine)
        return self.machine.energy(self.sample_prior(self.negatives)).mean()

    def sample_prior(self, n):
        """`n` draws from the prior by the sampler, (n, n_latent)."""
        z = self.sampler.sample(self.machine, n)
        _check_draws(z, (n, self.n_latent), type(self.sampler).__name__)
        return z.to(next(self.machine.parameters()))

    def estimate_log_z(self, *, chains=1000, temperatures=1000):
        """Bracket of log Z, kept until the weights or the effort change.

        By enumeration where the machine is small enough, and otherwise by
        AIS with chains of its own: the sampler's are not touched.

        Parameters
        ----------
        chains, temperatures : int
            Effort of `qbmvae_mini.partition.log_z_bracket`.

        Returns
        -------
        Bracket
        """
        effort = (chains, temperatures)
        if self._bracket_is_of_these_weights() and effort == self._effort:
            return self._bracket
        if enumerable(self.machine):
            value = exact_log_z(self.machine)
            self._bracket = Bracket(value, value, value)
        else:
            self._bracket = log_z_bracket(
                self.machine, chains=chains, temperatures=temperatures
            )
        self._effort, self._weights = effort, self._flat_weights()
        self.log_z.fill_(self._bracket.value)
        return self._bracket

    def current_log_z(self):
        """The last bracket while it is of these weights, else a new one."""
        if self._bracket_is_of_these_weights():
            return self._bracket
        return self.estimate_log_z()

    def _bracket_is_of_these_weights(self):
        # By value: fused optimisers do not count up a tensor's version.
        return self._bracket is not None and self._weights.equal(
            self._flat_weights()
        )

    def _flat_weights(self):
        """All that decides log Z: weights, and also the graph and offset."""
        state = self.machine.state_dict().values()
        return torch.cat([tensor.flatten().double().cpu() for tensor in state])


def _check_sampler(sampler):
    if isinstance(sampler, dimod.Sampler):
        name = type(sampler).__name__
        raise TypeError(
            f"{name} is a dimod sampler; hand it over as DimodSampler({name}())"
        )
    if isinstance(sampler, type) or not hasattr(sampler, "sample"):
        raise TypeError(
            "sampler is an object with sample(machine, n), such as "
            f"GibbsSampler(), not {sampler!r}"
        )


def _check_draws(z, shape, who):
    """A sampler's answer has the right shape and holds bits."""
    if not isinstance(z, torch.Tensor):
        raise TypeError(
            f"{who} returned a {type(z).__name__}; return the bits as a "
            "torch.Tensor"
        )
    if tuple(z.shape) != shape:
        raise ValueError(
            f"{who} returned draws of shape {tuple(z.shape)}, asked for {shape}"
        )
    if not ((z == 0) | (z == 1)).all():
        raise ValueError(
            f"{who} returned values other than 0 and 1; if they are spins s, "
            "return the bits (s + 1) / 2"
        )
