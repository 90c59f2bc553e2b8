"""What may be asked of every latent, and what it does by default."""

from abc import ABC, abstractmethod

from torch import nn

from qbmvae_mini.checks import check_whole


class Latent(nn.Module, ABC):
    """The posterior over a code and its prior: all that depends on the prior.

    Training, scoring and saving know nothing of a latent but what stands
    here. A child writes the abstract methods; the rest have defaults for
    codes that are what the decoder reads, of an exactly known prior.

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

    def __init__(self, n_latent, n_params):
        super().__init__()
        self.n_latent = check_whole("n_latent", n_latent, 1)
        self.n_params = n_params

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
        """The embedding, (batch, n_latent)."""

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

    # -- the prior ----------------------------------------------------------

    @abstractmethod
    def kl(self, params):
        """KL(q||p) of each row in nats, (batch,).

        In ``train()`` it may draw; in ``eval()`` it leaves chains alone.
        """

    @abstractmethod
    def log_prior(self, z):
        """Log prior of exact draws, (..., batch)."""

    @abstractmethod
    def energy(self, params):
        """Mean prior energy of a row's code without log Z, (batch,)."""

    @abstractmethod
    def sample_prior(self, n):
        """`n` draws of the prior, (n, n_latent)."""

    @abstractmethod
    def estimate_log_z(self, effort="full"):
        """A `Bracket` of log Z in nats.

        Parameters
        ----------
        effort : {"full", "rough"}
            "rough" is known to a few tenths of a nat, for a validation. A
            latent that knows its log Z has one answer for both.
        """

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
