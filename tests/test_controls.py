"""Controls: new models beside the old one, which stays as it is."""

import copy
import functools
import math
import threading

import neal
import numpy as np
import pytest
import torch
from oracles import listed_kl, listed_log_q, log_z, randomise
from synthetic import FIT, two_clusters

from qbmvae_mini.latents import (
    BernoulliLatent,
    BernoulliMixtureLatent,
    BoltzmannLatent,
    GaussianLatent,
    MixtureLatent,
    QuantumLatent,
    SigmoidBeliefLatent,
)
from qbmvae_mini.latents.relaxations import (
    OverlappingExponentials,
    Schedule,
    ScoreFunction,
)
from qbmvae_mini.machines import (
    RBM,
    BoltzmannMachine,
    QuantumBoltzmannMachine,
    all_states,
)
from qbmvae_mini.models import QBMVAE, CellVAE, GaussianVAE
from qbmvae_mini.models.controls import (
    randomise_couplings,
    refit_prior,
    shuffle_couplings,
)
from qbmvae_mini.samplers import (
    DimodSampler,
    ExactSampler,
    GibbsSampler,
    TemperingSampler,
)

SPARSE = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
MACHINES = {
    "rbm": lambda: RBM(3, 4),
    "dense": lambda: BoltzmannMachine(6),
    "sparse": lambda: BoltzmannMachine(6, SPARSE),
}
CHANGES = [shuffle_couplings, randomise_couplings]


