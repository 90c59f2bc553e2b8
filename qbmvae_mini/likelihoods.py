r"""How counts scatter about their mean.

`NegativeBinomial` is the law of UMI counts used by scVI (Lopez et al. 2018):
mean ``m`` and inverse dispersion ``r`` give variance ``m + m^2 / r``. It is a
Poisson law whose rate is Gamma distributed; ``r`` to infinity is Poisson.
"""

import torch
from torch import nn
from torch.nn import functional as F

#: Above this r the next term of Stirling's series, 1 / (360 r^3), is 1e-7.
STIRLING_FROM = 30.0


class NegativeBinomial(nn.Module):
    """Negative binomial likelihood, one dispersion a gene.

    Parameters
    ----------
    n_genes : int

    Attributes
    ----------
    log_r : Parameter, shape (n_genes,)
        Log of the inverse dispersion.
    """

    def __init__(self, n_genes):
        super().__init__()
        self.log_r = nn.Parameter(torch.zeros(n_genes))

    def mean(self, output, library):
        """Mean counts: library size shared out among the genes.

        Parameters
        ----------
        output : Tensor, shape (..., n_genes)
            What the decoder returns.
        library : Tensor, shape (..., 1)
            UMIs of each cell, over the model's genes.

        Returns
        -------
        Tensor, shape (..., n_genes)
        """
        return library * output.softmax(-1)

    def log_prob(self, x, output, library):
        r"""Log probability of the counts of each cell, in nats.

        .. math:: \log p(x) = \log\Gamma(x+r) - \log\Gamma(r) - \log x!
                  + x u - (x + r) \log(1 + e^u), \quad u = \log\frac{m}{r}

        summed over genes. The Gamma terms vanish where x = 0, so they are
        worked out at the nonzero counts alone: nine in ten are zero.

        Parameters
        ----------
        x : Tensor, shape (cells, n_genes)
        output : Tensor, shape (..., cells, n_genes)
        library : Tensor, shape (cells, 1)

        Returns
        -------
        Tensor, shape (..., cells)
        """
        r = self.log_r.exp()
        # In logs from the start: softmax itself may underflow to zero, and
        # r log r against r log(r + m) would leave nothing of a large r.
        log_odds = library.log() + output.log_softmax(-1) - self.log_r
        each = x * log_odds - (x + r) * F.softplus(log_odds)
        return each.sum(-1) + self._gamma_terms(x, r)

    def sample(self, output, library, generator=None):
        """Draw counts, by drawing each Poisson rate from its Gamma law.

        Returns
        -------
        Tensor, shape (..., n_genes)
        """
        mean = self.mean(output, library)
        r = self.log_r.exp().expand_as(mean)
        rate = torch._standard_gamma(r, generator=generator) * mean / r
        return torch.poisson(rate, generator=generator)

    def _gamma_terms(self, x, r):
        """Log Gamma(x+r) - log Gamma(r) - log x!, summed a cell: (cells,)."""
        cell, gene = x.nonzero(as_tuple=True)
        count, r = x[cell, gene], r[gene]
        terms = _log_rising(r, count) - torch.lgamma(count + 1)
        return terms.new_zeros(len(x)).index_add(0, cell, terms)


def _log_rising(r, count):
    """Log Gamma(r + count) - log Gamma(r), to single precision at any r."""
    # Two large lgammas would cancel; Stirling's series cancels on paper.
    series = (r - 0.5) * torch.log1p(count / r) + count * (r + count).log()
    series = series - count + (1 / (r + count) - 1 / r) / 12
    exact = torch.lgamma(r + count) - torch.lgamma(r)
    return torch.where(r > STIRLING_FROM, series, exact)
