"""What may be asked of every latent, and what it does by default."""

from abc import ABC, abstractmethod
from contextlib import contextmanager

import torch
from torch import nn

from qbmvae_mini.checks import check_seed, check_whole
from qbmvae_mini.estimates.partition import Bracket
from qbmvae_mini.latents.ownership import claim

#: Exact draws a row for a mean energy that has no closed form.
ENERGY_DRAWS = 64


class Latent(nn.Module, ABC):
    r"""The posterior over a code and its prior: all that depends on the prior.

    Training, scoring, saving and figures know nothing of a latent but what
    stands here. A child writes the abstract methods; the rest has defaults
    for codes that are what the decoder reads, and for a prior whose
    ``log_prior`` is normalised by itself (log Z = 0).

    The prior is ``p(z) = exp(-E(z)) / Z``. `log_prior` and `kl` hold the full
    log Z, and so do their gradients: those by codes, by the encoder's outputs
    and by the prior's weights are right, in expectation where something is
    drawn. Under `torch.no_grad` no gradient is worked out.

    Parameters
    ----------
    n_latent : int
        Width of the code.
    n_params : int
        Numbers that the encoder gives for each cell.
    """

    #: Whether values in nats are bounds even where nothing is estimated.
    is_bound = False

    #: Whether the decoder reads numbers in the place of drawn bits.
    smooths = False

    #: Whether the gradient of `expectation` for the encoder is biased.
    is_biased = False

    def __init__(self, n_latent, n_params):
        super().__init__()
        self.n_latent = check_whole("n_latent", n_latent, 1)
        self.n_params = check_whole("n_params", n_params, 1)
        # Says where draws of the prior belong, also without any weights.
        like = torch.zeros((), dtype=torch.float32)
        self.register_buffer("_like", like, persistent=False)

    # -- the posterior ------------------------------------------------------

    @abstractmethod
    def rsample(self, params):
        """One draw a row for training, (batch, n_latent), differentiable."""

    @abstractmethod
    def sample(self, params, n=1):
        """`n` exact draws, (n, batch, n_latent), for evaluation."""

    @abstractmethod
    def log_q(self, params, z):
        """Log posterior of exact draws, (..., batch)."""

    @abstractmethod
    def mean(self, params):
        """The embedding, (batch, n_latent): the mean of `decoder_input`."""

    def expectation(self, f, params):
        """``f`` at one draw a row; its gradient estimates that of the mean.

        Parameters
        ----------
        f : callable
            From codes (batch, n_latent) to numbers (batch,), row by row.
        params : Tensor, shape (batch, n_params)

        Returns
        -------
        Tensor, shape (batch,)
        """
        return f(self.rsample(params))

    def smooth(self, z, params):
        """What the decoder reads for exact draws, and the log weight it adds.

        By default the code itself, and a log weight of zero, (..., batch).
        """
        return z, z.new_zeros(z.shape[:-1])

    def decoder_input(self, z):
        """What the decoder reads, centred; by default the code itself."""
        return z

    def reads(self):
        """What the decoder reads, in words: the same words, the same codes."""
        return "codes as they are drawn"

    # -- the prior ----------------------------------------------------------

    @abstractmethod
    def kl(self, params):
        """KL(q||p) of each row in nats, (batch,), or an unbiased estimate.

        Its gradient is unbiased too, however biased that of `expectation`
        may be. Where `is_bound`, a bound from above. In ``train()`` it may
        draw from the prior; in ``eval()`` it leaves chains alone.
        """

    @abstractmethod
    def log_prior(self, z):
        """Log prior of exact draws, (..., batch), with its full gradient.

        Where `is_bound`, and where log Z is a bracket, a bound from below.
        """

    @abstractmethod
    def draw_prior(self, n):
        """`n` draws of the prior, (n, n_latent), without a gradient.

        What a child writes, and `sample_prior` calls. Random numbers are
        those of torch's global generator.
        """

    def sample_prior(self, n, seed=None):
        """`n` draws of the prior, (n, n_latent), without a gradient.

        Parameters
        ----------
        n : int
        seed : int, optional
            Then the draws are those of the seed and leave everything as it
            is: torch's global generator and the chains of training. Without
            it, chains move on.

        Raises
        ------
        ValueError
            If `n` or `seed` is no whole number.
        """
        n = check_whole("n", n, 1)
        if seed is None:
            return self.draw_prior(n)
        with _seeded(check_seed(seed), self._like):
            return self.draw_prior(n)

    def energy(self, params):
        r"""Mean prior energy of each row's code, (batch,), in nats.

        .. math:: E_q[E(z)] = E_q[-\log p(z)] - \log Z

        By default the mean over 64 exact draws, without a gradient. A child
        whose energy has a mean in closed form does better.
        """
        with torch.no_grad():
            z = self.sample(params, ENERGY_DRAWS)
            log_z = self.current_log_z().upper  # the end that `log_prior` has
            return -self.log_prior(z).mean(0) - log_z

    def estimate_log_z(self, effort="full"):
        """A `Bracket` of log Z in nats; by default 0, exactly.

        Where `is_bound`, that of the bound's own constant.

        Parameters
        ----------
        effort : {"full", "rough"}
            "rough" is known to a few tenths of a nat, for a validation. A
            latent that knows its log Z has one answer for both.
        """
        return Bracket(0.0, 0.0, 0.0)

    def current_log_z(self):
        """The bracket of these weights, made anew only where they changed."""
        return self.estimate_log_z()

    def change_couplings(self, change):
        """Put ``change(couplings)`` in their place; chains and log Z go.

        Raises
        ------
        TypeError
            If the prior has no couplings.
        """
        raise TypeError(
            f"a {type(self).__name__} has no couplings to change; hand over "
            "a model whose latent is a BoltzmannLatent"
        )

    # -- runs ---------------------------------------------------------------

    @abstractmethod
    def settings(self):
        """What to build it with again, fit for JSON; tells two runs apart."""

    def state(self):
        """What lives outside of the weights, such as chains: flat, tensors."""
        return {}

    def load_state(self, state):
        """Restore what `state` gave.

        Raises
        ------
        ValueError
            If it is the state of another kind; nothing is changed then.
        """
        if state:
            raise ValueError(
                f"a {type(self).__name__} keeps no state beside its weights, "
                f"and this one holds {', '.join(sorted(state))}"
            )

    def reset(self):
        """Forget what lives outside of the weights; by default nothing."""

    def start_epoch(self, epoch):
        """Move what follows a schedule; called by `fit`."""

    def parts(self):
        """The latent and all that it holds: none of them in two models."""
        return list(self.modules())

    def join(self, model):
        """Become a part of `model`, as long as that model lives.

        Raises
        ------
        ValueError
            If the latent, its machine or its sampler is a part of another
            model: each of the two would change the other. Nothing is joined
            then.
        """
        claim(self.parts(), model)


@contextmanager
def _seeded(seed, like):
    """Seed torch's global generators where `like` lives, and restore them."""
    devices = [like.device] if like.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        torch.random.default_generator.manual_seed(seed)
        if like.is_cuda:
            with torch.cuda.device(like.device):
                torch.cuda.manual_seed(seed)
        yield


def check_is_latent(latent):
    """Refuse what is no `Latent`, with a word on what to do.

    Raises
    ------
    TypeError
    """
    if not isinstance(latent, Latent):
        raise TypeError(
            "latent is an object of a class derived from "
            f"qbmvae_mini.latents.Latent, such as GaussianLatent(32), not "
            f"{latent!r}"
        )