class Client(neal.SimulatedAnnealingSampler):
    """A child with a connection, which cannot be copied."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


SAMPLERS = {
    "exact": ExactSampler,
    "fresh chains": lambda: GibbsSampler(persistent=False),
    "chains": lambda: GibbsSampler(chains=20),
    "tempering": lambda: TemperingSampler(20, 3),
    "neal": lambda: DimodSampler(Client(), num_sweeps=5),
}


@pytest.fixture
def adata():
    return two_clusters()


def with_machine(adata, machine, sampler=None, scale=0.8):
    """A model that is not trained, with couplings that matter."""
    randomise(machine, scale=scale, offset=0.0)
    sampler = sampler or GibbsSampler(chains=40)
    return CellVAE(adata, BoltzmannLatent(machine, sampler))


def couplings(model):
    machine = model.module.latent.machine
    return machine.coupling.detach()


def everything(model):
    """Weights, buffers and chains, copied."""
    state = copy.deepcopy(dict(model.module.state_dict()))
    return state | copy.deepcopy(model.module.latent.state())


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        same = torch.equal(value.nan_to_num(), other[name].nan_to_num())
        assert same, name


# Other couplings


@pytest.mark.parametrize("kind", MACHINES)
def test_shuffled_couplings_are_the_same_numbers_elsewhere(kind, adata):
    model = with_machine(adata, MACHINES[kind]())
    before, shuffled = couplings(model), couplings(shuffle_couplings(model))
    assert not torch.equal(shuffled, before)
    assert torch.equal(shuffled.sort().values, before.sort().values)


def test_a_shuffle_is_any_permutation_and_no_other():
    """Over seeds each coupling is found at each place equally often."""
    model = with_machine(two_clusters(), RBM(2, 2))
    before = couplings(model).tolist()
    counts = np.zeros((4, 4))
    for seed in range(400):
        after = couplings(shuffle_couplings(model, seed=seed)).tolist()
        for place, value in enumerate(after):
            counts[place, before.index(value)] += 1
    sd = math.sqrt(400 * 0.25 * 0.75)
    assert np.abs(counts - 100).max() < 4.5 * sd


@pytest.mark.parametrize("kind", ["rbm", "dense"])
def test_random_couplings_have_the_mean_and_the_spread(kind, adata):
    machine = {"rbm": RBM(60, 70), "dense": BoltzmannMachine(90)}[kind]
    model = with_machine(adata, machine, scale=0.3)
    old = couplings(model) + 0.5
    with torch.no_grad():
        weight = machine.W if kind == "rbm" else machine.coupling
        weight += 0.5
    new = couplings(randomise_couplings(model))
    n = len(old)
    assert n > 4000
    sd = float(old.std())
    assert abs(new.mean() - old.mean()) < 4.5 * sd / math.sqrt(n)
    assert abs(new.std() - sd) < 4.5 * sd / math.sqrt(2 * n)
    together = np.corrcoef(new.numpy(), old.numpy())[0, 1]
    assert abs(together) < 4.5 / math.sqrt(n)
    fourth = ((new - new.mean()) / new.std()).pow(4).mean()
    assert float(fourth) == pytest.approx(3, abs=4.5 * math.sqrt(96 / n))


@pytest.mark.parametrize("change", CHANGES)
def test_a_single_coupling_has_no_spread(change, adata):
    model = with_machine(adata, RBM(1, 1))
    changed = change(model)
    assert torch.equal(couplings(changed), couplings(model))
    assert np.isfinite(changed.get_log_likelihood()).all()


@pytest.mark.parametrize("change", CHANGES)
def test_seeds_decide_and_global_noise_does_not(change, adata):
    model = with_machine(adata, RBM(3, 4))
    state = torch.get_rng_state()
    one, again, other = (couplings(change(model, seed=s)) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    with pytest.raises(ValueError, match="seed is a whole number.*not -1"):
        change(model, seed=-1)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", MACHINES)
def test_log_z_is_that_of_the_new_couplings(kind, change, adata):
    model = with_machine(adata, MACHINES[kind]())
    model.get_elbo()  # log Z of the old couplings is known by now
    old = model.module.latent.current_log_z().value
    latent = change(model).module.latent
    expected = log_z(latent.machine)
    assert abs(expected - old) > 1e-3
    params = torch.zeros(1, latent.n_latent)
    trained = latent.train().kl(params).item()  # as a training begins
    assert trained == pytest.approx(latent.eval().kl(params).item(), abs=1e-4)
    assert latent.current_log_z().value == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["rbm", "dense"])
def test_the_model_handed_in_stays_as_it_is(kind, change, adata):
    model = with_machine(adata, MACHINES[kind]())
    model.module.latent.sample_prior(3)  # chains are running
    scores = model.get_log_likelihood()
    before = everything(model)
    changed = change(model)
    codes = changed.get_latent_representation()
    assert np.array_equal(codes, model.get_latent_representation())
    changed.get_log_likelihood()
    changed.generate(50)
    changed.fit(**FIT)
    assert_equal(everything(model), before)
    assert np.array_equal(model.get_log_likelihood(), scores)


def test_everything_but_the_couplings_stays(adata):
    model = with_machine(adata, RBM(3, 4))
    before = dict(model.module.state_dict())
    after = dict(shuffle_couplings(model).module.state_dict())
    for name in before.keys() - {"latent.machine.W", "latent.log_z"}:
        assert torch.equal(before[name], after[name]), name


@pytest.mark.parametrize("change", CHANGES)
def test_chains_of_the_old_couplings_do_not_go_on(change, adata):
    model = with_machine(adata, RBM(3, 4))
    model.module.latent.sample_prior(40)
    latent = change(model).module.latent
    assert latent.sampler is not model.module.latent.sampler
    assert not latent.sampler.state_dict()
    z = latent.sample_prior(40)
    assert z.shape == (40, 7)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", SAMPLERS)
def test_couplings_change_with_any_sampler(kind, change, adata):
    model = with_machine(adata, RBM(3, 4), SAMPLERS[kind]())
    model.fit(**FIT | {"max_epochs": 1})  # chains are running
    before = everything(model)
    changed = change(model)
    assert changed.module.latent.sampler is not model.module.latent.sampler
    changed.fit(**FIT | {"max_epochs": 1})
    assert changed.generate(5).shape == (5, adata.n_vars)
    assert_equal(everything(model), before)


def test_controls_follow_controls_and_none_changes_what_it_got(adata):
    """Three in a row, of either kind, and back to couplings."""
    model = with_machine(adata, RBM(3, 4), TemperingSampler(20, 3))
    models, brief = [model.fit(**FIT)], FIT | {"max_epochs": 2}
    steps = [
        shuffle_couplings,
        lambda m: refit_prior(m, BernoulliLatent(7), **brief),
        lambda m: refit_prior(m, new_boltzmann(), **brief),
        randomise_couplings,
        lambda m: shuffle_couplings(m, seed=1),
    ]
    states, histories = [everything(model)], [list(model.history_)]
    for step in steps:
        models.append(step(models[-1]))
        states.append(everything(models[-1]))
        histories.append(list(models[-1].history_))
    codes = model.get_latent_representation()
    for each, state, history in zip(models, states, histories, strict=True):
        assert_equal(everything(each), state)
        assert each.history_ == history
        assert np.array_equal(each.get_latent_representation(), codes)
        assert np.isfinite(each.get_log_likelihood()).all()
        each.generate(3)
    assert len({id(each.history_) for each in models}) == len(models)


def test_a_latent_of_another_model_is_refused_for_a_refit(adata):
    model, latent = with_machine(adata, RBM(3, 4)), new_boltzmann()
    refitted = refit_prior(model, latent, **FIT)
    with pytest.raises(ValueError, match="part of another model.*deepcopy"):
        refit_prior(model, latent, **FIT)
    own = shuffle_couplings(model).module.latent
    with pytest.raises(ValueError, match="part of another model"):
        refit_prior(model, refitted.module.latent, **FIT)
    refit_prior(model, own, **FIT)  # the shuffled model is gone


def new_boltzmann():
    return BoltzmannLatent(RBM(3, 4), GibbsSampler(chains=20))


def test_the_couplings_of_a_quantum_prior_change_and_its_field_stays(adata):
    machine = QuantumBoltzmannMachine(randomise(RBM(2, 2)), 0.7)
    model = CellVAE(adata, QuantumLatent(machine))
    shuffled = shuffle_couplings(model)
    found, before = couplings(shuffled), couplings(model)
    assert not torch.equal(found, before)
    assert torch.equal(found.sort().values, before.sort().values)
    assert float(shuffled.module.latent.machine.gamma) == pytest.approx(0.7)


@pytest.mark.parametrize("change", CHANGES)
def test_a_latent_without_couplings_is_refused(change, adata):
    for latent in (GaussianLatent(3), MixtureLatent(3), BernoulliLatent(3)):
        words = f"a {type(latent).__name__} has no couplings to change; hand"
        with pytest.raises(TypeError, match=words):
            change(CellVAE(adata, latent))


def test_a_shuffled_model_is_saved_and_loaded(adata, tmp_path):
    model = QBMVAE(adata, n_latent=8).fit(**FIT)
    shuffled = shuffle_couplings(model)
    shuffled.save(tmp_path)
    loaded = QBMVAE.load(tmp_path, adata)
    for asked in (shuffled, loaded):
        assert asked.get_elbo() == shuffled.get_elbo()
    assert torch.equal(couplings(loaded), couplings(shuffled))


# Other priors for the same codes


def correlated(adata):
    """Two bits that say nearly the same of a cell, without training."""
    model = CellVAE(adata, BernoulliLatent(2))
    last = model.module.encoder[-1]
    with torch.no_grad():
        last.weight[0] *= 10
        last.weight[1] = 0.9 * last.weight[0]
        last.bias.copy_(torch.tensor([0.3, -0.2]))
    return model


REFIT = {
    "max_epochs": 300,
    "lr": 0.03,
    "batch_size": 1000,  # all cells at once, so the gradient has no noise
    "validation": 0,
    "progress": False,
}


@torch.no_grad()
def mean_kl(model):
    x, _ = next(model._cells.minibatches(1000))
    return float(model.module.latent.kl(model.module.encode(x)).mean())


@torch.no_grad()
def best_kl(model, joint):
    """Mean KL to the best prior, of two bits together or of each alone."""
    x, _ = next(model._cells.minibatches(1000))
    logits = model.module.encode(x).double()
    if not joint:
        mean = logits.sigmoid().mean(0)
        return float(
            listed_kl(logits, -listed_log_q(mean.logit()[None])[0]).mean()
        )
    aggregate = listed_log_q(logits).exp().mean(0)
    return float(listed_kl(logits, -aggregate.log()).mean())


def test_a_refitted_prior_reaches_the_best_for_its_codes(adata):
    """Two coupled bits can follow any law, so the best is the mean of q."""
    model = correlated(adata)
    free, coupled = best_kl(model, joint=False), best_kl(model, joint=True)
    assert coupled < free - 0.03
    bernoulli = refit_prior(model, BernoulliLatent(2), **REFIT)
    assert mean_kl(bernoulli) == pytest.approx(free, abs=1e-4)
    machine = BoltzmannMachine(2)
    latent = BoltzmannLatent(machine, ExactSampler())
    boltzmann = refit_prior(model, latent, **REFIT)
    assert boltzmann.module.latent is latent
    assert mean_kl(boltzmann) == pytest.approx(coupled, abs=1e-4)
    assert float(machine.coupling.detach()) > 1


def test_a_refit_by_chains_comes_near_the_best_too(adata):
    model = correlated(adata)
    sampler = GibbsSampler(chains=2000)
    latent = BoltzmannLatent(RBM(1, 1), sampler)
    refitted = refit_prior(model, latent, **REFIT)
    best = best_kl(model, joint=True)
    assert best - 1e-6 < mean_kl(refitted) < best + 0.02
    assert sampler.state_dict()["chains"].shape == (2000, 2)


def test_a_mixture_is_fitted_to_the_codes_of_a_gaussian_model(adata):
    model = GaussianVAE(adata, n_latent=3).fit(**FIT | {"max_epochs": 40})
    refitted = refit_prior(model, MixtureLatent(3, 5), **REFIT)
    start = CellVAE(adata, MixtureLatent(3, 5))
    start.module.encoder = model.module.encoder
    assert mean_kl(refitted) < mean_kl(start) - 0.1
    assert type(refitted) is CellVAE


@pytest.mark.parametrize(
    "make",
    [lambda: BernoulliMixtureLatent(2, 4), lambda: SigmoidBeliefLatent(2)],
)
def test_a_prior_without_a_sampler_is_fitted_to_frozen_bits(make, adata):
    """Two bits: all laws are within reach of both."""
    model = correlated(adata)
    before = everything(model)
    refitted = refit_prior(model, make(), **REFIT)
    assert_equal(everything(model), before)
    for name, value in refitted.module.state_dict().items():
        if not name.startswith("latent."):
            assert torch.equal(value, before[name]), name
    x, _ = next(model._cells.minibatches(1000))
    with torch.no_grad():
        logits = model.module.encode(x).double()
        log_p = refitted.module.latent.double().log_prior(
            all_states(2).double()
        )
    best = best_kl(model, joint=True)
    found = float(listed_kl(logits, -log_p).mean())
    assert best - 1e-6 < found < best + 0.005


@pytest.mark.parametrize("validation", [0, 0.2])
def test_encoder_and_decoder_stay_bit_by_bit(validation, adata):
    """The model has dropout, early stopping and batches."""
    model = CellVAE(adata, BernoulliLatent(6), batch_key="batch").fit(**FIT)
    before, scores = everything(model), model.get_log_likelihood()
    history, random = model.history_, torch.get_rng_state()
    latent = BoltzmannLatent(RBM(3, 3), GibbsSampler(chains=50))
    first = copy.deepcopy(latent.state_dict())
    refitted = refit_prior(
        model, latent, **FIT | {"validation": validation, "lr": 0.02}
    )
    after = refitted.module.state_dict()
    shared = [name for name in before if not name.startswith("latent.")]
    assert len(shared) > 10
    for name in shared:
        assert torch.equal(before[name], after[name]), name
    for name, value in latent.machine.named_parameters():
        assert not torch.equal(value, first[f"machine.{name}"]), name
    assert np.array_equal(
        refitted.get_latent_representation(), model.get_latent_representation()
    )
    # And the old model, its prior too, with gradients still asked for.
    assert_equal(everything(model), before)
    assert np.array_equal(model.get_log_likelihood(), scores)
    assert model.history_ is history
    assert len(refitted.history_) == FIT["max_epochs"]
    assert all(p.requires_grad for p in model.module.parameters())
    drop = [m.p for m in model.module.modules() if hasattr(m, "p")]
    assert drop == [0.1, 0.1]
    assert torch.equal(torch.get_rng_state(), random)
    assert not refitted.module.training


def test_the_codes_of_a_refit_are_those_of_evaluation(adata, monkeypatch):
    model = correlated(adata)
    read = []
    kl = BernoulliLatent.kl
    monkeypatch.setattr(
        BernoulliLatent, "kl", lambda s, p: read.append(p) or kl(s, p)
    )
    refit_prior(model, BernoulliLatent(2), **REFIT | {"max_epochs": 2})
    assert len(read) == 2
    x, _ = next(model._cells.minibatches(1000))
    expected = model.module.encode(x).sort(0).values
    for params in read:
        torch.testing.assert_close(params.sort(0).values, expected)


def test_a_refit_has_no_warm_up_unless_asked(adata):
    model = correlated(adata)
    short = {"max_epochs": 3, "progress": False}
    for more, expected in (
        ({}, [1, 1, 1]),
        ({"kl_warmup": 4}, [0.25, 0.5, 0.75]),
    ):
        refitted = refit_prior(model, BernoulliLatent(2), **short, **more)
        assert [e["kl_weight"] for e in refitted.history_] == expected


@pytest.mark.parametrize("child", ["qbm", "gaussian"])
def test_a_refitted_model_is_saved_and_loaded(child, adata, tmp_path):
    """Also where the model's own class would build another latent."""
    if child == "qbm":
        model = QBMVAE(adata, n_latent=8)
        make = functools.partial(BernoulliLatent, 8)
    else:
        model = GaussianVAE(adata, n_latent=4)
        make = functools.partial(MixtureLatent, 4, 3)
    refitted = refit_prior(model, make(), **FIT)
    refitted.save(tmp_path)
    loaded = CellVAE.load(tmp_path, adata, latent=make())
    assert np.array_equal(
        loaded.get_log_likelihood(), refitted.get_log_likelihood()
    )


