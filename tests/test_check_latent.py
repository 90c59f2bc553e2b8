"""`check_latent`: it takes every latent, and refuses mistakes."""

import copy
import re
from pathlib import Path

import pytest
import torch
from every_latent import LATENTS
from oracles import listed, listed_log_q
from synthetic import FIT, two_clusters
from torch.distributions import Normal

from qbmvae_mini.latents import (
    BernoulliLatent,
    BoltzmannLatent,
    GaussianLatent,
    MixtureLatent,
    MultilinearLatent,
    QuantumLatent,
    SigmoidBeliefLatent,
    check_latent,
)
from qbmvae_mini.machines import RBM, QuantumBoltzmannMachine
from qbmvae_mini.models import CellVAE
from qbmvae_mini.samplers import ExactSampler, Sampler

PAGE = Path(__file__).parents[1] / "book" / "api.md"


def of_the_page():
    """The class that the page writes, from its text alone."""
    text = PAGE.read_text().split("## A latent of your own")[1]
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    names = {}
    exec(code, names)
    return names["CountLatent"]


@pytest.mark.parametrize("name", LATENTS)
def test_every_latent_keeps_the_contract(name):
    latent = LATENTS[name]()
    before = copy.deepcopy(latent.state_dict())
    random = torch.get_rng_state()
    check_latent(latent)
    assert torch.equal(torch.get_rng_state(), random)
    for key, value in latent.state_dict().items():
        assert torch.equal(value.nan_to_num(), before[key].nan_to_num()), key


# The latent of the page


def test_the_latent_of_the_page_keeps_the_contract():
    check_latent(of_the_page()(6))


@torch.no_grad()
def test_its_kl_is_the_sum_over_states():
    torch.manual_seed(1)
    latent = of_the_page()(5).double()
    for weight in latent.parameters():
        weight += torch.randn_like(weight)
    logits = torch.randn(1, 5, dtype=torch.float64)
    log_q = listed_log_q(logits)[0]
    log_p = latent.log_prior(torch.from_numpy(listed(5)))
    assert float(log_p.exp().sum()) == pytest.approx(1)
    found = latent.kl(logits.expand(100_000, -1))
    expected = (log_q.exp() * (log_q - log_p)).sum()
    error = found.std() / len(found) ** 0.5
    assert abs(found.mean() - expected) < 4.5 * error


def test_it_is_trained_scored_saved_and_loaded(tmp_path):
    adata, kind = two_clusters(), of_the_page()
    model = CellVAE(adata, kind(6))
    before = model.get_elbo()
    model.fit(**FIT, lr=5e-3)
    assert model.get_elbo() > before + 1
    assert model.module.latent.weight.abs().max() > 0
    assert model.get_energy().shape == (120,)
    assert model.generate(5).shape == (5, 30)
    model.save(tmp_path)
    loaded = CellVAE.load(tmp_path, adata, latent=kind(6))
    scores = [m.get_log_likelihood() for m in (loaded, model)]
    assert (scores[0] == scores[1]).all()


# Mistakes


def belief_network_as_if_multilinear():
    """What a contributor wrote: the KL of Bernoulli, of another energy."""

    class Wrong(SigmoidBeliefLatent, MultilinearLatent):
        kl, energy = MultilinearLatent.kl, MultilinearLatent.energy

        def prior_energy(self, z):
            return -self.log_prior(z)

        def log_z_upper(self):
            return torch.zeros(())

    return Wrong(5)


class Warm(Sampler):
    """Exact draws at another inverse temperature."""

    def __init__(self, beta=0.9):
        self.beta, self.exact = beta, ExactSampler(seed=3)

    def sample(self, machine, n):
        machine = copy.deepcopy(machine)
        for weight in machine.parameters():
            weight.data *= self.beta
        return self.exact.sample(machine, n)

    def fork(self, seed):
        twin = Warm(self.beta)
        twin.exact = self.exact.fork(seed)
        return twin

    def state_dict(self):
        return self.exact.state_dict()

    def load_state_dict(self, state):
        self.exact.load_state_dict(state)


def boltzmann(kind=BoltzmannLatent, sampler=ExactSampler):
    return kind(RBM(3, 4), sampler())


class WrongSignOfLogZ(BernoulliLatent):
    def log_z_upper(self):
        return -super().log_z_upper()


class WrongSignInKlAlone(BernoulliLatent):
    def kl(self, params):
        return super().kl(params) - 2 * self.log_z_upper()


class ForgetsABit(BernoulliLatent):
    def log_q(self, params, z):
        return super().log_q(params[..., 1:], z[..., 1:])


class WrongSignOfNegativePhase(BoltzmannLatent):
    def negative_phase(self, sampler=None):
        return -super().negative_phase(sampler)


class NoGradientOfLogZ(BoltzmannLatent):
    def log_z_upper(self):
        return super().log_z_upper().detach()


class NoEnergyToEncoder(BoltzmannLatent):
    def energy(self, params):
        return super().energy(params.detach())


class AnotherPrior(BernoulliLatent):
    def draw_prior(self, n):
        return torch.randint(2, (n, self.n_latent)).to(self.bias)


class SpinsAsDraws(BernoulliLatent):
    def draw_prior(self, n):
        return 2 * super().draw_prior(n) - 1


class SeedMovesTheChains(BoltzmannLatent):
    def sample_prior(self, n, seed=None):
        if seed is not None:
            self.sampler._generator.manual_seed(seed)
        return super().sample_prior(n)


