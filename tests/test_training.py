"""Training: it learns, repeats itself, and survives being killed."""

import copy
import ctypes
import errno
import json
import math
import multiprocessing
import os
import random
import signal

import numpy as np
import pytest
import torch
from faults import kills
from synthetic import (
    FIT,
    TO_KILL,
    fit_to_kill,
    train_and_die,
    two_clusters,
    unchanged,
)

from qbmvae_mini.cells.counts import Cells
from qbmvae_mini.estimates import Bracket
from qbmvae_mini.latents import BernoulliLatent, GaussianLatent
from qbmvae_mini.models import QBMVAE, CellVAE, GaussianVAE
from qbmvae_mini.samplers import GibbsSampler, Sampler
from qbmvae_mini.vae import VAE, NegativeBinomial, training
from qbmvae_mini.vae.checkpoints import state_tensors
from qbmvae_mini.vae.storage import read_tensors, write_tensors
from qbmvae_mini.vae.surroundings import seeded

MAKE = {
    "gaussian": lambda adata, **k: GaussianVAE(adata, n_latent=3, **k),
    "qbm": lambda adata, **k: QBMVAE(adata, n_latent=8, **k),
    "bernoulli": lambda adata, **k: CellVAE(adata, BernoulliLatent(6), **k),
}
EVERY = training.VALIDATE_EVERY


@pytest.fixture
def adata():
    return two_clusters()


def weights(model):
    """All parameters, in one copy."""
    return torch.nn.utils.parameters_to_vector(
        model.module.parameters()
    ).clone()


class Stops(Sampler):
    """Gibbs sampling that does something else at one of its calls."""

    def __init__(self, call, act):
        self.left, self.act = call, act
        self.child = GibbsSampler(chains=16, sweeps=1)
        self.draws = 16

    def sample(self, machine, n):
        self.left -= 1
        if self.left == 0:
            self.act(machine)
        return self.child.sample(machine, n)


# Learning


