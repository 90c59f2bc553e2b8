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

#: Counts up to this are looked up: most counts that are not zero are few.
FEW = 8

#: Keeps m / r finite. Below it r log(1 + m / r) is zero to 28 digits.
SMALLEST_R = 1e-30


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

        summed over genes. Its gradients with respect to `output` and `log_r`
        are closed formulas, see `_LogProb`.

        Parameters
        ----------
        x : Tensor, shape (cells, n_genes)
        output : Tensor, shape (..., cells, n_genes)
        library : Tensor, shape (cells, 1)

        Returns
        -------
        Tensor, shape (..., cells)

        Raises
        ------
        ValueError
            If `x` or `library` wants a gradient: both are data.
        NotImplementedError
            When a second derivative is asked for.
        """
        if x.requires_grad or library.requires_grad:
            raise ValueError(
                "counts and library sizes are data and get no gradient, but "
                "one of them has requires_grad=True; detach() it"
            )
        # One output for all cells is as good as one for each.
        shape = torch.broadcast_shapes(output.shape, x.shape)
        return _LogProb.apply(output.expand(shape), self.log_r, x, library)

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


class _LogProb(torch.autograd.Function):
    r"""`NegativeBinomial.log_prob` with its gradient worked out on paper.

    Autograd would keep every step of the formula and take each back. By hand
    two matrices are enough, the means m and ``log(1 + e^u)``. In a gene

    .. math:: \frac{\partial \log p}{\partial u}
              = x - (x + r)\,\sigma(u) = \frac{x - m}{1 + m / r}

    since ``sigmoid(u) = m / (r + m)``. Call it g. As ``u = log library +
    log softmax(output) - log r``, the softmax passes it on as

    .. math:: \frac{\partial \log p}{\partial\, \mathrm{output}_i}
              = g_i - \mathrm{softmax}_i \sum_j g_j

    and r is met in u, beside it, and in the Gamma functions, whose derivatives
    are digamma functions psi:

    .. math:: \frac{\partial \log p}{\partial \log r}
              = r\,[\psi(x + r) - \psi(r) - \log(1 + e^u)] - g

    Where x = 0 the Gamma terms and the digamma terms vanish, so they are
    worked out at the nonzero counts alone: nine in ten are zero. Most of
    these are small whole numbers, whose terms come from a table for each
    gene: a Gamma function costs fifty products.
    """

    @staticmethod
    def forward(ctx, output, log_r, x, library):
        r = log_r.exp()
        share = output.softmax(-1)
        # log softmax = output - log_total, without a second exponential.
        log_total = output.amax(-1) - share.amax(-1).log()
        mean = share.mul_(library)  # (..., cells, genes)
        softplus = (mean / r.clamp(min=SMALLEST_R)).log1p_()

        cell, gene, count = _nonzero(x)
        place, many = _places(gene, count, x.shape[1])
        # From the logs, since a mean may underflow: u = log m - log r.
        offset = library.squeeze(-1).log() - log_total  # (..., cells)
        u = output.flatten(-2).index_select(-1, cell * x.shape[-1] + gene)
        u = u + offset.index_select(-1, cell) - log_r.index_select(0, gene)
        # x u - x log(1 + e^u) = -x log(1 + e^-u), which does not cancel.
        terms = _log_rising(r, gene, count, place, many)
        terms = terms - _log_factorial(count, many)
        terms = terms - count * F.softplus(-u)
        value = (softplus @ r).neg_()
        value.index_add_(-1, cell, terms)

        where = cell, gene, count, place, many
        ctx.save_for_backward(r, x, library, mean, softplus, *where)
        return value

    @staticmethod
    def backward(ctx, weight):
        if torch.is_grad_enabled():  # asked for by create_graph=True
            raise NotImplementedError(
                "NegativeBinomial.log_prob has no second derivative; take the "
                "gradient without create_graph=True"
            )
        r, x, library, mean, softplus, cell, *where = ctx.saved_tensors
        by_output = by_log_r = None
        odds = mean / r.clamp(min=SMALLEST_R)
        by_u = (x - mean).div_(odds.add_(1)).mul_(weight[..., None])
        if ctx.needs_input_grad[1]:
            rise = weight.reshape(-1, len(x)).sum(0).index_select(0, cell)
            rise = rise * _digamma_rise(r, *where)
            by_r = torch.zeros_like(r).index_add_(0, where[0], rise)
            by_r -= weight.flatten() @ softplus.flatten(0, -2)
            by_log_r = r * by_r - by_u.flatten(0, -2).sum(0)
        if ctx.needs_input_grad[0]:
            total = by_u.sum(-1, keepdim=True) / library
            by_output = by_u.addcmul_(mean, total, value=-1)
        return by_output, by_log_r, None, None


def _nonzero(x):
    """Row, column and value of the nonzero entries of a matrix."""
    # Of flat booleans, made without a comparison, this takes half the time.
    place = x.to(torch.bool).flatten().nonzero().squeeze(1)
    row = place // x.shape[1]
    return row, place - row * x.shape[1], x.flatten().index_select(0, place)


def _places(gene, count, n_genes):
    """Where a count stands in a table (FEW, n_genes), and what has no place."""
    row = (count - 1).clamp_(0, FEW - 1).to(gene.dtype)
    many = (count != row + 1).nonzero().squeeze(1)  # fractions too
    return row * n_genes + gene, many


def _terms(r):
    """The factors ``r, r + 1, ...`` of the first counts, (FEW, n_genes)."""
    return r + torch.arange(FEW, dtype=r.dtype, device=r.device)[:, None]


def _log_rising(r, gene, count, place, many):
    """Log of ``Gamma(r + count) / Gamma(r) = r (r + 1) ... (r + count - 1)``.

    Taken from a table of the first products. Where `many` says so it is
    worked out by Gamma functions, to single precision at any r.
    """
    value = _terms(r).log_().cumsum(0).flatten().index_select(0, place)
    r, count = r.index_select(0, gene[many]), count[many]
    exact = torch.lgamma(r + count) - torch.lgamma(r)
    # Two large lgammas would cancel; Stirling's series cancels on paper.
    series = (r - 0.5) * torch.log1p(count / r) + count * (r + count).log()
    series = series - count + (1 / (r + count) - 1 / r) / 12
    value[many] = torch.where(r > STIRLING_FROM, series, exact)
    return value


def _log_factorial(count, many):
    """Log of ``count!``, by a table likewise."""
    table = _terms(count.new_ones(1)).log_().cumsum(0).flatten()
    row = (count - 1).clamp_(0, FEW - 1).long()
    value = table.index_select(0, row)
    value[many] = torch.lgamma(count[many] + 1)
    return value


def _digamma_rise(r, gene, count, place, many):
    """The derivative of `_log_rising` with respect to r."""
    value = _terms(r).reciprocal_().cumsum(0).flatten().index_select(0, place)
    r, count = r.index_select(0, gene[many]), count[many]
    exact = torch.digamma(r + count) - torch.digamma(r)
    low, high = 1 / r, 1 / (r + count)
    series = torch.log1p(count * low) + (low - high) / 2
    low, high = low.square(), high.square()
    series = series + (low - high) / 12 - (low.square() - high.square()) / 120
    value[many] = torch.where(r > STIRLING_FROM, series, exact)
    return value
