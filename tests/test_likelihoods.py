"""Negative binomial counts, against scipy and against the dense formula."""

import decimal

import numpy as np
import pytest
import torch
from oracles import relative_error
from scipy import special, stats

from qbmvae_mini.vae import NegativeBinomial

DOUBLE = torch.float64


def counts(r, *, cells=6, genes=40, dtype=DOUBLE, seed=0):
    """A law with dispersions near `r`, and counts with zeros and a hundred."""
    rng = np.random.default_rng(seed)
    law = NegativeBinomial(genes).to(dtype)
    log_r = torch.from_numpy(np.log(r) + rng.normal(0, 0.3, genes))
    law.log_r.data.copy_(log_r)
    output = torch.from_numpy(rng.normal(0, 1.5, (cells, genes))).to(dtype)
    library = torch.from_numpy(rng.integers(200, 4000, (cells, 1))).to(dtype)
    rate = library.numpy() / genes * rng.gamma(0.3, 1 / 0.3, (cells, genes))
    x = torch.from_numpy(rng.poisson(rate)).to(dtype)
    x[:, 0], x[:, 1], x[0, 2] = 0, 100, 30_000
    return law, x, output, library


def by_scipy(law, x, output, library):
    r = law.log_r.detach().double().exp().numpy()
    mean = library.double().numpy() * special.softmax(
        output.detach().double().numpy(), axis=-1
    )
    return stats.nbinom.logpmf(x.numpy(), r, r / (r + mean)).sum(-1)


R = [1e-4, 0.1, 1.0, 30.0, 1e3, 1e5]


@pytest.mark.parametrize("r", R)
def test_log_prob_is_scipys(r):
    law, x, output, library = counts(r)
    assert (x == 0).any()
    found = law.log_prob(x, output, library).detach()
    np.testing.assert_allclose(
        found, by_scipy(law, x, output, library), rtol=1e-8
    )


@pytest.mark.parametrize("r", [*R[:-1], 1e4])
def test_a_cell_is_right_within_a_fiftieth_of_a_nat_in_single_precision(r):
    """Two thousand genes, one or two counts each: errors must not add up."""
    rng = np.random.default_rng(1)
    law = NegativeBinomial(2000)
    law.log_r.data.copy_(torch.from_numpy(np.log(r) + rng.normal(0, 0.3, 2000)))
    output = torch.from_numpy(rng.normal(0, 1.5, (32, 2000))).float()
    library = torch.full((32, 1), 2000.0)
    generator = torch.Generator().manual_seed(2)
    x = law.sample(output, library, generator).detach()
    found = law.log_prob(x, output, library).detach().numpy()
    expected = law.double().log_prob(
        x.double(), output.double(), library.double()
    )
    np.testing.assert_allclose(found, expected.detach(), atol=0.02, rtol=2e-6)


def by_torch(law, x, output, library, weight):
    """Gradients by autograd through torch's own law, in double precision."""
    output = output.detach().double().requires_grad_()
    log_r = law.log_r.detach().double().requires_grad_()
    log_mean = library.double().log() + output.log_softmax(-1)
    peer = torch.distributions.NegativeBinomial(
        log_r.exp(), logits=log_mean - log_r
    )
    value = (weight * peer.log_prob(x.double()).sum(-1)).sum()
    return torch.autograd.grad(value, (output, log_r))


def by_hand(law, x, output, library, weight):
    output = output.detach().requires_grad_()
    value = (weight * law.log_prob(x, output, library)).sum()
    return torch.autograd.grad(value, (output, law.log_r))


@pytest.mark.parametrize("spread", [1, 20], ids=["logits", "extreme logits"])
@pytest.mark.parametrize("draws", [(), (3,), (2, 2)], ids=len)
@pytest.mark.parametrize("r", R)
def test_gradients_are_those_of_torchs_law(r, draws, spread):
    """To 1e-6, with another weight for each cell and draw."""
    law, x, output, library = counts(r)
    rng = np.random.default_rng(1)
    noise = torch.from_numpy(rng.normal(0, 1, (*draws, *output.shape)))
    output = spread * (output + noise)
    weight = torch.from_numpy(rng.normal(0, 1, output.shape[:-1]))
    given = x, output, library, weight
    found, expected = by_hand(law, *given), by_torch(law, *given)
    assert relative_error(found[0], expected[0]) < 1e-6
    # Where r is large, the digammas of the peer cancel to few digits.
    assert relative_error(found[1], expected[1]) < (1e-6 if r < 1e5 else 1e-4)