def one_cluster(train, test):
    """Held-out likelihood of one negative binomial for all cells."""
    x, held_out = (torch.from_numpy(a.X.toarray()) for a in (train, test))
    law = NegativeBinomial(x.shape[1])
    output = torch.nn.Parameter(x.mean(0).log())
    optimizer = torch.optim.Adam([output, *law.parameters()], lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        loss = -law.log_prob(x, output, x.sum(1, keepdim=True)).mean()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        depth = held_out.sum(1, keepdim=True)
        return float(law.log_prob(held_out, output, depth).mean())


@pytest.mark.parametrize("name", MAKE)
def test_a_trained_model_predicts_new_cells_and_parts_their_kinds(name):
    train, test = two_clusters(300, seed=1), two_clusters(100, seed=2)
    model = MAKE[name](train)
    untrained = model.get_log_likelihood(test).mean()
    # Codes may not part the kinds before they have learned to.
    model.fit(max_epochs=40, lr=5e-3, kl_warmup=10, progress=False)
    score = model.get_log_likelihood(test).mean()
    assert score > untrained + 5
    assert score > one_cluster(train, test) + 5
    codes = model.get_latent_representation(test)
    kind = test.obs["kind"].to_numpy()
    centres = np.stack([codes[kind == k].mean(0) for k in (0, 1)])
    distance = np.linalg.norm(codes[:, None] - centres, axis=-1)
    assert np.mean(distance.argmin(1) == kind) > 0.95


def test_the_couplings_learn():
    model = QBMVAE(two_clusters(300), n_latent=8)
    machine = model.module.latent.machine
    before = machine.W.detach().clone()
    model.fit(max_epochs=40, lr=5e-3, kl_warmup=10, progress=False)
    change = (machine.W.detach() - before).abs().max()
    # Two kinds of cell: the bits that tell them apart go together.
    assert change > 0.3


# History and early stopping


@pytest.mark.parametrize("name", MAKE)
def test_history_has_one_entry_an_epoch_with_finite_nats(name, adata):
    history = MAKE[name](adata).fit(**FIT | {"max_epochs": 23}).history_
    assert [entry["epoch"] for entry in history] == list(range(23))
    assert all(math.isfinite(entry["loss"]) for entry in history)
    validated = [e["epoch"] for e in history if "validation" in e]
    assert validated == [*range(EVERY - 1, 23, EVERY), 22]  # the last one too
    assert all(history[e]["validation"] < 0 for e in validated)
    json.dumps(history, allow_nan=False)


@pytest.fixture
def scored(monkeypatch):
    """Every call of `VAE.log_likelihood`: what the model was, and its noise."""
    seen = []
    score = VAE.log_likelihood

    def watch(vae, x, batch, *rest, **more):
        if not seen or seen[-1][0] is not vae or len(rest) == 1:
            then = copy.deepcopy(vae.state_dict())
            seen.append((vae, then, torch.get_rng_state()))
        return score(vae, x, batch, *rest, **more)

    monkeypatch.setattr(training, "VALIDATE_EVERY", 1)
    monkeypatch.setattr(VAE, "log_likelihood", watch)
    return seen


@pytest.fixture
def stopped(scored):
    """A model stopped early, and what it was at each validation."""
    model = QBMVAE(two_clusters(), n_latent=8)
    model.fit(
        200, lr=0.02, kl_warmup=3, validation=0.2, patience=4, progress=False
    )
    return model, list(scored)


def best_of(history):
    """The epoch of the best validation that may be chosen."""
    chosen = [e for e in history if e["candidate"]]
    return max(chosen, key=lambda e: e["validation"])["epoch"]


def test_early_stopping_restores_the_best_weights(stopped):
    model, seen = stopped
    # Below full KL weight (the first two epochs) nothing is judged.
    chosen = [entry["candidate"] for entry in model.history_]
    assert chosen == [False, False] + [True] * (len(chosen) - 2)
    best = best_of(model.history_)
    assert len(model.history_) == len(seen) == best + 1 + 4 < 200
    restored = model.module.state_dict()
    for name, value in seen[best][1].items():
        assert torch.equal(restored[name], value), name
    assert not torch.equal(
        restored["decoder.0.weight"], seen[-1][1]["decoder.0.weight"]
    )


def test_the_validation_in_history_can_be_worked_out_again(stopped):
    model, seen = stopped
    best = best_of(model.history_)
    score = model.history_[best]["validation"]
    held_out, train = model._split(0.2)
    assert len(held_out) == 24
    assert set(held_out) | set(train) == set(range(120))
    x, batch = next(model._cells[held_out].minibatches(24))
    with torch.random.fork_rng():
        torch.set_rng_state(seen[best][2])
        again = model.module.log_likelihood(
            x, batch, training.VALIDATION_SAMPLES
        )
    assert again.mean() == pytest.approx(score, abs=1e-4)
    # And by the public way, with other noise.
    samples = training.VALIDATION_SAMPLES
    public = model.get_log_likelihood(two_clusters()[held_out], samples)
    assert public.mean() == pytest.approx(score, abs=0.3)


def test_scores_of_the_warm_up_and_vague_ones_are_not_judged(
    adata, monkeypatch
):
    # Full KL weight from the fourth epoch on; None: log Z was too vague.
    scores = [-1, -1, -1, -8, None, -9, None, -7, None, -8, -9, -10]
    kept = []

    def log_likelihood(vae, x, batch, n):
        return torch.full((len(batch),), float(scores[len(kept) - 1]))

    def estimate_log_z(latent, effort):
        kept.append(copy.deepcopy(model.module.state_dict()))
        width = 5.0 if scores[len(kept) - 1] is None else 0.1
        return Bracket(0.0, 0.0, width)

    monkeypatch.setattr(training, "VALIDATE_EVERY", 1)
    monkeypatch.setattr(VAE, "log_likelihood", log_likelihood)
    monkeypatch.setattr(GaussianLatent, "estimate_log_z", estimate_log_z)
    model = GaussianVAE(adata, n_latent=3)
    # Said once, however often it is so.
    with pytest.warns(UserWarning, match="epoch 4 log Z is known to 5 n") as w:
        model.fit(50, kl_warmup=4, patience=3, progress=False)
    assert len(w) == 1
    assert w[0].filename == __file__
    assert [entry["validation"] for entry in model.history_] == scores
    assert [entry["log_z_width"] for entry in model.history_] == [
        5.0 if score is None else 0.1 for score in scores
    ]
    for name, value in model.module.state_dict().items():
        assert torch.equal(value, kept[scores.index(-7)][name])


def test_the_epochs_after_the_last_regular_validation_count(adata, scored):
    """The last epoch is validated also where the number is an odd one."""
    training.VALIDATE_EVERY = 10  # put back by `scored`
    settings = FIT | {"kl_warmup": 0, "lr": 0.01}
    ten = GaussianVAE(adata, n_latent=3).fit(**settings | {"max_epochs": 10})
    more = GaussianVAE(adata, n_latent=3).fit(**settings | {"max_epochs": 19})
    assert best_of([e for e in more.history_ if "candidate" in e]) == 18
    assert not torch.equal(weights(ten), weights(more))
    last = scored[-1][1]
    for name, value in more.module.state_dict().items():
        assert torch.equal(value, last[name]), name


def test_the_seed_picks_the_validation_cells(adata):
    first, second, again = (
        set(GaussianVAE(adata, seed=seed)._split(0.2)[0]) for seed in (0, 1, 0)
    )
    assert first == again
    # Neither the same nor the first or last, which may be of one batch.
    assert len(first - second) > 5
    assert max(first) - min(first) > 24


def test_without_validation_the_last_weights_stay(adata):
    model = GaussianVAE(adata, n_latent=3).fit(**FIT, validation=0)
    assert all("validation" not in entry for entry in model.history_)
    assert len(model.history_) == FIT["max_epochs"]
    longer = FIT | {"max_epochs": FIT["max_epochs"] + 1}
    other = GaussianVAE(adata, n_latent=3).fit(**longer, validation=0)
    assert other.history_[:-1] == model.history_
    assert not torch.equal(weights(model), weights(other))


# The weight of the KL


@pytest.mark.parametrize("warmup", [0, 4])
@pytest.mark.parametrize("weight", [0, 0.5, 1, 3])
def test_the_kl_weight_rises_to_what_was_asked(
    weight, warmup, adata, monkeypatch
):
    trained, validated = set(), set()
    elbo = VAE.elbo

    def watch(vae, x, batch, kl_weight):
        (trained if vae.training else validated).add(kl_weight)
        return elbo(vae, x, batch, kl_weight)

    monkeypatch.setattr(VAE, "elbo", watch)
    model = GaussianVAE(adata, n_latent=3)
    model.fit(**FIT | {"kl_warmup": warmup, "kl_weight": weight})
    rise = [0.25, 0.5, 0.75] if warmup else []
    expected = [weight * share for share in rise + [1] * (12 - len(rise))]
    said = [entry["kl_weight"] for entry in model.history_]
    assert said == pytest.approx(expected)
    assert trained == set(said)
    assert validated == ({weight} if weight != 1 else set())


@pytest.mark.parametrize("name", MAKE)
def test_without_the_kl_the_prior_is_left_alone(name, adata):
    model = MAKE[name](adata)
    before = copy.deepcopy(model.module.state_dict())
    model.fit(**FIT | {"kl_weight": 0, "max_epochs": 2 * EVERY})
    for key, value in model.module.named_parameters():
        same = torch.equal(value, before[key])
        assert same == key.startswith("latent."), key
    scores = [e["validation"] for e in model.history_ if "validation" in e]
    assert len(scores) == 2
    assert all(math.isfinite(score) for score in scores)
    json.dumps(model.history_, allow_nan=False)


@pytest.mark.parametrize("weight", [0, 0.3, 2])
def test_a_weighted_run_is_judged_by_its_weighted_bound(
    weight, adata, monkeypatch
):
    monkeypatch.setattr(training, "VALIDATE_EVERY", 1)
    model = GaussianVAE(adata, n_latent=3)
    with torch.no_grad():
        model.module.encoder[-1].weight[:3] *= 5  # a KL that can be seen
    model.fit(3, kl_warmup=0, kl_weight=weight, validation=0.5, progress=False)
    held_out, _ = model._split(0.5)
    best = max(entry["validation"] for entry in model.history_)
    x = torch.from_numpy(adata.X.toarray()[held_out]).repeat(300, 1)
    batch = torch.zeros(len(x), dtype=torch.long)
    with torch.no_grad():
        params = model.module.encode(x)
        z = model.module.latent.sample(params)[0]
        fit = model.module.log_prob(x, z, batch)
        kl = model.module.latent.kl(params)
    expected = fit - weight * kl
    # The noise of one draw for each of sixty cells
    error = expected.view(300, 60).mean(1).std()
    assert abs(best - expected.mean()) < 4.5 * error
    assert kl.mean() > 5 * error
    assert abs(best - (fit - 1.0 * kl).mean()) > 4.5 * error


def test_a_small_weight_makes_a_large_kl(adata):
    kl = []
    for weight in (0, 0.3, 1):
        model = GaussianVAE(adata, n_latent=3)
        model.fit(30, lr=5e-3, kl_warmup=0, kl_weight=weight, progress=False)
        with torch.no_grad():
            x = torch.from_numpy(adata.X.toarray())
            latent = model.module.latent
            kl.append(float(latent.kl(model.module.encode(x)).mean()))
    assert kl[0] > 2 * kl[1] > 2 * kl[2] > 0


def test_a_refused_training_leaves_the_model_what_it_was(adata, tmp_path):
    trained = GaussianVAE(adata, n_latent=3).fit(**FIT)
    path = tmp_path / "run"
    for settings in (
        {"lr": -1.0, "kl_weight": 0},
        {"kl_weight": -1},
        {"validation": 3, "kl_weight": 0},
        {"device": "warp", "kl_weight": 0},
        {"progress": "no", "kl_weight": 0},
    ):
        with pytest.raises((TypeError, ValueError), match=", not .*[13pow]"):
            trained.fit(**FIT | settings)
    GaussianVAE(adata, n_latent=3).fit(**FIT, resume=path)
    with pytest.raises(ValueError, match="kl_weight was 1.0, is 0.0"):
        trained.fit(**FIT, kl_weight=0, resume=path)
    assert np.isfinite(trained.get_log_likelihood()).all()

    without = GaussianVAE(adata, n_latent=3).fit(**FIT, kl_weight=0)
    with pytest.raises(ValueError, match="lr is a finite number above 0"):
        without.fit(**FIT | {"lr": -1.0})
    with pytest.raises(ValueError, match="trained with kl_weight=0"):
        without.get_log_likelihood()


def test_an_interrupted_training_without_the_kl_has_no_likelihood(adata):
    def act(machine):
        raise KeyboardInterrupt

    model = QBMVAE(adata, n_latent=8, sampler=Stops(7, act))
    with pytest.raises(KeyboardInterrupt):
        model.fit(**FIT, kl_weight=0)
    with pytest.raises(ValueError, match="trained with kl_weight=0"):
        model.get_elbo()


def test_a_kl_weight_may_come_from_numpy(adata, tmp_path):
    model = GaussianVAE(adata, n_latent=3)
    model.fit(**FIT, kl_weight=np.float32(0), resume=tmp_path / "run")
    model.save(tmp_path)
    loaded = GaussianVAE.load(tmp_path, adata)
    with pytest.raises(ValueError, match="trained with kl_weight=0"):
        loaded.generate(3)


# Sizes at the edge


def test_no_epochs_leave_the_model_as_it_was(adata):
    model = QBMVAE(adata, n_latent=8)
    before = weights(model)
    assert model.fit(0, progress=False).history_ == []
    assert torch.equal(weights(model), before)


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize(
    "settings",
    [
        {"kl_warmup": 0},
        {"batch_size": 1000},
        {"batch_size": 107},  # the last mini-batch is one cell
        {"batch_size": 1, "max_epochs": 1},
    ],
)
def test_sizes_at_the_edge_train(name, adata, settings):
    history = MAKE[name](adata).fit(**FIT | settings).history_
    assert all(math.isfinite(entry["loss"]) for entry in history)
    if settings.get("max_epochs") != 1:
        assert history[-1]["loss"] < history[0]["loss"]


@pytest.mark.parametrize("name", MAKE)
def test_a_single_cell_can_be_trained_on(name, adata):
    alone = adata[0].copy()
    assert alone.X.min() > 0
    with unchanged(alone):
        with pytest.raises(ValueError, match="of 1 cells leaves 0 to valid"):
            MAKE[name](alone).fit(**FIT)
        model = MAKE[name](alone).fit(**FIT, validation=0)
    assert model.get_log_likelihood().shape == (1,)


# Refusals


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"max_epochs": -1}, "max_epochs is a whole number of at least 0"),
        ({"max_epochs": 2.5}, "max_epochs is a whole number.*not 2.5"),
        ({"batch_size": 0}, "batch_size is a whole number of at least 1"),
        ({"kl_warmup": -1}, "kl_warmup is a whole number of at least 0"),
        ({"patience": 0}, "patience is a whole number of at least 1"),
        ({"max_epochs": True}, "max_epochs is a whole number.*not True"),
        ({"batch_size": np.float64(32)}, "batch_size is a whole number"),
        ({"batch_size": np.array(32)}, "batch_size is a whole number"),
        ({"lr": 0}, "lr is a finite number above 0, not 0"),
        ({"lr": math.nan}, "lr is a finite number above 0, not nan"),
        ({"lr": math.inf}, "lr is a finite number above 0, not inf"),
        ({"lr": True}, "lr is a finite number above 0, not True"),
        ({"lr": "1e-3"}, "lr is a finite number above 0, not '1e-3'"),
        ({"lr": np.array(1e-3)}, "lr is a finite number.*not array"),
        ({"kl_weight": -0.5}, "kl_weight is a finite number at least 0, not -"),
        ({"kl_weight": math.nan}, "kl_weight is a finite number.*not nan"),
        ({"kl_weight": math.inf}, "kl_weight is a finite number.*not inf"),
        ({"kl_weight": "1"}, "kl_weight is a finite number.*not '1'"),
        ({"kl_weight": None}, "kl_weight is a finite number.*not None"),
        ({"decoder_precision": -1}, "decoder_precision is a finite number at"),
        ({"decoder_precision": "0"}, "decoder_precision is.*not '0'"),
        ({"validation": -0.1}, "at least 0 and below 1, not -0.1"),
        ({"validation": 1}, "validation is.*below 1, not 1"),
        ({"validation": 10}, "validation is.*below 1, not 10"),
        ({"validation": math.nan}, "validation is.*not nan"),
        ({"validation": "0.1"}, "validation is.*not '0.1'"),
        ({"device": "abacus"}, "device is 'auto'.*not 'abacus'"),
        ({"device": "meta"}, "device is 'auto'.*not 'meta'"),
        ({"device": None}, "device is 'auto'.*not None"),
        ({"device": "cuda:97"}, "'cuda:97', and PyTorch finds"),
        ({"device": "mps:3"}, "'mps:3', and PyTorch finds"),
        ({"validation": 0.001}, "leaves 0 to validate and 120 to train"),
        ({"validation": 0.999}, "leaves 120 to validate and 0 to train"),
    ],
)
def test_settings_out_of_range_are_refused(adata, setting, words):
    model = GaussianVAE(adata, n_latent=3)
    before = weights(model)
    with unchanged(adata), pytest.raises(ValueError, match=words):
        model.fit(**FIT | setting)
    assert torch.equal(weights(model), before)


