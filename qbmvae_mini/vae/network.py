r"""A variational autoencoder of counts: encoder + latent + decoder + law.

The evidence lower bound (Kingma and Welling 2014)

.. math:: \log p(x) \ge E_{q(z|x)} \log p(x|z) - KL(q(z|x) \| p(z))

and the importance-weighted likelihood that tightens it (Burda, Grosse and
Salakhutdinov 2016). Everything is conditional on a cell's library size and
batch.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

from qbmvae_mini.cells.counts import Counts, stacked
from qbmvae_mini.vae.likelihoods import NegativeBinomial

#: Numbers that the decoder gives at once, where it gives many: 4 MB of them.
MAX_ELEMENTS = 2**20

#: Numbers of them that stay in the processor's cache: 1 MB.
CACHED = 2**18

#: Shares of hidden units that a training step leaves out.
ENCODER_DROPOUT, DECODER_DROPOUT = 0.1, 0.1


class VAE(nn.Module):
    """Encoder, latent, decoder and negative binomial law of counts.

    Parameters
    ----------
    n_genes : int
    latent : Latent
        See `qbmvae_mini.latents`.
    n_batches : int
        Batches, told to the decoder alone; with one, it is told nothing.
    n_hidden : int
    encoder_dropout, decoder_dropout : float
        Share of the hidden units that a training step leaves out.

    Notes
    -----
    The encoder reads ``log1p(counts)`` and not the batch: what it finds must
    be in the cell. Layers are Linear-LayerNorm-ReLU-Dropout-Linear each way.
    """

    def __init__(
        self,
        n_genes,
        latent,
        *,
        n_batches=1,
        n_hidden=128,
        encoder_dropout=ENCODER_DROPOUT,
        decoder_dropout=DECODER_DROPOUT,
    ):
        super().__init__()
        self.n_batches = n_batches
        # A single batch needs no label, so it gets no column.
        n_labels = n_batches if n_batches > 1 else 0
        self.encoder = _two_layers(
            CountsLinear(n_genes, n_hidden), latent.n_params, encoder_dropout
        )
        latent.join(self)  # and of no other model
        self.latent = latent
        self.decoder = _two_layers(
            nn.Linear(
                latent.n_latent + n_labels, n_hidden, dtype=torch.float32
            ),
            n_genes,
            decoder_dropout,
        )
        self.likelihood = NegativeBinomial(n_genes)
        self.kl_weight = 1.0  # of the last training, set by `fit`

    def forward(self, x, batch, kl_weight=1.0):
        """Training loss of each cell: minus the (weighted) ELBO, (cells,)."""
        return -self.elbo(x, batch, kl_weight)

    def elbo(self, x, batch, kl_weight=1.0):
        """Evidence lower bound of each cell by one draw, in nats.

        In ``eval()`` the draw is exact. In ``train()`` it is relaxed, and the
        gradient is the relaxation's estimate.

        Parameters
        ----------
        x : Counts or Tensor, shape (cells, n_genes)
            A tensor is dense; its zeros are taken out first.
        batch : Tensor, shape (cells,)
            Number of each cell's batch, 0 to n_batches - 1.
        kl_weight : float
            Weight of the KL term; 1 is the bound.

        Returns
        -------
        Tensor, shape (cells,)
        """
        x = Counts.of(x)
        params = self.encode(x)
        if self.training:
            fit = self.latent.expectation(
                lambda z: self.log_prob(x, z, batch), params
            )
        else:
            z = self.latent.sample(params)[0]
            code, log_weight = self.latent.smooth(z, params)
            # Minus the KL of what is smoothed, so it is weighted like the KL.
            fit = self.log_prob(x, code, batch) + kl_weight * log_weight
        return fit - kl_weight * self.latent.kl(params)

    def encode(self, x):
        """Posterior parameters, (cells, n_params)."""
        return self.encoder(Counts.of(x).log1p())

    def decode(self, z, batch):
        """Decoder output for each code, (..., cells, n_genes)."""
        return self.decoder(self._decoder_input(z, batch))

    def log_prob(self, x, z, batch):
        """Log p(x | z, library, batch) in nats, (..., cells)."""
        x = Counts.of(x)
        return self.likelihood.log_prob(x, self.decode(z, batch), x.library)

    @torch.no_grad()
    def log_likelihood(self, x, batch, n_samples=64, *, discrete=False):
        r"""Importance-weighted log p(x) of each cell, in nats.

        .. math:: \log \frac1K \sum_k \frac{p(x|z_k)\, p(z_k)}{q(z_k|x)}

        over exact draws: too low on average (Burda et al. 2016, Eq. 8), and
        where the prior's log Z is a bracket its upper end is used. Call it
        in ``eval()``.

        Parameters
        ----------
        x, batch
            As in `elbo`.
        n_samples : int
        discrete : bool
            Put true bits into the decoder of a latent that was trained with
            smoothed ones. By default such a latent is scored as the model
            that it defines, whose decoder reads the smoothed numbers.

        Returns
        -------
        Tensor, shape (cells,)
        """
        x = Counts.of(x)
        params = self.encode(x)
        draws, pieces = self._pieces(n_samples, len(x))
        pieces = [(part, x[part], batch[part]) for part in pieces]
        constant = self.likelihood.log_coefficient(x)
        last = self.decoder[-1]
        weight = torch.cat([last.weight.t(), last.bias[None]])
        terms = []
        for start in range(0, n_samples, draws):
            n = min(draws, n_samples - start)
            z = self.latent.sample(params, n)  # (n, cells, n_latent)
            code, log_weight = z, 0
            if not discrete:
                code, log_weight = self.latent.smooth(z, params)
            kernel = [
                self._log_kernel(few, code[:, part], label, weight)
                for part, few, label in pieces
            ]
            terms.append(
                torch.cat(kernel, -1)
                + log_weight
                + self.latent.log_prior(z)
                - self.latent.log_q(params, z)
            )
        mean = torch.cat(terms).logsumexp(0) - math.log(n_samples)
        return constant + mean

    @torch.no_grad()
    def mean_expression(self, x, batch, n_samples=25):
        """Mean share of each gene over exact draws, (cells, n_genes).

        `x`, `batch` and `n_samples` are those of `log_likelihood`.
        """
        x = Counts.of(x)
        params = self.encode(x)
        draws, pieces = self._pieces(n_samples, len(x))
        total = params.new_zeros(x.shape)
        for start in range(0, n_samples, draws):
            n = min(draws, n_samples - start)
            z = self.latent.sample(params, n)
            code, _ = self.latent.smooth(z, params)
            for part in pieces:
                output = self.decode(code[:, part], batch[part])
                total[part] += output.softmax(-1).sum(0)
        return total.div_(n_samples)

    def weight_groups(self):
        """Weights for an optimiser, in two groups: the second has a prior.

        That is the decoder's last layer without its bias: the bias holds the
        mean share of each gene, which is to stay what it is.

        Returns
        -------
        tuple of list of Parameter
        """
        last = self.decoder[-1].weight
        return [w for w in self.parameters() if w is not last], [last]

    def embed(self, x):
        """Mean code of each cell, (cells, n_latent)."""
        return self.latent.mean(self.encode(x))

    @torch.no_grad()
    def generate(self, n, library, batch, seed=None):
        """Draw `n` new cells: a code from the prior, then counts.

        Parameters
        ----------
        n : int
        library : Tensor, shape (n,)
            UMIs of each new cell: the model does not know how deep to look.
        batch : Tensor, shape (n,)
        seed : int, optional
            Of the codes, see `Latent.sample_prior`: with it the chains of
            training stay where they are.

        Returns
        -------
        scipy.sparse.csr_matrix, shape (n, n_genes)
        """
        z = self.latent.sample_prior(n, seed).to(self.decoder[0].weight)
        params = z.new_zeros(1, self.latent.n_params).expand(n, -1)
        code, _ = self.latent.smooth(z, params)
        _, pieces = self._pieces(1, n)

        def made():
            for part in pieces:
                output = self.decode(code[part], batch[part])
                counts = self.likelihood.sample(output, library[part, None])
                yield Counts.of(counts)

        return stacked(made(), n)

    def _log_kernel(self, x, z, batch, weight):
        """`NegativeBinomial.log_kernel` of few cells at many codes each.

        A quarter of the hidden units are zero for all codes of a cell, and
        the last product, the largest of all, does without them. `weight` has
        a row for each unit and one for the bias, a unit that is always 1.
        """
        hidden = self.decoder[:-1](self._decoder_input(z, batch))
        hidden = F.pad(hidden, (0, 1), value=1.0)
        on = hidden.flatten(0, -2).amax(0).nonzero().squeeze(1)
        hidden, weight = hidden.index_select(-1, on), weight.index_select(0, on)
        rows = max(1, CACHED // (len(x) * x.n_genes))
        kernel = [
            self.likelihood.log_kernel(x, some @ weight, x.library)
            for some in hidden.split(rows)
        ]
        return torch.cat(kernel)

    def _decoder_input(self, z, batch):
        inputs = self.latent.decoder_input(z)
        if self.n_batches == 1:
            return inputs
        label = F.one_hot(batch, self.n_batches).to(inputs)
        label = label.expand(*inputs.shape[:-1], -1)
        return torch.cat([inputs, label], dim=-1)

    def _pieces(self, n_samples, n_cells):
        """Draws to decode at once, and of how many cells: slices of them."""
        rows = max(1, MAX_ELEMENTS // self.likelihood.log_r.numel())
        draws = min(n_samples, rows)
        size = rows // draws
        starts = range(0, n_cells, size)
        return draws, [slice(start, start + size) for start in starts]


class CountsLinear(nn.Module):
    """A linear layer that reads `Counts`, and whose weights lie by gene.

    It sums the rows of `weight` over the genes of a cell that are not zero,
    each times its number: `embedding_bag` is that sum.

    Parameters
    ----------
    n_genes, n_out : int
    """

    def __init__(self, n_genes, n_out):
        super().__init__()
        start = nn.Linear(n_genes, n_out, dtype=torch.float32)
        self.weight = nn.Parameter(start.weight.detach().t().contiguous())
        self.bias = start.bias

    def forward(self, x):
        """(cells, n_out) of `Counts` or a dense tensor (cells, n_genes)."""
        return _SparseProduct.apply(self.weight, Counts.of(x)) + self.bias


class _SparseProduct(torch.autograd.Function):
    """``x @ weight`` and, for its gradient, ``x.T @ gradient``.

    PyTorch's own gradient of `embedding_bag` takes ten times as long.
    """

    @staticmethod
    def forward(ctx, weight, x):
        ctx.x = x
        return _weighted_rows(weight, x.gene, x.starts, x.count)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        starts, cell, order = ctx.x.by_gene
        count = ctx.x.count.index_select(0, order)
        return _weighted_rows(gradient.contiguous(), cell, starts, count), None


def _weighted_rows(rows, which, starts, weight):
    """Sums of some of the rows, each times its weight, from start to start."""
    return F.embedding_bag(
        which,
        rows,
        starts,
        mode="sum",
        per_sample_weights=weight.to(rows.dtype),
        include_last_offset=True,
    )


def _two_layers(first, n_out, dropout):
    n_hidden = first.bias.numel()
    return nn.Sequential(
        first,
        nn.LayerNorm(n_hidden, dtype=torch.float32),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(n_hidden, n_out, dtype=torch.float32),
    )