def test_a_refit_goes_on_from_its_checkpoint_but_from_no_other(adata, tmp_path):
    def latent():
        return BoltzmannLatent(RBM(3, 3), GibbsSampler(chains=50))

    model = CellVAE(adata, latent()).fit(**FIT)
    longer = FIT | {"max_epochs": 25, "kl_warmup": 0}
    whole = refit_prior(model, latent(), **longer)
    path = tmp_path / "run"
    refit_prior(model, latent(), **longer | {"max_epochs": 12}, resume=path)
    resumed = refit_prior(model, latent(), **longer, resume=path)
    assert resumed.history_ == whole.history_
    assert_equal(everything(resumed), everything(whole))
    # A training of all weights would change the encoder.
    path = tmp_path / "all"
    CellVAE(adata, latent()).fit(**longer, resume=path)
    with pytest.raises(ValueError, match="of another run .number of weights"):
        refit_prior(model, latent(), **longer, resume=path)


# What is refused


@pytest.mark.parametrize(
    ("latent", "words"),
    [
        (lambda: BernoulliLatent(5), "5 units and 5 param.* have 4 and 4"),
        (lambda: GaussianLatent(4), "4 units and 8 param.* have 4 and 4"),
        (lambda: GaussianLatent(2), "2 units and 4 param.* have 4 and 4"),
    ],
)
def test_codes_of_another_width_or_kind_are_refused(latent, words, adata):
    model = CellVAE(adata, BernoulliLatent(4))
    with pytest.raises(ValueError, match=words + ".*width and kind"):
        refit_prior(model, latent(), **FIT)