def spoil(model, name, steps):
    """Put one NaN into a weight after some steps."""
    count = iter(range(-steps, 10**6))
    weight = model.module.get_parameter(name)

    def act(*_):
        if next(count) == 0:
            weight.data.view(-1)[0] = math.nan

    model.module.encoder.register_forward_pre_hook(act)


@pytest.mark.parametrize(
    ("name", "weight", "words"),
    [
        ("gaussian", "encoder.0.weight", "training has diverged in epoch 3"),
        ("gaussian", "decoder.4.bias", "training has diverged in epoch 3"),
        ("bernoulli", "latent.bias", "training has diverged in epoch 3"),
        ("qbm", "encoder.0.weight", "training has diverged in epoch 3"),
        ("qbm", "decoder.4.bias", "training has diverged in epoch 3"),
        ("qbm", "latent.machine.W", "machine's W holds NaN"),
        ("qbm", "latent.machine.a", "machine's a holds NaN"),
    ],
)
def test_weights_that_become_nan_stop_training(adata, name, weight, words):
    model = MAKE[name](adata)
    spoil(model, weight, steps=10)  # three steps an epoch
    words += ".*smaller learning rate"
    with unchanged(adata), pytest.raises(ValueError, match=words):
        model.fit(**FIT)


@pytest.mark.parametrize("name", MAKE)
def test_a_learning_rate_far_too_large_is_named(adata, name):
    words = "diverged.*smaller learning rate"
    with pytest.raises(ValueError, match=words):
        MAKE[name](adata).fit(**FIT | {"lr": 1e30})


