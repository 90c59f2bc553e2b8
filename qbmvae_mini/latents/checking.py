"""Whether a latent keeps its contract: laws, values, gradients, state.

Everything is compared with sums over all codes where codes are bits, and with
draws where they are numbers. Means of draws may lie six standard errors away.
"""

import copy
import json

import torch
from scipy import stats

from qbmvae_mini.checks import check_seed, check_whole
from qbmvae_mini.latents.base import _seeded, check_is_latent
from qbmvae_mini.machines.states import all_states, places

#: Codes of bits are listed, codes of numbers are covered by draws.
MAX_BITS, MAX_NUMBERS = 12, 6

#: Spread of what is added to the prior's weights, so that they matter.
SPREAD = 0.7

#: Standard errors that a mean may be away.
STANDARD_ERRORS = 6.0

#: Chains that are kept remember a little, which adds to a chi-squared.
MEMORY = 1.3

#: Half a step of a finite difference, in double precision.
STEP = 1e-4

DOUBLE = torch.float64


def check_latent(latent, *, draws=20_000, seed=0):
    """Check a small latent against the whole contract of `Latent`.

    The check works on a copy in double precision, with weights moved at
    random. With enough codes and draws these are caught: a posterior or prior
    that is no law or is not the one that is drawn from, a KL that is not that
    of the two, a missing gradient of log Z, an energy that is exact for
    another prior alone, a sampler of another temperature, draws that move
    what they should leave alone, settings that are no JSON, state that does
    not come back. Not checked is the gradient of `expectation` where the
    latent says of itself that it `is_biased`.

    Parameters
    ----------
    latent : Latent
        Of at most 12 bits or 6 numbers.
    draws : int
        Draws for each law and each mean.
    seed : int

    Raises
    ------
    TypeError
        If it is no `Latent`.
    ValueError
        With what was asked, what was found and what was expected.
    """
    check_is_latent(latent)
    draws = check_whole("draws", draws, 1000)
    with _seeded(check_seed(seed), torch.zeros(())):
        copied = _copied(latent).cpu().double()
        _move(copied)
        for check in (
            _check_shapes,
            _check_words,
            _check_posterior,
            _check_embedding,
            _check_smoothing,
            _check_prior,
            _check_prior_draws,
            _check_seeds,
            _check_energy,
            _check_kl,
            _check_prior_gradient,
            _check_expectation,
            _check_state,
        ):
            check(copied.train(), draws)


# -- what is asked ----------------------------------------------------------


def _check_shapes(latent, draws):
    """Shape, precision and finiteness of every answer."""
    params, n = _params(latent, 3), latent.n_latent
    z = latent.sample(params, 5)
    zeta, log_weight = latent.smooth(z, params)
    prior = latent.sample_prior(7)
    for name, tensor, shape in (
        ("rsample", latent.rsample(params), (3, n)),
        ("expectation", latent.expectation(_curve, params), (3,)),
        ("sample(params, 5)", z, (5, 3, n)),
        ("smooth, codes", zeta, (5, 3, n)),
        ("smooth, log weight", log_weight, (5, 3)),
        ("decoder_input", latent.decoder_input(z), (5, 3, n)),
        ("log_q", latent.log_q(params, z), (5, 3)),
        ("log_prior", latent.log_prior(z), (5, 3)),
        ("kl in train()", latent.kl(params), (3,)),
        ("kl in eval()", latent.eval().kl(params), (3,)),
        ("energy", latent.energy(params), (3,)),
        ("mean", latent.mean(params), (3, n)),
        ("sample_prior(7)", prior, (7, n)),
    ):
        found = tuple(tensor.shape), tensor.dtype
        if found != (shape, DOUBLE):
            raise ValueError(
                f"{name} has shape {found[0]} and precision {found[1]}; for "
                f"three rows it is {shape} and that of the parameters, {DOUBLE}"
            )
        if not tensor.isfinite().all():
            raise ValueError(f"{name} holds NaN or infinite values")
    for name, tensor in (("sample", z), ("sample_prior", prior)):
        if tensor.requires_grad:
            raise ValueError(f"{name} has a gradient; draw under no_grad")
    limit = MAX_BITS if _is_bits(z) else MAX_NUMBERS
    if n > limit:
        raise ValueError(
            f"a latent of width {n} is too large to check; give one of at "
            f"most {limit}, {MAX_BITS} bits or {MAX_NUMBERS} numbers"
        )