def test_the_models_own_latent_is_refused_and_a_copy_is_not(adata):
    model = with_machine(adata, RBM(3, 4))
    before = everything(model)
    own = model.module.latent
    with pytest.raises(ValueError, match="the model's own; hand over a new"):
        refit_prior(model, own, **FIT)
    refit_prior(model, copy.deepcopy(own), **FIT)
    assert_equal(everything(model), before)


def test_a_prior_without_weights_is_refused(adata):
    model = GaussianVAE(adata, n_latent=3)
    with pytest.raises(ValueError, match="GaussianLatent has nothing to fit"):
        refit_prior(model, GaussianLatent(3), **FIT)


def test_codes_smoothed_otherwise_are_refused(adata):
    schedule = OverlappingExponentials(Schedule(5.0, 10.0, 4))
    model = CellVAE(adata, BernoulliLatent(4, relaxation=schedule)).fit(**FIT)
    words = "reads overlapping exponentials codes of sharpness 10, with"
    for relaxation in (
        "straight-through",
        "binary concrete",
        OverlappingExponentials(5.0),
    ):
        latent = BernoulliLatent(4, relaxation=relaxation)
        with pytest.raises(ValueError, match=words):
            refit_prior(model, latent, **FIT)
    latent = BernoulliLatent(4, relaxation=OverlappingExponentials(10.0))
    assert refit_prior(model, latent, **FIT).module.latent is latent


