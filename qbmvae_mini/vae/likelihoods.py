r"""How counts scatter about their mean.

`NegativeBinomial` is the law of UMI counts used by scVI (Lopez et al. 2018):
mean ``m`` and inverse dispersion ``r`` give variance ``m + m^2 / r``. It is a
Poisson law whose rate is Gamma distributed; ``r`` to infinity is Poisson.
"""

import torch
from torch import nn
from torch.nn import functional as F

from qbmvae_mini.cells.counts import FEW, Counts

#: Above this r the next term of Stirling's series, 1 / (360 r^3), is 1e-7.
STIRLING_FROM = 30.0

#: Keeps m / r finite. Below it r log(1 + m / r) is zero to 21 digits.
SMALLEST_R = 1e-24


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
        self.log_r = nn.Parameter(torch.zeros(n_genes, dtype=torch.float32))

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

        summed over genes: `log_coefficient` and `log_kernel` in one. Its
        gradients with respect to `output` and `log_r` are closed formulas,
        see `_LogProb`.

        Parameters
        ----------
        x : Counts or Tensor, shape (cells, n_genes)
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
        x = Counts.of(x)
        if library.requires_grad:
            raise ValueError(
                "library sizes are data and get no gradient, but they have "
                "requires_grad=True; detach() them"
            )
        # One output for all cells is as good as one for each.
        shape = torch.broadcast_shapes(output.shape, x.shape)
        return _LogProb.apply(output.expand(shape), self.log_r, x, library)

    @torch.no_grad()
    def log_coefficient(self, x):
        r"""The part of `log_prob` that no output changes, (cells,).

        .. math:: \sum_\mathrm{genes} \log\Gamma(x+r) - \log\Gamma(r)
                  - \log x!
        """
        x = Counts.of(x)
        return x.sum_by_cell(_log_ways(self.log_r.exp(), x))

    @torch.no_grad()
    def log_kernel(self, x, output, library):
        """The other part, without a gradient, (..., cells).

        Many outputs for the same counts cost only this. Parameters are those
        of `log_prob`, but `output` has the shape (..., cells, n_genes) and is
        overwritten: memory that is used again is in the cache.
        """
        x, r = Counts.of(x), self.log_r.exp()
        u = _at_nonzeros(x, output)
        odds, offset = _odds(r, output, library, out=output)
        unlikely = _unlikely(self.log_r, x, u, offset)
        return -(odds.log1p_() @ r) - x.sum_by_cell(unlikely)

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
    two matrices are enough, ``e^u = m / r`` and ``log(1 + e^u)``. In a gene

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

    Where x = 0 the Gamma terms and the digamma terms vanish and g is -m / (1 +
    m / r), so all that asks for x is worked out at the nonzero counts alone:
    nine in ten are zero. Most of these are small whole numbers, whose terms
    come from a table for each gene: a Gamma function costs fifty products.
    """

    @staticmethod
    def forward(ctx, output, log_r, x, library):
        r = log_r.exp()
        u = _at_nonzeros(x, output)
        odds, offset = _odds(r, output, library)
        softplus = odds.log1p()
        # One sum of both: of what counts alone say, and of u.
        at_nonzeros = _log_ways(r, x) - _unlikely(log_r, x, u, offset)
        value = x.sum_by_cell(at_nonzeros) - softplus @ r
        ctx.x = x
        ctx.save_for_backward(r, library, odds, softplus)
        return value

    @staticmethod
    def backward(ctx, weight):
        if torch.is_grad_enabled():  # asked for by create_graph=True
            raise NotImplementedError(
                "NegativeBinomial.log_prob has no second derivative; take the "
                "gradient without create_graph=True"
            )
        x, (r, library, odds, softplus) = ctx.x, ctx.saved_tensors
        by_output = by_log_r = None
        by_u = _by_u(r, x, odds, weight)
        if ctx.needs_input_grad[1]:
            rise = weight.reshape(-1, len(x)).sum(0).index_select(0, x.cell)
            rise = rise * _digamma_rise(r, x)
            by_r = torch.zeros_like(r).index_add_(0, x.gene, rise)
            by_r -= weight.flatten() @ softplus.flatten(0, -2)
            by_log_r = r * by_r - by_u.flatten(0, -2).sum(0)
        if ctx.needs_input_grad[0]:
            total = by_u.sum(-1, keepdim=True) / library
            mean = odds * r.clamp(min=SMALLEST_R)
            by_output = by_u.addcmul_(mean, total, value=-1)
        return by_output, by_log_r, None, None


def _at_nonzeros(x, output):
    """The outputs for the nonzero counts, (..., nonzeros)."""
    return output.flatten(-2).index_select(-1, x.place)


def _odds(r, output, library, out=None):
    """``e^u = m / r``, and by how much log m is more than the output.

    With one exponential for both. `out` may be `output` itself.
    """
    top = output.amax(-1, keepdim=True)
    odds = torch.sub(output, top, out=out).exp_()
    scale = library / odds.sum(-1, keepdim=True)
    odds.mul_(scale).mul_(r.clamp(min=SMALLEST_R).reciprocal())
    return odds, (scale.log() - top).squeeze(-1)


def _unlikely(log_r, x, u, offset):
    """``x log(1 + e^-u)`` at the nonzeros, (..., nonzeros).

    That is ``x log(1 + e^u) - x u``, which would cancel. `u` comes as the
    outputs for the nonzeros and is overwritten.
    """
    # From the logs, since a mean may underflow: u = log m - log r.
    u += offset.index_select(-1, x.cell)
    u -= log_r.index_select(0, x.gene)
    return F.softplus(u.neg_()).mul_(x.count)


def _by_u(r, x, odds, weight):
    """``weight (x - m) / (1 + m / r)``, by the zeros and then the others."""
    by_u = odds + 1
    torch.div(odds, by_u, out=by_u)
    by_u.mul_(-r.clamp(min=SMALLEST_R)).mul_(weight[..., None])
    # 1 - sigmoid(u) would cancel, so it is made anew.
    more = odds.flatten(-2).index_select(-1, x.place) + 1
    more = x.count * weight.index_select(-1, x.cell) / more
    by_u.flatten(-2).index_add_(-1, x.place, more)
    return by_u


def _terms(r):
    """The factors ``r, r + 1, ...`` of the first counts, (FEW, n_genes)."""
    return r + torch.arange(FEW, dtype=r.dtype, device=r.device)[:, None]


def _log_ways(r, x):
    """Log of ``Gamma(r + count) / (Gamma(r) count!)``, (nonzeros,).

    That is ``r (r + 1) ... (r + count - 1) / (1 2 ... count)``, from a table
    of the first products. Where `x.many` says so it is worked out by Gamma
    functions, to single precision at any r.
    """
    table = _terms(r).log_().cumsum(0)
    table -= _terms(r.new_ones(1)).log_().cumsum(0)
    value = table.flatten().index_select(0, x.few)
    r, count = r.index_select(0, x.gene[x.many]), x.count[x.many]
    exact = torch.lgamma(r + count) - torch.lgamma(r)
    # Two large lgammas would cancel; Stirling's series cancels on paper.
    series = (r - 0.5) * torch.log1p(count / r) + count * (r + count).log()
    series = series - count + (1 / (r + count) - 1 / r) / 12
    rising = torch.where(r > STIRLING_FROM, series, exact)
    value[x.many] = rising - torch.lgamma(count + 1)
    return value


def _digamma_rise(r, x):
    """The derivative of `_log_ways` with respect to r."""
    table = _terms(r).reciprocal_().cumsum(0)
    value = table.flatten().index_select(0, x.few)
    r, count = r.index_select(0, x.gene[x.many]), x.count[x.many]
    exact = torch.digamma(r + count) - torch.digamma(r)
    low, high = 1 / r, 1 / (r + count)
    series = torch.log1p(count * low) + (low - high) / 2
    low, high = low.square(), high.square()
    series = series + (low - high) / 12 - (low.square() - high.square()) / 120
    value[x.many] = torch.where(r > STIRLING_FROM, series, exact)
    return value