def _check_words(latent, draws):
    """`reads` is words, `settings` are fit for JSON and stay the same."""
    if not isinstance(latent.reads(), str):
        raise ValueError(f"reads() gives words, not {latent.reads()!r}")
    settings = latent.settings()
    try:
        restored = json.loads(json.dumps(settings, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"settings() are not fit for JSON ({error}); give plain numbers "
            "and words"
        ) from error
    if restored != settings or not settings:
        raise ValueError(
            f"settings() are {settings}, and JSON gives back {restored}; give "
            "a dict of plain numbers, words and lists"
        )
    if _copied(latent).settings() != settings:
        raise ValueError("a copy has other settings() than the latent")


def _check_posterior(latent, draws):
    """`log_q` is a law, and `sample` draws from it."""
    params = _params(latent, 1)
    z = latent.sample(params, draws)[:, 0]
    log_q = _no_grad(lambda z: latent.log_q(params, z[:, None])[:, 0])
    if not _is_bits(z):
        _check_density("log_q", "sample", z, log_q)
        return
    states = _states(latent)
    total = float(log_q(states).exp().sum())
    if abs(total - 1) > 1e-6:
        raise ValueError(
            f"exp(log_q) adds up to {total:.6g} over all codes, not to 1"
        )
    _check_frequencies("sample", "log_q", z, log_q(states).exp())


def _check_embedding(latent, draws):
    """`mean` is the mean of what the decoder reads of true codes."""
    params = _params(latent, 2)
    inputs = latent.decoder_input(latent.sample(params, draws))
    _agree("mean(params)", latent.mean(params), 0, "decoder_input", inputs)


def _check_smoothing(latent, draws):
    """Log weights are those of a law; without smoothing nothing changes."""
    params = _params(latent, 2)
    z = latent.sample(params, draws)
    zeta, log_weight = latent.smooth(z, params)
    if bool(latent.smooths) == bool(torch.equal(zeta, z)):
        raise ValueError(
            f"smooths is {latent.smooths}, and smooth(z, params) "
            f"{'keeps' if latent.smooths else 'changes'} the codes"
        )
    _agree(
        "one", torch.ones(()), 0, "exp(log weight) of smooth", log_weight.exp()
    )


def _check_prior(latent, draws):
    """`log_prior` adds up to one, up to the bracket, or to less if a bound."""
    bracket = latent.estimate_log_z()
    if not bracket.lower <= bracket.value <= bracket.upper:
        raise ValueError(f"{bracket} is no bracket: lower, value, upper")
    if not _is_bits(latent.sample(_params(latent, 1))):
        return  # `_check_prior_draws` covers numbers
    log_prior = _no_grad(latent.log_prior)
    total = float(log_prior(_states(latent)).exp().sum())
    least = torch.tensor(bracket.lower - bracket.upper).exp().item()
    if latent.is_bound:
        least = 0.0
    if not least - 1e-6 <= total <= 1 + 1e-6:
        raise ValueError(
            f"exp(log_prior) adds up to {total:.6g} over all codes, which is "
            f"not within {least:.6g} and 1; log Z may be wrong"
        )


def _check_prior_draws(latent, draws):
    """`sample_prior` follows `log_prior`, with a seed and without."""
    log_prior = _no_grad(latent.log_prior)
    for name, z in (
        ("sample_prior(n)", latent.sample_prior(draws)),
        ("sample_prior(n, seed=1)", latent.sample_prior(draws, seed=1)),
    ):
        if not _is_bits(latent.sample(_params(latent, 1))):
            _check_density("log_prior", name, z, log_prior, latent.is_bound)
            continue
        p = log_prior(_states(latent)).exp()
        if latent.is_bound:
            _check_above(name, z, p)
        else:
            _check_frequencies(name, "log_prior", z, p / p.sum())


def _check_seeds(latent, draws):
    """A seed decides, and leaves chains and torch's generator alone."""
    latent.sample_prior(3)  # chains are running
    chains, random = _cloned(latent.state()), torch.get_rng_state()
    one, again, other = (latent.sample_prior(64, seed=s) for s in (1, 1, 2))
    if not torch.equal(one, again):
        raise ValueError("sample_prior(n, seed=1) differs from call to call")
    if torch.equal(one, other):
        raise ValueError("sample_prior(n, seed=1) and seed=2 draw the same")
    if not torch.equal(random, torch.get_rng_state()):
        raise ValueError("sample_prior(n, seed=1) moves torch's generator")
    latent.eval()
    params = _params(latent, 2)
    latent.kl(params)
    latent.log_prior(latent.sample(params))
    latent.estimate_log_z("rough")
    if not _same(chains, latent.state()):
        raise ValueError(
            "state() has changed by sample_prior(n, seed=1), kl, log_prior or "
            "estimate_log_z in eval(); these leave chains alone"
        )


def _check_energy(latent, draws):
    """`energy` is the mean of -log p, without log Z."""
    params = _params(latent, 1)
    codes, weights = _codes(latent, params, draws)
    log_z = latent.current_log_z().upper
    values = -_no_grad(latent.log_prior)(codes) - log_z
    expected, error = _weighted(values, weights)
    found = _no_grad(latent.energy)(params.expand(draws // 5, -1))
    _agree(
        "the mean of -log_prior(z) - log Z over the posterior",
        expected,
        error,
        "energy(params)",
        found,
    )


def _check_kl(latent, draws):
    """`kl` and its gradients are those of E_q[log q - log p]."""
    params = _params(latent, 1).requires_grad_()
    codes, weights = _codes(latent, params.detach(), draws)
    values = _no_grad(latent.log_prior)(codes)
    ratio = latent.log_q(params.detach(), codes[:, None])[:, 0] - values
    expected, error = _weighted(ratio, weights)
    rows = params.detach().expand(draws // 5, -1).clone().requires_grad_()
    bracket = latent.estimate_log_z()
    for mode in (False, True):
        kl = latent.train(mode).kl(rows)
        # In train() log Z is at its value, in log_prior at its upper end.
        slack = error + mode * (bracket.upper - bracket.value)
        name = f"kl in {'train' if mode else 'eval'}()"
        _agree(
            "the mean of log_q - log_prior", expected, slack, name, kl.detach()
        )
        _check_requires_grad(name, kl)
        (found,) = torch.autograd.grad(kl.sum(), rows)
        slopes, noise = _slopes(latent, params, codes, weights, ratio)
        _agree(
            "that of the mean of log_q - log_prior",
            slopes,
            noise,
            f"the gradient of {name} by params",
            found,
        )
    _check_weights(
        latent, codes, weights, lambda: latent.kl(rows[:64]).mean(), "kl", -1
    )


def _check_prior_gradient(latent, draws):
    """`log_prior` carries the gradient of the prior's weights, log Z too."""
    params = _params(latent, 1)
    codes = latent.sample(params, 3)[:, 0]
    weights = torch.ones(3, dtype=DOUBLE)
    _check_weights(
        latent,
        codes,
        weights,
        lambda: latent.log_prior(codes).sum(),
        "log_prior",
        1,
    )


def _check_expectation(latent, draws):
    """`expectation` has the mean of what is read, and its gradient."""
    params = _params(latent, 1)
    rows = params.expand(draws, -1).clone().requires_grad_()
    values = latent.expectation(_curve, rows)
    _check_requires_grad("expectation(f, params)", values)
    z = latent.sample(params, draws)
    read = _curve(latent.smooth(z, params)[0][:, 0])
    error = read.std() / draws**0.5
    _agree(
        "its mean over exact draws",
        read.mean(),
        error,
        "expectation(f, params)",
        values.detach(),
    )
    if latent.is_biased:
        return
    (found,) = torch.autograd.grad(values.sum(), rows)
    scores = _scores(latent, params, z[:, 0])
    slopes = (read - read.mean())[:, None] * scores
    if latent.smooths:
        slopes = slopes + _drift(latent, z, params)
    _agree(
        "that of the mean",
        slopes.mean(0),
        slopes.std(0) / draws**0.5,
        "the gradient of expectation(f, params)",
        found,
    )


def _check_state(latent, draws):
    """State comes back, goes on to the same draws, and is told from others."""
    latent.sample_prior(3)
    state = latent.state()
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"state()[{name!r}] is no tensor")
    twin = _copied(latent)
    twin.reset()
    twin.load_state(_cloned(state))
    if not _same(state, twin.state()):
        raise ValueError("load_state(state()) gives another state()")
    torch.manual_seed(1)
    one = latent.sample_prior(9)
    torch.manual_seed(1)
    if not torch.equal(one, twin.sample_prior(9)):
        raise ValueError("after load_state(state()) other draws follow")
    before = _cloned(twin.state())
    try:
        twin.load_state({"of nobody": torch.zeros(1)})
    except ValueError:
        if not _same(before, twin.state()):
            raise ValueError("a refused load_state has changed it") from None
        return
    raise ValueError("load_state takes what is no state of it")


# -- how it is compared -----------------------------------------------------


def _copied(latent):
    """A deep copy with weights of its own."""
    try:
        twin = copy.deepcopy(latent)
    except Exception as error:
        raise ValueError(
            f"copy.deepcopy of a {type(latent).__name__} fails ({error})"
        ) from error
    mine = {w.data_ptr() for w in latent.parameters() if w.numel()}
    if any(weight.data_ptr() in mine for weight in twin.parameters()):
        raise ValueError("a deep copy shares weights with the latent")
    return twin


def _cloned(state):
    return {name: value.clone() for name, value in state.items()}


def _same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) for name, value in one.items()
    )


@torch.no_grad()
def _move(latent):
    """Weights that matter: as built, priors are often the same for all."""
    for weight in latent.parameters():
        if weight.requires_grad:
            weight += SPREAD * torch.randn_like(weight)


def _params(latent, rows):
    """Encoder outputs, the same at each call."""
    generator = torch.Generator().manual_seed(rows)
    shape = (rows, latent.n_params)
    return torch.randn(shape, generator=generator, dtype=DOUBLE)


def _curve(z):
    """A curved function of a code, (..., n) -> (...)."""
    slope = torch.linspace(-1, 2, z.shape[-1], dtype=z.dtype)
    return torch.tanh(z @ slope + 0.3) + z[..., 0] * z[..., -1] / 2


def _is_bits(z):
    return bool(((z == 0) | (z == 1)).all())


def _states(latent):
    return all_states(latent.n_latent).to(DOUBLE)


def _no_grad(function):
    def wrapped(*args):
        with torch.no_grad():
            return function(*args)

    return wrapped


def _codes(latent, params, draws):
    """Codes of one row and their weights; None where they are draws."""
    z = latent.sample(params, draws)[:, 0]
    if not _is_bits(z):
        return z, None
    states = _states(latent)
    with torch.no_grad():
        return states, latent.log_q(params, states[:, None])[:, 0].exp()


def _weighted(values, weights):
    """Mean over codes and its standard error, none where all are listed."""
    values = values.detach()
    if weights is None:
        return values.mean(0), values.std(0) / len(values) ** 0.5
    return torch.tensordot(weights, values, 1), 0.0


def _scores(latent, params, z):
    """Gradient of log q by the encoder's outputs, a row a code."""
    rows = params.detach().expand(len(z), -1).clone().requires_grad_()
    (scores,) = torch.autograd.grad(latent.log_q(rows, z).sum(), rows)
    return scores


def _slopes(latent, params, codes, weights, ratio):
    """Gradient of the mean of `ratio` by params: its covariance with scores.

    That of log q itself has the mean zero (Williams 1992).
    """
    scores = _scores(latent, params, codes)
    centre, _ = _weighted(ratio, weights)
    return _weighted((ratio.detach() - centre)[:, None] * scores, weights)


def _drift(latent, z, params):
    """Change of what is read with params at fixed bits, by differences."""

    def read(moved):
        torch.manual_seed(0)  # the same noise on both sides
        return _curve(latent.smooth(z, moved)[0][:, 0])

    columns = []
    for step in STEP * torch.eye(params.shape[1], dtype=DOUBLE):
        columns.append((read(params + step) - read(params - step)) / (2 * STEP))
    return torch.stack(columns, 1)


def _check_weights(latent, codes, weights, value, name, sign):
    """The gradient of `value` by the prior's weights, along one direction.

    Expected is ``sign`` times the change of the weighted mean of `log_prior`,
    by differences of its values.
    """
    learned = [w for w in latent.parameters() if w.requires_grad]
    if not learned:
        return
    direction = [torch.randn_like(weight) for weight in learned]

    def shifted(step):
        with torch.no_grad():
            for weight, along in zip(learned, direction, strict=True):
                weight += step * along
            return latent.log_prior(codes)

    high = shifted(STEP)
    low = shifted(-2 * STEP)
    shifted(STEP)
    change, error = _weighted((high - low) / (2 * STEP), weights)

    def slope():
        grads = torch.autograd.grad(
            _check_requires_grad(name, value()),
            learned,
            materialize_grads=True,
        )
        return sum((g * d).sum() for g, d in zip(grads, direction, strict=True))

    latent.train()
    found = torch.stack([slope() for _ in range(100)])
    words = f"the gradient of {name} by the prior's weights"
    expected = "that of log_prior's values"
    _agree(expected, sign * change, error, words, found)
    latent.eval()
    # Alone, it is as uncertain as one of those in train().
    alone = slope()[None]
    error = error + found.std()
    _agree(expected, sign * change, error, f"in eval() {words}", alone)


def _agree(expected_name, expected, error, name, found):
    """Whether the mean of the rows of `found` is `expected`.

    `error` is the standard error of what is expected.
    """
    found = found.detach()
    noise = found.std(0) / len(found) ** 0.5 if len(found) > 1 else 0.0
    mean = found.mean(0)
    expected = torch.as_tensor(expected).detach().expand(mean.shape)
    room = STANDARD_ERRORS * (noise**2 + error**2) ** 0.5
    room = torch.as_tensor(room + 1e-5 * (1 + expected.abs()))
    away = (mean - expected).abs() - room
    if not (away <= 0).all():  # NaN is away too
        worst = away.nan_to_num(torch.inf).argmax()
        here = [float(x.flatten()[worst]) for x in (mean, expected)]
        room = float(room.expand(mean.shape).flatten()[worst])
        raise ValueError(
            f"{name} is {here[0]:.6g} and {expected_name} {here[1]:.6g}, "
            f"further apart than draws explain ({room:.2g})"
        )


def _check_requires_grad(name, value):
    if not value.requires_grad:
        raise ValueError(f"{name} has no gradient at all")
    return value


def _counts(z):
    """How often each state was drawn, in the order of `all_states`."""
    n = z.shape[-1]
    return torch.bincount(places(z, n), minlength=2**n).double()


def _check_bits(name, z):
    if not _is_bits(z):
        raise ValueError(f"{name} draws codes that are not all bits, 0 or 1")


def _check_frequencies(name, law, z, p):
    """Pearson's chi-squared of draws over all codes, rare ones together."""
    _check_bits(name, z)
    expected, counts = p * len(z), _counts(z)
    rare = expected < 5
    groups = [
        torch.cat([part[~rare], part[rare].sum()[None]])
        for part in (counts, expected)
    ]
    terms = (groups[0] - groups[1]).square() / groups[1].clamp_min(5)
    freedom = max(int((~rare).sum()), 1)
    if stats.chi2.sf(float(terms.sum()) / MEMORY, freedom) < 1e-7:
        raise ValueError(
            f"{name} does not follow {law}: chi-squared {terms.sum():.0f} over "
            f"{freedom} degrees of freedom"
        )


def _check_above(name, z, p):
    """Draws of the exact law are no rarer than its bound from below."""
    _check_bits(name, z)
    found = _counts(z) / len(z)
    room = STANDARD_ERRORS * (p * (1 - p) / len(z) * MEMORY).sqrt()
    if (found < p - room - 1e-3).any():
        raise ValueError(
            f"{name} draws a code more rarely than log_prior, its bound from "
            "below, allows"
        )


def _check_density(law, name, z, log_density, is_bound=False):
    """For draws from p, the mean of k(z) / p(z) is one for any density k.

    For k three narrow Gaussians, around draws; for a bound from below of p,
    the mean is at least one.
    """
    sd = z.std(0) / 2
    for centre in z[:3]:
        k = torch.distributions.Normal(centre, sd).log_prob(z).sum(-1)
        ratio = (k - log_density(z)).exp()
        if is_bound and ratio.mean() >= 1:
            continue
        _agree(
            "the integral of a density",
            torch.ones((), dtype=DOUBLE),
            0,
            f"the mean of k / exp({law}) over {name}",
            ratio,
        )