@pytest.mark.parametrize("r", R[:-2])
def test_gradients_in_single_precision(r):
    law, x, output, library = counts(r, dtype=torch.float32)
    given = x, output, library, torch.ones(len(x))
    expected = by_torch(law, *given)
    for ours, theirs in zip(by_hand(law, *given), expected, strict=True):
        assert ours.dtype == torch.float32
        assert relative_error(ours.double(), theirs) < 1e-5


def test_gradient_of_the_dispersion_at_fifty_digits():
    """One count of one gene, where double precision has no digits left."""
    law = NegativeBinomial(1).double()
    library = torch.tensor([[3.0]], dtype=DOUBLE)
    for r in (1e-3, 29.9, 30.1, 1e3, 1e6):
        law.log_r.data.fill_(np.log(r))
        for x in (0, 1, 7, 100):
            value = law.log_prob(
                torch.tensor([[float(x)]], dtype=DOUBLE),
                torch.zeros(1, 1, dtype=DOUBLE),
                library,
            )
            (found,) = torch.autograd.grad(value.sum(), law.log_r)
            expected = slope_at_fifty_digits(law.log_r.exp().item(), 3, x)
            # A term of r itself is taken from another: r times 1e-16 is lost.
            assert abs(float(found) - expected) < 1e-6 * abs(expected) + (
                1e-15 * r
            )


def slope_at_fifty_digits(r, mean, x):
    """d log p / d log r at a given mean."""
    with decimal.localcontext(prec=50):
        r = decimal.Decimal(r)
        # psi(x + r) - psi(r), for a whole number x
        rise = sum(1 / (r + k) for k in range(x))
        log_odds = (1 + mean / r).ln()
        return float(r * (rise - log_odds + (mean - x) / (r + mean)))


def test_a_second_derivative_is_refused():
    law, x, output, library = counts(1.0)
    value = law.log_prob(x, output.requires_grad_(), library).sum()
    with pytest.raises(NotImplementedError, match="no second derivative; take"):
        torch.autograd.grad(value, output, create_graph=True)


@pytest.mark.parametrize("which", [0, 2])
def test_counts_and_library_sizes_get_no_gradient(which):
    law, *given = counts(1.0)
    given[which].requires_grad_()
    with pytest.raises(ValueError, match=r"data and get no gradient.*detach"):
        law.log_prob(*given)


def test_what_needs_no_gradient_gets_none():
    law, x, output, library = counts(1.0)
    law.requires_grad_(False)
    law.log_prob(x, output.requires_grad_(), library).sum().backward()
    assert law.log_r.grad is None
    frozen = output.grad.clone()
    law.requires_grad_()
    law.log_prob(x, output.detach(), library).sum().backward()
    assert law.log_r.grad.abs().sum() > 0
    output.grad = None
    law.log_prob(x, output, library).sum().backward()
    assert torch.equal(output.grad, frozen)


def test_a_cell_without_a_single_count():
    law, x, output, library = counts(1.0)
    x = torch.zeros_like(x)
    given = x, output, library, torch.ones(len(x))
    value = law.log_prob(x, output, library).detach()
    np.testing.assert_allclose(value, by_scipy(law, x, output, library))
    for ours, theirs in zip(
        by_hand(law, *given), by_torch(law, *given), strict=True
    ):
        assert relative_error(ours, theirs) < 1e-6


@pytest.mark.parametrize("x", [0.0, 3.0])
def test_a_vanishing_dispersion_stays_finite(x):
    """m / r is too large for single precision."""
    law = NegativeBinomial(1)
    law.log_r.data.fill_(-87.0)
    output = torch.zeros(1, 1, requires_grad=True)
    value = law.log_prob(torch.tensor([[x]]), output, torch.tensor([[1000.0]]))
    value.sum().backward()
    # Almost surely zero; otherwise log p = log r - log x, in the limit.
    limit = 0.0 if x == 0 else -87.0 - np.log(x)
    assert value.item() == pytest.approx(limit, rel=1e-6, abs=1e-6)
    assert abs(float(output.grad)) < 1e-25
    assert float(law.log_r.grad) == pytest.approx(float(x > 0), abs=1e-5)