def test_a_sampler_that_spoils_its_machine_is_noticed(adata):
    def act(machine):
        machine.W.data[0, 0] = math.inf

    model = QBMVAE(adata, n_latent=8, sampler=Stops(5, act))
    with pytest.raises(ValueError, match="W holds NaN or infinite"):
        model.fit(**FIT)


# Noise


def burn():
    torch.rand(17)
    np.random.default_rng().random(3)
    random.random()


@pytest.mark.parametrize("name", MAKE)
def test_fit_neither_reads_nor_writes_the_global_noise(name, adata):
    results = []
    for seed in (5, 6):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        model = MAKE[name](adata).fit(**FIT)
        assert torch.equal(torch.get_rng_state(), state)
        results.append((model.history_, weights(model)))
        burn()
        MAKE[name](adata, seed=9).fit(**FIT)  # something else in between
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("name", MAKE)
def test_another_seed_gives_other_numbers(name, adata):
    one, other = (MAKE[name](adata, seed=s).fit(**FIT) for s in (0, 1))
    for a, b in zip(one.history_, other.history_, strict=True):
        assert a["loss"] != b["loss"]


def test_the_order_of_cells_is_new_in_each_epoch_and_by_seed(
    adata, monkeypatch
):
    orders = []
    minibatches = Cells.minibatches

    def watch(cells, size, *, order=None, device="cpu"):
        if order is not None:
            assert sorted(order) == list(range(120))
            orders.append(tuple(order))
        return minibatches(cells, size, order=order, device=device)

    monkeypatch.setattr(Cells, "minibatches", watch)
    for seed in (0, 1, 0):
        model = GaussianVAE(adata, n_latent=3, seed=seed)
        model.fit(**FIT | {"max_epochs": 2, "validation": 0})
    assert len(set(orders)) == 4
    assert orders[:2] == orders[4:]


def test_scoring_before_training_changes_nothing(adata):
    asked = QBMVAE(adata, n_latent=8)
    asked.get_log_likelihood()
    asked.get_elbo()
    plain = QBMVAE(adata, n_latent=8)
    assert asked.fit(**FIT).history_ == plain.fit(**FIT).history_


