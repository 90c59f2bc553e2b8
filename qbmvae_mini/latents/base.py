"""What a latent does unless it knows better."""

from torch import nn

from qbmvae_mini.checks import check_whole


class Latent(nn.Module):
    """Codes that are what the decoder reads, of an exactly known prior.

    A child provides the rest of the table in `qbmvae_mini.latents`.

    Parameters
    ----------
    n_latent : int
        Width of the code.
    n_params : int
        Numbers that the encoder gives for each cell.
    """

    #: Whether values in nats are bounds even where nothing is estimated.
    is_bound = False

    def __init__(self, n_latent, n_params):
        super().__init__()
        self.n_latent = check_whole("n_latent", n_latent, 1)
        self.n_params = n_params

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
        """The code itself, and a log weight of zero, (..., batch)."""
        return z, z.new_zeros(z.shape[:-1])

    def decoder_input(self, z):
        """The code itself."""
        return z

    def start_epoch(self, epoch):
        """Move what follows a schedule; called by `fit`."""