def test_gradients_are_finite_differences():
    law, x, output, library = counts(2.0, cells=2, genes=5)
    x[0, 2] = 300  # a count of 30,000 would drown the others

    def loss(output, log_r):
        law.__dict__["_parameters"]["log_r"] = log_r
        return law.log_prob(x, output, library)

    inputs = output.requires_grad_(), law.log_r.detach().requires_grad_()
    assert torch.autograd.gradcheck(loss, inputs, rtol=1e-5, atol=1e-6)


def test_output_may_have_leading_draws():
    law, x, output, library = counts(1.0)
    draws = torch.stack([output, output + 1, output.flip(-1)])
    found = law.log_prob(x, draws, library)
    assert found.shape == (3, 6)
    assert relative_error(found[1], found[0]) < 1e-12  # softmax, shifted
    np.testing.assert_allclose(
        found[2].detach(), by_scipy(law, x, draws[2], library)
    )


def test_a_log_prob_is_its_coefficient_and_its_kernel():
    torch.manual_seed(8)
    x = torch.randint(0, 5, (3, 6)).double()
    output = torch.randn(4, 3, 6, dtype=torch.float64)
    library = x.sum(1, keepdim=True)
    law = NegativeBinomial(6).double()
    whole = law.log_prob(x, output, library)
    kernel = law.log_kernel(x, output.clone(), library)
    parts = law.log_coefficient(x) + kernel
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=0)


def test_means_share_the_library_out():
    law, _, output, library = counts(1.0)
    mean = law.mean(output, library)
    torch.testing.assert_close(mean.sum(-1, keepdim=True), library)
    ratio = (output[:, 3] - output[:, 4]).exp()
    torch.testing.assert_close(mean[:, 3] / mean[:, 4], ratio)


@pytest.mark.parametrize("x", [0.0, 3.0])
def test_a_gene_far_off_stays_finite_in_value_and_gradient(x):
    law = NegativeBinomial(2)
    output = torch.tensor([[0.0, -300.0]], requires_grad=True)
    value = law.log_prob(
        torch.tensor([[5.0, x]]), output, torch.tensor([[8.0]])
    )
    value.sum().backward()
    assert value.isfinite().all()
    assert output.grad.isfinite().all()
    assert law.log_r.grad.isfinite().all()
    assert (float(output.grad[0, 1]) > 1) == (x > 0)  # it is pulled back


def test_log_prob_sums_to_one():
    law = NegativeBinomial(1).double()
    x = torch.arange(4000, dtype=DOUBLE)[:, None]
    library = torch.full((4000, 1), 20.0, dtype=DOUBLE)
    log_p = law.log_prob(x, torch.zeros(4000, 1, dtype=DOUBLE), library)
    assert log_p.logsumexp(0).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("r", [0.3, 5.0, 1e4])
def test_draws_have_the_mean_and_variance_of_the_law(r):
    n = 200_000
    law = NegativeBinomial(3)
    law.log_r.data.fill_(np.log(r))
    output, library = torch.tensor([0.0, 1.0, -1.0]), torch.tensor([30.0])
    generator = torch.Generator().manual_seed(3)
    x = law.sample(output.expand(n, 3), library, generator).detach().double()
    assert (x == x.round()).all()
    assert x.min() >= 0
    mean = 30 * output.double().softmax(0)
    variance = mean + mean**2 / r
    z = (x.mean(0) - mean) / (variance / n).sqrt()
    assert z.abs().max() < 5
    squares = (x - mean) ** 2
    z = (squares.mean(0) - variance) / (squares.std(0) / n**0.5)
    assert z.abs().max() < 5
    poisson = (squares.mean(0) - mean) / (squares.std(0) / n**0.5)
    assert (poisson.abs().max() > 5) == (r < 1e4)


def test_draws_are_zero_as_often_as_scipy_says():
    n = 200_000
    law = NegativeBinomial(2)
    generator = torch.Generator().manual_seed(4)
    x = law.sample(torch.zeros(n, 2), torch.tensor([4.0]), generator)
    p = stats.nbinom.pmf(0, 1.0, 1 / (1 + 2.0))
    z = ((x == 0).double().mean() - p) / np.sqrt(p * (1 - p) / (2 * n))
    assert abs(float(z)) < 5