class Interrupted(GaussianLatent):
    """Interrupts the first training at one of its mini-batches."""

    def __init__(self, n, step, error=KeyboardInterrupt):
        super().__init__(n)
        self.left, self.error = step, error

    def settings(self):
        return {"kind": "GaussianLatent", "n_latent": self.n_latent}

    def kl(self, params):
        if self.training:
            self.left -= 1
        if self.left == 0:
            # The gradient of this step is there and not yet used.
            params.register_hook(self._stop)
        return super().kl(params)

    def _stop(self, gradient):
        raise self.error("stopped")


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_model_has_what_was_found_so_far(adata, error):
    settings = FIT | {"max_epochs": 40, "lr": 0.01}
    # Three steps an epoch: in epoch 25, validated after 10 and after 20, and
    # after Ctrl-C also what has come since.
    ends = 25 if error is KeyboardInterrupt else 2 * EVERY
    whole = CellVAE(adata, GaussianLatent(3))
    whole.fit(**settings | {"max_epochs": ends})
    model = CellVAE(adata, Interrupted(3, 3 * 25 + 1, error))
    state = torch.get_rng_state()
    with unchanged(adata), pytest.raises(error):
        model.fit(**settings)
    assert torch.equal(torch.get_rng_state(), state)
    assert [entry["epoch"] for entry in model.history_] == list(range(25))
    assert model.history_[: ends - 1] == whole.history_[: ends - 1]
    assert ("candidate" in model.history_[-1]) == (ends == 25)
    assert torch.equal(weights(model), weights(whole))
    assert all(p.grad is None for p in model.module.parameters())
    assert not model.module.training
    first, second = (model.get_log_likelihood() for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_an_interrupt_before_any_validation_keeps_what_there_is(adata):
    model = CellVAE(adata, Interrupted(3, 3 * 5 + 2))
    with pytest.raises(KeyboardInterrupt):
        model.fit(**FIT)
    assert [entry["epoch"] for entry in model.history_] == [0, 1, 2, 3, 4]
    assert all(p.grad is None for p in model.module.parameters())


@pytest.mark.parametrize("step", [1, 4, 3 * EVERY + 1, 3 * EVERY + 2, 59])
def test_an_interrupted_run_goes_on_to_the_same_numbers(step, adata, tmp_path):
    settings = FIT | {"max_epochs": 23, "resume": tmp_path / "run"}
    whole = CellVAE(adata, GaussianLatent(3)).fit(**FIT | {"max_epochs": 23})
    model = CellVAE(adata, Interrupted(3, step))
    with pytest.raises(KeyboardInterrupt):
        model.fit(**settings)
    assert_same(model.fit(**settings), whole)


def test_a_gradient_that_was_left_is_no_part_of_a_training(adata):
    whole = GaussianVAE(adata, n_latent=3).fit(**FIT)
    model = GaussianVAE(adata, n_latent=3)
    for weight in model.module.parameters():
        weight.grad = torch.ones_like(weight)
    assert_same(model.fit(**FIT), whole)


def test_an_interrupt_of_a_sampler_leaves_a_model_that_answers(adata):
    def act(machine):
        raise KeyboardInterrupt

    model = QBMVAE(adata, n_latent=8, sampler=Stops(7, act))
    with pytest.raises(KeyboardInterrupt):
        model.fit(**FIT)
    assert len(model.history_) == 2
    first, second = (model.get_log_likelihood() for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_a_second_training_leaves_the_history_of_the_first_alone(adata):
    model = GaussianVAE(adata, n_latent=3).fit(**FIT)
    first = model.history_
    model.fit(**FIT | {"max_epochs": 2})
    assert len(first) == FIT["max_epochs"]
    assert len(model.history_) == 2


# Steps


@pytest.mark.parametrize(("scale", "clipped"), [(1e6, True), (1e-6, False)])
def test_a_large_gradient_is_scaled_down_and_a_small_one_is_not(
    scale, clipped, adata, monkeypatch
):
    """What Adam is given: the direction stays, the length is 20 at most."""
    forward = VAE.forward
    monkeypatch.setattr(
        VAE, "forward", lambda vae, *a: scale * forward(vae, *a)
    )
    given, step = [], torch.optim.Adam.step

    def watch(optimizer, *args):
        rest, last = (group["params"] for group in optimizer.param_groups)
        parts = [p.grad.flatten() for p in rest + last if p.grad is not None]
        given.append(torch.cat(parts).clone())
        return step(optimizer, *args)

    monkeypatch.setattr(torch.optim.Adam, "step", watch)
    settings = FIT | {"max_epochs": 1, "validation": 0, "batch_size": 120}
    model = GaussianVAE(adata, n_latent=3, encoder_dropout=0, decoder_dropout=0)
    before = copy.deepcopy(model)
    model.fit(**settings)
    assert len(given) == 1
    # The same gradient by hand, with the same noise and order of cells.
    order = np.random.default_rng([0, 0]).permutation(120)
    x, batch = next(before._cells.minibatches(120, order=order))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        before.module.train()(x, batch, 0.5).mean().backward()
    rest, last = before.module.weight_groups()
    parts = [p.grad.flatten() for p in rest + last]
    expected = torch.cat(parts)
    if clipped:
        assert expected.norm() > 20
        expected = expected * 20 / expected.norm()
        assert given[0].norm() == pytest.approx(20, rel=1e-4)
    torch.testing.assert_close(given[0], expected, rtol=1e-3, atol=1e-6)


def test_the_decoder_s_prior_joins_the_gradient_that_adam_is_given(
    adata, monkeypatch
):
    """Step by step: Adam on the loss and on -log prior over the cells."""
    model = GaussianVAE(adata, n_latent=3)
    rest, last = model.module.weight_groups()
    assert last == [model.module.decoder[-1].weight]
    mine = [w.detach().clone().requires_grad_() for w in rest + last]
    oracle = torch.optim.Adam(mine, lr=0.01)
    steps, step = [], torch.optim.Adam.step

    def watch(optimizer, *args):
        groups = [group["params"] for group in optimizer.param_groups]
        weights = [w for group in groups for w in group]
        gradients = [w.grad.clone() for w in weights]
        step(optimizer, *args)
        steps.append((gradients, [w.detach().clone() for w in weights]))

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", watch)
        few = {"max_epochs": 3, "lr": 0.01, "decoder_precision": 20}
        model.fit(**FIT | few)
    assert len(steps) == 3 * 3
    for gradients, left in steps:
        prior = torch.distributions.Normal(0, 20**-0.5)
        oracle.zero_grad()
        (-prior.log_prob(mine[-1]).sum() / 108).backward()  # training cells
        for weight, gradient in zip(mine, gradients, strict=True):
            weight.grad = gradient + (0 if weight.grad is None else weight.grad)
        oracle.step()
        torch.testing.assert_close(left, mine, rtol=1e-5, atol=1e-6)


def test_no_prior_is_plain_adam_to_the_last_digit(adata, monkeypatch):
    one, two, three = (GaussianVAE(adata, n_latent=3) for _ in range(3))
    one.fit(**FIT)
    two.fit(**FIT, decoder_precision=20)
    adam = torch.optim.Adam

    def plain(groups, **settings):
        assert groups[1].pop("weight_decay") == 0
        return adam(groups, **settings)

    monkeypatch.setattr(torch.optim, "Adam", plain)
    three.fit(**FIT)
    assert torch.equal(weights(one), weights(three))
    assert not torch.equal(weights(one), weights(two))


def test_a_strict_prior_leaves_each_gene_its_mean_share(adata):
    model = GaussianVAE(adata, n_latent=3)
    model.fit(60, lr=0.01, decoder_precision=1e6, progress=False)
    shares = model.get_normalized_expression(progress=False)
    mean = np.asarray(adata.X.sum(0)).ravel() / adata.X.sum()
    assert np.ptp(shares, axis=0).max() < 0.01
    np.testing.assert_allclose(shares.mean(0), mean, atol=0.01)


def test_a_last_layer_that_does_not_learn_feels_no_prior(adata):
    model = GaussianVAE(adata, n_latent=3)
    last = model.module.decoder[-1].weight.requires_grad_(False)
    before = last.clone()
    model.fit(**FIT, decoder_precision=20)
    assert torch.equal(last, before)


def test_training_with_a_decoder_prior_goes_on_to_the_same_numbers(
    adata, tmp_path
):
    whole, first, second = (MAKE["qbm"](adata) for _ in range(3))
    settings = FIT | {"decoder_precision": 20}
    whole.fit(**settings | {"max_epochs": 20})
    first.fit(**settings | {"max_epochs": 10}, resume=tmp_path / "run")
    second.fit(**settings | {"max_epochs": 20}, resume=tmp_path / "run")
    assert torch.equal(weights(second), weights(whole))


# Surroundings

LAUNCHERS = {
    "SLURM": {
        "SLURM_JOB_ID": "1",
        "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": "4",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "3",
        "SLURM_NODEID": "1",
        "SLURM_NODELIST": "n1",
    },
    "torchrun": {
        "RANK": "3",
        "LOCAL_RANK": "3",
        "GROUP_RANK": "1",
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "4",
        "MASTER_ADDR": "nowhere",
        "MASTER_PORT": "1",
        "TORCHELASTIC_RUN_ID": "a",
    },
    "MPI": {
        "OMPI_COMM_WORLD_RANK": "3",
        "OMPI_COMM_WORLD_SIZE": "4",
        "PMI_RANK": "3",
        "PMI_SIZE": "4",
    },
    "LSF": {
        "LSB_JOBID": "1",
        "LSB_DJOB_RANKFILE": "no",
        "JSM_NAMESPACE_SIZE": "4",
    },
    "fabric run": {
        "LT_CLI_USED": "1",
        "LT_ACCELERATOR": "cuda",
        "LT_STRATEGY": "ddp",
        "LT_DEVICES": "4",
        "LT_NUM_NODES": "2",
        "LT_PRECISION": "bf16-mixed",
    },
    "another seed": {"PL_GLOBAL_SEED": "5", "NODE_RANK": "2"},
}


@pytest.fixture(scope="module")
def at_home():
    """A run of one process without any launcher."""
    return qbm(two_clusters()).fit(**FIT)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_no_launcher_changes_a_run_of_one_process(
    launcher, adata, at_home, monkeypatch
):
    for name, value in LAUNCHERS[launcher].items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    assert_same(qbm(adata).fit(**FIT), at_home)
    assert dict(os.environ) == before


def test_apples_gpu_is_used_only_when_named(adata, at_home, monkeypatch):
    from lightning_fabric.accelerators.mps import MPSAccelerator

    monkeypatch.setattr(MPSAccelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    model = qbm(adata).fit(**FIT)
    assert_same(model, at_home)
    assert next(model.module.parameters()).device.type == "cpu"


def test_the_cpu_may_be_named(adata, at_home):
    for device in ("cpu", torch.device("cpu")):
        assert_same(qbm(adata).fit(**FIT, device=device), at_home)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_here_is_one_sentence(device, adata, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=f"'{device}', and PyTorch finds 0"):
        qbm(adata).fit(**FIT, device=device)


def test_another_default_dtype_changes_no_training(adata, at_home):
    torch.set_default_dtype(torch.float64)
    try:
        model = qbm(adata).fit(**FIT)
        assert torch.get_default_dtype() == torch.float64
        doubled = qbm(adata)
        doubled.module.double()
        with pytest.raises(ValueError, match=r"is torch.float64.*\.float\(\)"):
            doubled.fit(**FIT)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same(model, at_home)


def test_threads_that_another_library_has_reset_change_nothing(adata, at_home):
    """As numba does: OpenMP's number in one thread, behind torch's back."""
    before = torch.get_num_threads()
    openmp = ctypes.CDLL(None)
    openmp.omp_set_num_threads(before + 1)
    try:
        assert torch.get_num_threads() == before + 1
        with seeded(0):
            assert torch.get_num_threads() == before
    finally:
        torch.set_num_threads(before)


def test_numbers_of_numpy_are_plain_ones(adata, tmp_path):
    plain = {
        "max_epochs": 12,
        "batch_size": 50,
        "kl_warmup": 2,
        "patience": 3,
        "kl_weight": 0.5,
        "lr": float(np.float32(3e-3)),
        "validation": 0.25,
    }
    path = tmp_path / "run"
    model = GaussianVAE(adata, n_latent=3).fit(**plain, progress=False)
    numpy = {
        name: (np.int64 if isinstance(value, int) else np.float32)(value)
        for name, value in plain.items()
    }
    other = GaussianVAE(adata, n_latent=3)
    other.fit(**numpy, progress=np.False_, resume=path)
    assert_same(other, model)
    json.dumps(other.history_)
    GaussianVAE(adata, n_latent=3).fit(**plain, progress=False, resume=path)


# Checkpoints


def assert_same(one, other):
    """Same losses, validations, weights and chains, to the last bit."""
    assert one.history_ == other.history_
    found, again = state_tensors(one.module), state_tensors(other.module)
    assert found.keys() == again.keys()
    for name, value in found.items():
        assert torch.equal(value, again[name]), name


@pytest.fixture(scope="module")
def new_process():
    """Start `train_and_die` in a process that never saw this one's state."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["lightning_fabric", "anndata", "neal", "qbmvae_mini.models"]
    )

    def start(*args):
        process = context.Process(target=train_and_die, args=args)
        process.start()
        return process

    return start


def epochs_done(path):
    """Epochs in a checkpoint, which must not be torn."""
    return len(read_tensors(path)[1]["history"])


@pytest.mark.parametrize("sampler", ["gibbs", "neal"])
def test_a_training_killed_again_and_again_ends_the_same(
    sampler, new_process, tmp_path, monkeypatch
):
    checkpoint = tmp_path / "run.safetensors"
    deaths = [
        # Each process writes once before it begins.
        ("in the middle of writing", 0, None),
        ("in the middle of writing", 1, 0),
        ("in the middle of an epoch", 1, 1),
        ("in the middle of writing", 3, 3),
        ("before renaming", 3, 5),
        ("after renaming", 3, 8),
        ("in the middle of an epoch", 3, 11),
    ]
    for moment, saves, done in deaths:
        process = new_process(tmp_path, sampler, moment, saves)
        process.join()
        assert process.exitcode == -signal.SIGKILL, moment
        there = checkpoint.exists()
        assert (epochs_done(checkpoint) if there else None) == done, moment
        # One at most: the next process clears what the last one left.
        torn = moment in ("in the middle of writing", "before renaming")
        assert len(list(tmp_path.glob(".*"))) == torn
    process = new_process(tmp_path, sampler, None, 0)
    process.join()
    assert process.exitcode == 0

    monkeypatch.setattr(training, "VALIDATE_EVERY", 1)
    whole = fit_to_kill(TO_KILL[sampler]())
    resumed = QBMVAE.load(
        tmp_path / "done",
        two_clusters(),
        sampler=TO_KILL[sampler]().module.latent.sampler,
    )
    assert_same(resumed, whole)
    assert not list(tmp_path.glob(".*"))
    assert len(whole.history_) == 16
    # Chains, or the number of calls, go on the same too.
    assert resumed.generate(9).to_df().equals(whole.generate(9).to_df())


def test_a_training_killed_at_random_ends_the_same():
    rows = kills.run(6, ["gibbs", "gaussian", "mixture"])
    assert sum(killed for _, killed, _ in rows.values()) == 6
    assert all(apart == 0.0 for *_, apart in rows.values())


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("validation", [0, 0.2])
def test_a_longer_run_may_go_on_from_a_shorter_one(
    name, validation, adata, tmp_path
):
    settings = FIT | {"validation": validation, "max_epochs": 2 * EVERY + 3}
    whole = MAKE[name](adata).fit(**settings)
    checkpoint = tmp_path / "new" / "place" / "run.safetensors"
    shorter = settings | {"max_epochs": EVERY + 1, "resume": checkpoint}
    MAKE[name](adata).fit(**shorter)
    assert epochs_done(checkpoint) == EVERY
    resumed = MAKE[name](adata).fit(**settings, resume=checkpoint)
    assert_same(resumed, whole)


def test_a_finished_run_is_not_trained_again(adata, tmp_path, monkeypatch):
    settings = FIT | {"max_epochs": 2 * EVERY, "resume": tmp_path / "run"}
    first = GaussianVAE(adata, n_latent=3).fit(**settings)
    before = (tmp_path / "run").read_bytes()
    monkeypatch.setattr(VAE, "forward", None)
    again = GaussianVAE(adata, n_latent=3).fit(**settings)
    assert_same(first, again)
    assert (tmp_path / "run").read_bytes() == before


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Checkpoint of a short run."""
    path = tmp_path_factory.mktemp("checkpoint") / "run.safetensors"
    GaussianVAE(two_clusters(), n_latent=3).fit(**FIT, resume=path)
    return path


def deeper():
    adata = two_clusters()
    adata.X = adata.X * 2
    return adata


@pytest.mark.parametrize(
    ("make", "setting", "words"),
    [
        (MAKE["qbm"], {}, "latent was GaussianLatent, is BoltzmannLatent"),
        (lambda a: GaussianVAE(a, n_latent=4), {}, "number of weights was"),
        (
            lambda a: MAKE["gaussian"](a, n_hidden=8),
            {},
            "n_hidden was 128, is 8",
        ),
        (lambda a: MAKE["gaussian"](a, seed=3), {}, "seed was 0, is 3"),
        (lambda a: MAKE["gaussian"](a[:60]), {}, "cells was 108, is 54"),
        (
            lambda a: MAKE["gaussian"](deeper()),
            {},
            "counts of the cells differ",
        ),
        (MAKE["gaussian"], {"lr": 0.1}, "lr was 0.003, is 0.1"),
        (MAKE["gaussian"], {"batch_size": 7}, "batch_size was 50, is 7"),
        (MAKE["gaussian"], {"kl_warmup": 9}, "kl_warmup was 2, is 9"),
        (MAKE["gaussian"], {"kl_weight": 0}, "kl_weight was 1.0, is 0.0"),
        (MAKE["gaussian"], {"kl_weight": 2}, "kl_weight was 1.0, is 2.0"),
        (MAKE["gaussian"], {"decoder_precision": 1}, "decoder_precision was 0"),
        (MAKE["gaussian"], {"validation": 0.3}, "validation cells was 12"),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(
    adata, checkpoint, make, setting, words
):
    before = checkpoint.read_bytes()
    with pytest.raises(ValueError, match=f"of another run.*{words}.*remove"):
        make(adata).fit(**FIT | setting, resume=checkpoint)
    assert checkpoint.read_bytes() == before


def renamed(adata, gene=None, batch=None):
    adata = adata.copy()
    if gene:
        names = adata.var_names.to_series().replace(*gene)
        adata.var_names = names.to_numpy()
    if batch:
        adata.obs["batch"] = adata.obs["batch"].replace(*batch)
    return adata


def qbm(adata, **more):
    return QBMVAE(adata, n_latent=8, batch_key="batch", **more)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda a: qbm(a[:, ::-1].copy()), "genes differ, the first at pla"),
        (lambda a: qbm(renamed(a, gene=("gene3", "x"))), "was gene3, is x"),
        (lambda a: qbm(renamed(a, batch=("left", "z"))), "was left, is right"),
        (lambda a: qbm(a, relaxation="score function"), "latent relaxation"),
        (lambda a: qbm(a, encoder_dropout=0.5), "encoder_dropout was 0.1, is"),
        (lambda a: qbm(a, decoder_dropout=0.5), "decoder_dropout was 0.1, is"),
        (lambda a: qbm(a, sampler=GibbsSampler(sweeps=1)), "sweeps was 5, is"),
        (lambda a: qbm(a, negatives=7), "negatives was 256, is 7"),
    ],
)
def test_a_refused_resume_leaves_model_and_file_as_they_were(
    make, words, adata, tmp_path
):
    path = tmp_path / "run"
    qbm(adata).fit(**FIT, resume=path)
    before = path.read_bytes()
    model = make(adata).fit(3, kl_warmup=0, progress=False)
    history, state = model.history_, state_of(model)
    with pytest.raises(ValueError, match=f"of another run.*{words}") as error:
        model.fit(**FIT, resume=path)
    assert len(str(error.value)) < 500
    assert model.history_ == history
    assert_equal(state_of(model), state)
    assert path.read_bytes() == before


def state_of(model):
    """A copy of weights and chains."""
    found = state_tensors(model.module)
    return {name: value.clone() for name, value in found.items()}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, rtol=0, atol=0, equal_nan=True, msg=name
        )


def test_a_part_that_refuses_its_state_has_all_put_back(
    adata, tmp_path, monkeypatch
):
    path = tmp_path / "run"
    qbm(adata).fit(**FIT, resume=path)
    model = qbm(adata).fit(3, kl_warmup=0, progress=False)
    history, state = model.history_, state_of(model)
    load = GibbsSampler.load_state_dict
    count = iter(range(9))

    def refuse(sampler, given):
        if next(count) == 0:
            raise ValueError("not mine")
        load(sampler, given)

    monkeypatch.setattr(GibbsSampler, "load_state_dict", refuse)
    with pytest.raises(ValueError, match="not mine"):
        model.fit(**FIT, resume=path)
    assert model.history_ == history
    assert_equal(state_of(model), state)


def test_a_run_goes_on_with_another_sampler_by_new_chains(adata, tmp_path):
    path = tmp_path / "run"
    longer = FIT | {"max_epochs": 2 * EVERY}
    TO_KILL["neal"]().fit(**FIT, resume=path)
    other = TO_KILL["gibbs"]()
    words = "latent sampler was DimodSampler, is Gibbs.*; go on.* new_chains=T"
    with pytest.raises(ValueError, match=words):
        other.fit(**longer, resume=path)
    other.fit(**longer, resume=path, new_chains=True)
    first = read_tensors(path)[1]["history"][:EVERY]
    assert len(other.history_) == 2 * EVERY
    assert other.history_[:EVERY] == first
    # From now on it is a run of the new sampler.
    third = TO_KILL["gibbs"]().fit(**longer | {"max_epochs": 23}, resume=path)
    assert len(third.history_) == 23
    # But no other difference is let pass.
    with pytest.raises(ValueError, match="lr was 0.003, is 0.1"):
        other.fit(**longer | {"lr": 0.1}, resume=path, new_chains=True)


def test_the_best_weights_of_an_old_sampler_may_be_the_result(
    adata, tmp_path, monkeypatch
):
    monkeypatch.setattr(training, "VALIDATE_EVERY", 1)
    path = tmp_path / "run"
    settings = FIT | {"kl_warmup": 0}
    first = TO_KILL["neal"]().fit(**settings | {"max_epochs": 5}, resume=path)
    score = VAE.log_likelihood
    monkeypatch.setattr(VAE, "log_likelihood", lambda *a: score(*a) - 1000)
    more = TO_KILL["gibbs"]().fit(**settings, resume=path, new_chains=True)
    assert len(more.history_) == 5 + 6  # `patience` of them
    assert torch.equal(weights(first), weights(more))


def _edit(change):
    def edit(path):
        tensors, facts = read_tensors(path)
        change(tensors, facts)
        write_tensors(path, tensors, facts)

    return edit


EDITS = {
    "a fact less": lambda t, f: f.pop("history"),
    "a fact more": lambda t, f: f.update(future=1),
    "run": lambda t, f: f.update(run=[1]),
    "steps": lambda t, f: f.update({"averaged steps": 1.5}),
    "history": lambda t, f: f.update(history={}),
    "an entry": lambda t, f: f["history"].insert(0, 3),
    "an epoch": lambda t, f: f["history"].pop(3),
    "a loss": lambda t, f: f["history"][2].update(loss="1"),
    "a score": lambda t, f: f["history"][9].update(validation=None),
    "a word more": lambda t, f: f["history"][2].update(more=1),
    "names": lambda t, f: f.update(tensors=7),
    "no chains": lambda t, f: t.pop("now.sampler.chains"),
    "no noise": lambda t, f: t.pop("random"),
    "no generator": lambda t, f: t.pop("now.sampler.generator"),
    "no moments": lambda t, f: t.pop("optimizer.0.exp_avg"),
    "no average": lambda t, f: t.pop("average.0"),
    "no best": lambda t, f: [t.pop(n) for n in [*t] if n.startswith("best.")],
    "more": lambda t, f: t.update(more=torch.zeros(3)),
    "shape": lambda t, f: t.update({"average.0": torch.zeros(3)}),
    "double": lambda t, f: t.update({"average.0": t["average.0"].double()}),
    "NaN": lambda t, f: t["now.vae.encoder.0.weight"].fill_(math.nan),
    "NaN moments": lambda t, f: t["optimizer.0.exp_avg"].fill_(math.nan),
    "negative": lambda t, f: t["optimizer.0.exp_avg_sq"].fill_(-1),
    "noise": lambda t, f: t["random"].fill_(0),
    "wide chains": lambda t, f: t.update(
        {"now.sampler.chains": torch.zeros(0, 8)}
    ),
}


@pytest.fixture(scope="module")
def good_run(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "run"
    qbm(two_clusters()).fit(**FIT, resume=path)
    return path.read_bytes()


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_checkpoint_is_one_sentence_and_changes_nothing(
    edit, good_run, adata, tmp_path
):
    path = tmp_path / "run"
    path.write_bytes(good_run)
    _edit(EDITS[edit])(path)
    before = path.read_bytes()
    model = qbm(adata)
    state = state_of(model)
    words = "(edited or is damaged|is no checkpoint|chains of a Gibbs).*"
    with pytest.raises(ValueError, match=words):
        model.fit(**FIT, resume=path)
    assert_equal(state_of(model), state)
    assert model.history_ == []
    if edit != "wide chains":  # which the sampler alone can tell
        assert path.read_bytes() == before


def test_what_is_no_checkpoint_is_refused_and_kept(adata, tmp_path):
    model = GaussianVAE(adata, n_latent=3)
    model.save(tmp_path)
    (saved,) = tmp_path.glob("*.safetensors")
    with pytest.raises(ValueError, match="no checkpoint of a training run"):
        model.fit(**FIT, resume=saved)
    for content in (b"", b"my notes", saved.read_bytes()[:-1]):
        (tmp_path / "other").write_bytes(content)
        with pytest.raises(ValueError, match=r"other' is damaged.*remove it"):
            model.fit(**FIT, resume=tmp_path / "other")
        assert (tmp_path / "other").read_bytes() == content


def test_a_place_that_cannot_be_written_is_refused_before_training(
    adata, tmp_path, monkeypatch
):
    monkeypatch.setattr(VAE, "forward", None)
    model = GaussianVAE(adata, n_latent=3)
    with pytest.raises(IsADirectoryError, match="resume is a file to write"):
        model.fit(**FIT, resume=tmp_path)
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    for place in (
        tmp_path / "file" / "run",
        "/proc/nowhere/run",
        tmp_path / ("x" * 256),
        tmp_path / "pipe",
        "/dev/null",
    ):
        with pytest.raises(OSError, match="cannot be written|a file to write"):
            model.fit(**FIT, resume=place)
    with pytest.raises(TypeError, match="resume is the path of a file, not 3"):
        model.fit(**FIT, resume=3)
    assert model.history_ == []


def test_a_disk_that_fills_up_loses_nothing_that_was_found(
    adata, tmp_path, monkeypatch
):
    path = tmp_path / "run"
    settings = FIT | {"max_epochs": 3 * EVERY, "lr": 0.01}
    whole = GaussianVAE(adata, n_latent=3).fit(**settings)
    fsync, count = os.fsync, iter(range(99))

    def full(file):
        # Twice a write: at the start, then after ten epochs, then after twenty.
        if next(count) >= 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(file)

    model = GaussianVAE(adata, n_latent=3)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left .*make room.*run'"):
        model.fit(**settings, resume=path)
    monkeypatch.undo()
    assert model.history_ == whole.history_[: 2 * EVERY]
    best = GaussianVAE(adata, n_latent=3)
    best.fit(**settings | {"max_epochs": 2 * EVERY})
    assert torch.equal(weights(model), weights(best))
    assert epochs_done(path) == EVERY
    assert os.listdir(tmp_path) == ["run"]
    assert_same(model.fit(**settings, resume=path), whole)


def test_two_runs_do_not_share_a_checkpoint(adata, tmp_path):
    path = tmp_path / "run"
    settings = FIT | {"max_epochs": 2 * EVERY, "resume": path}
    other = GaussianVAE(adata, n_latent=3)
    said = []

    def act(machine):
        with pytest.raises(OSError, match="another run") as error:
            other.fit(**settings)
        said.append(str(error.value))

    model = qbm(adata, sampler=Stops(7, act)).fit(**settings)
    assert len(said) == 1
    assert str(path) in said[0]
    assert other.history_ == []
    assert epochs_done(path) == len(model.history_) == 2 * EVERY
    # And it is free again.
    assert len(qbm(adata, sampler=Stops(0, act)).fit(**settings).history_)


def test_a_file_that_another_run_has_put_there_stays(adata, tmp_path):
    path = tmp_path / "run"

    def act(machine):
        (tmp_path / "other").write_bytes(b"of another run")
        os.replace(tmp_path / "other", path)

    model = qbm(adata, sampler=Stops(7, act))
    with pytest.raises(OSError, match="another run has put its own.*it stays"):
        model.fit(**FIT, resume=path)
    assert path.read_bytes() == b"of another run"
    assert len(model.history_) == EVERY


def test_a_checkpoint_is_no_pickle(checkpoint):
    start = checkpoint.read_bytes()[:9]
    # A safetensors file opens with the length of its JSON header.
    assert int.from_bytes(start[:8], "little") < checkpoint.stat().st_size
    assert start[8:] == b"{"