class SeedIsIgnored(BernoulliLatent):
    def sample_prior(self, n, seed=None):
        return super().sample_prior(n)


class EnergyOfTheMean(GaussianLatent):
    def energy(self, params):
        return self.mean(params).square().sum(-1) / 2


class HalfTheEntropy(MixtureLatent):
    def kl(self, params):
        return super().kl(params) + self._posterior(params).entropy().sum(-1)


class VarianceForSpread(GaussianLatent):
    def _posterior(self, params):
        mean, log_var = params.chunk(2, dim=-1)
        return Normal(mean, log_var.exp(), validate_args=False)


class NotNormalised(GaussianLatent):
    def log_prior(self, z):
        return super().log_prior(z) + 0.1


class WiderPrior(GaussianLatent):
    def draw_prior(self, n):
        return 1.1 * super().draw_prior(n)


class SmoothsInSecret(BernoulliLatent):
    @property
    def smooths(self):
        return False


class NoJson(BernoulliLatent):
    def settings(self):
        return super().settings() | {"bias": self.bias}


class TakesAnyState(BernoulliLatent):
    def load_state(self, state):
        pass


class ProbabilitiesForSpins(BernoulliLatent):
    def mean(self, params):
        return torch.sigmoid(params)


class HalfTheGradient(BernoulliLatent):
    is_biased = False

    def expectation(self, f, params):
        return super().expectation(f, (params + params.detach()) / 2)


class TheLawItself(QuantumLatent):
    """Claims more than a bound from below may."""

    def log_z_upper(self):
        return super().log_z_upper() - 0.2


MISTAKES = {
    "a kl that holds for multilinear energies alone": (
        belief_network_as_if_multilinear,
        "energy.*is .* and the mean of -log_prior",
    ),
    "log Z with the wrong sign": (
        lambda: WrongSignOfLogZ(5),
        "log_prior. adds up to .*log Z may be wrong",
    ),
    "a kl with the wrong sign of log Z": (
        lambda: WrongSignInKlAlone(5),
        "kl in eval.*the mean of log_q - log_prior",
    ),
    "a log_q that forgets a bit": (
        lambda: ForgetsABit(5),
        "log_q. adds up to 2 over all codes",
    ),
    "a sampler at beta 0.9": (
        lambda: boltzmann(sampler=Warm),
        r"sample_prior\(n\) does not follow log_prior",
    ),
    "a negative phase with the wrong sign": (
        lambda: boltzmann(WrongSignOfNegativePhase),
        "the gradient of kl by the prior's weights",
    ),
    "a log_prior without the gradient of log Z": (
        lambda: boltzmann(NoGradientOfLogZ),
        "in eval.. the gradient of kl by the prior's weights",
    ),
    "an energy that stays with the prior": (
        lambda: boltzmann(NoEnergyToEncoder),
        "the gradient of kl in eval.. by params",
    ),
    "draws of another prior": (lambda: AnotherPrior(5), "does not follow"),
    "spins for bits": (lambda: SpinsAsDraws(5), "not all bits"),
    "a seed that moves the chains": (
        lambda: boltzmann(SeedMovesTheChains),
        "state.. has changed",
    ),
    "a seed that is ignored": (
        lambda: SeedIsIgnored(5),
        "seed=1. differs from call to call",
    ),
    "the energy of a mean": (
        lambda: EnergyOfTheMean(2),
        "energy.params. is .* and the mean of",
    ),
    "a kl without its entropy": (
        lambda: HalfTheEntropy(2, 3),
        "kl in eval.. is .* and the mean of log_q - log_prior",
    ),
    "a variance for a standard deviation": (
        lambda: VarianceForSpread(2),
        "energy.params. is .* and the mean of -log_prior",
    ),
    "a density that is not normalised": (
        lambda: NotNormalised(2),
        "the mean of k / exp.log_prior.",
    ),
    "numbers of a wider prior": (
        lambda: WiderPrior(2),
        "the mean of k / exp.log_prior. over sample_prior",
    ),
    "numbers for bits, unsaid": (
        lambda: SmoothsInSecret(5, relaxation="binary concrete"),
        "smooths is False, and smooth.* changes the codes",
    ),
    "settings that are no JSON": (lambda: NoJson(5), "not fit for JSON"),
    "any state": (lambda: TakesAnyState(5), "takes what is no state"),
    "probabilities for spins": (
        lambda: ProbabilitiesForSpins(5),
        "mean.params",
    ),
    "half a gradient": (
        lambda: HalfTheGradient(5, relaxation="score function"),
        "the gradient of expectation",
    ),
    "a bound from below that is above": (
        lambda: TheLawItself(QuantumBoltzmannMachine(RBM(2, 2), 0.1)),
        "adds up to|more rarely",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_refused(mistake):
    make, words = MISTAKES[mistake]
    with pytest.raises(ValueError, match=words) as refused:
        check_latent(make())
    assert "\n" not in str(refused.value)


def test_what_cannot_be_checked_is_refused():
    with pytest.raises(TypeError, match="derived from .*Latent.*, not 'rbm'"):
        check_latent("rbm")
    with pytest.raises(ValueError, match="width 13 is too large .* 12 bits"):
        check_latent(BernoulliLatent(13))
    with pytest.raises(ValueError, match="width 7 is too large .* 6 numbers"):
        check_latent(GaussianLatent(7))
    with pytest.raises(ValueError, match="draws is a whole number"):
        check_latent(BernoulliLatent(3), draws=10)