def test_true_bits_are_true_bits_however_they_were_trained(adata):
    model = CellVAE(adata, BernoulliLatent(4, relaxation=ScoreFunction()))
    refit_prior(model, BernoulliLatent(4), **FIT)


# No prior at all


def test_without_kl_weight_there_are_codes_and_no_likelihood(adata, tmp_path):
    model = QBMVAE(adata, n_latent=8).fit(**FIT, kl_weight=0)
    model.save(tmp_path)
    loaded = QBMVAE.load(tmp_path, adata)
    for asked in (model, loaded, shuffle_couplings(model)):
        codes = asked.get_latent_representation()
        assert codes.shape == (120, 8)
        assert np.isfinite(codes).all()
        assert np.isfinite(asked.get_normalized_expression()).all()
        for method, args in (
            ("get_log_likelihood", ()),
            ("get_elbo", ()),
            ("generate", (3,)),
        ):
            words = "trained with kl_weight=0, so its prior knows nothing"
            with pytest.raises(ValueError, match=words):
                getattr(asked, method)(*args)
    # A prior fitted to the codes, or another training, gives it one.
    latent = BoltzmannLatent(RBM(4, 4), GibbsSampler(chains=50))
    refitted = refit_prior(loaded, latent, **FIT)
    assert np.isfinite(refitted.get_log_likelihood()).all()
    assert loaded.fit(**FIT).get_elbo() < 0
    assert loaded.generate(3).shape == (3, 30)
