"""Training: it learns, repeats itself, and survives being killed."""

import copy
import json
import math
import multiprocessing
import random
import signal

import numpy as np
import pytest
import torch
from synthetic import (
    FIT,
    fit_to_kill,
    model_to_kill,
    train_and_die,
    two_clusters,
    unchanged,
)

from qbmvae_mini.cells.counts import Cells
from qbmvae_mini.latents import BernoulliLatent
from qbmvae_mini.models import QBMVAE, CellVAE, GaussianVAE
from qbmvae_mini.samplers import GibbsSampler
from qbmvae_mini.vae import NegativeBinomial, checkpoints, training

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


class Stops:
    """Gibbs sampling that does something else at one of its calls."""

    def __init__(self, call, act):
        self.left, self.act = call, act
        self.child = GibbsSampler(chains=16, sweeps=1)

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
    assert validated == list(range(EVERY - 1, 23, EVERY))
    assert all(history[e]["validation"] < 0 for e in validated)
    json.dumps(history, allow_nan=False)


@pytest.fixture
def watched(monkeypatch):
    """A model stopped early, and what it was at each validation."""
    seen = []
    validate = training._validate

    def watch(vae, *rest):
        noise, then = torch.get_rng_state(), copy.deepcopy(vae.state_dict())
        score = validate(vae, *rest)
        seen.append((score, then, noise, rest))
        return score

    monkeypatch.setattr(training, "VALIDATE_EVERY", 1)
    monkeypatch.setattr(training, "_validate", watch)
    model = QBMVAE(two_clusters(), n_latent=8)
    model.fit(
        200, lr=0.02, kl_warmup=3, validation=0.2, patience=4, progress=False
    )
    return model, seen, validate


def test_early_stopping_restores_the_best_weights(watched):
    model, seen, _ = watched
    scores = [entry["validation"] for entry in model.history_]
    # Below full KL weight (the first two epochs) nothing is judged.
    best = 2 + int(np.argmax(scores[2:]))
    assert len(scores) == best + 1 + 4 < 200
    restored = model.module.state_dict()
    for name, value in seen[best][1].items():
        if not name.endswith("log_z"):  # estimated in the validation itself
            assert torch.equal(restored[name], value), name
    assert not torch.equal(
        restored["decoder.0.weight"], seen[-1][1]["decoder.0.weight"]
    )


def test_the_validation_in_history_can_be_worked_out_again(watched):
    model, seen, validate = watched
    scores = [entry["validation"] for entry in model.history_]
    assert scores == [score for score, *_ in seen]
    best = 2 + int(np.argmax(scores[2:]))
    _, _, noise, rest = seen[best]
    with torch.random.fork_rng():
        torch.set_rng_state(noise)
        again = validate(model.module, *rest)
    assert again == pytest.approx(scores[best], abs=1e-4)
    # And by the public way, with other noise.
    held_out, train = model._split(0.2)
    assert len(held_out) == 24
    assert set(held_out) | set(train) == set(range(120))
    samples = training.VALIDATION_SAMPLES
    public = model.get_log_likelihood(two_clusters()[held_out], samples)
    assert public.mean() == pytest.approx(scores[best], abs=0.3)


def test_scores_of_the_warm_up_and_vague_ones_are_not_judged(
    adata, monkeypatch
):
    # Full KL weight from the fourth epoch on; None: log Z was too vague.
    scores = [-1, -1, -1, -8, None, -9, None, -7, None, -8, -9, -10]
    kept = []

    def validate(vae, *rest):
        kept.append(copy.deepcopy(vae.state_dict()))
        return scores[len(kept) - 1]

    monkeypatch.setattr(training, "VALIDATE_EVERY", 1)
    monkeypatch.setattr(training, "_validate", validate)
    model = GaussianVAE(adata, n_latent=3)
    model.fit(50, kl_warmup=4, patience=3, progress=False)
    assert [entry["validation"] for entry in model.history_] == scores
    for name, value in model.module.state_dict().items():
        assert torch.equal(value, kept[scores.index(-7)][name])


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
    trained, validated = [], []
    train, validate = training._train_epoch, training._validate

    def watch_training(*args):
        trained.append(args[-2])
        return train(*args)

    def watch_validation(*args):
        validated.append(args[-1])
        return validate(*args)

    monkeypatch.setattr(training, "_train_epoch", watch_training)
    monkeypatch.setattr(training, "_validate", watch_validation)
    model = GaussianVAE(adata, n_latent=3)
    model.fit(**FIT | {"kl_warmup": warmup, "kl_weight": weight})
    rise = [0.25, 0.5, 0.75] if warmup else []
    expected = [weight * share for share in rise + [1] * (12 - len(rise))]
    assert trained == pytest.approx(expected)
    assert validated == [weight]


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
    ):
        with pytest.raises(ValueError, match="not -1|not 3"):
            trained.fit(**FIT | settings)
    GaussianVAE(adata, n_latent=3).fit(**FIT, resume=path)
    with pytest.raises(ValueError, match="kl_weight was 1.0, is 0.0"):
        trained.fit(**FIT, kl_weight=0, resume=path)
    assert np.isfinite(trained.get_log_likelihood()).all()

    without = GaussianVAE(adata, n_latent=3).fit(**FIT, kl_weight=0)
    with pytest.raises(ValueError, match="lr, the learning rate"):
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
        ({"lr": 0}, "lr, the learning rate, is above 0, not 0"),
        ({"lr": math.nan}, "lr, the learning rate, is above 0, not nan"),
        ({"kl_weight": -0.5}, "kl_weight is a finite number of at least 0, no"),
        ({"kl_weight": math.nan}, "kl_weight is a finite number.*not nan"),
        ({"kl_weight": math.inf}, "kl_weight is a finite number.*not inf"),
        ({"kl_weight": "1"}, "kl_weight is a finite number.*not '1'"),
        ({"kl_weight": None}, "kl_weight is a finite number.*not None"),
        ({"validation": -0.1}, "from 0 to below 1, not -0.1"),
        ({"validation": 1}, "validation is a share.*below 1, not 1"),
        ({"validation": 10}, "validation is a share.*below 1, not 10"),
        ({"validation": math.nan}, "validation is a share.*not nan"),
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


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_model_answers_without_dropout(adata, error):
    def act(machine):
        raise error

    model = QBMVAE(adata, n_latent=8, sampler=Stops(7, act))
    state = torch.get_rng_state()
    with unchanged(adata), pytest.raises(error):
        model.fit(**FIT)
    assert torch.equal(torch.get_rng_state(), state)
    assert not model.module.training
    first, second = (model.get_log_likelihood() for _ in range(2))
    np.testing.assert_array_equal(first, second)


# Checkpoints


def assert_same(one, other):
    """Same losses, validations and weights, to 1e-6."""
    assert len(one.history_) == len(other.history_)
    for a, b in zip(one.history_, other.history_, strict=True):
        assert a.keys() == b.keys()
        assert list(a.values()) == pytest.approx(list(b.values()), rel=1e-6)
    torch.testing.assert_close(
        weights(one), weights(other), rtol=1e-6, atol=1e-6
    )


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
    return len(checkpoints.read_tensors(path)[1]["history"])


@pytest.mark.parametrize("sampler", ["gibbs", "neal"])
def test_a_training_killed_again_and_again_ends_the_same(
    sampler, new_process, tmp_path, monkeypatch
):
    checkpoint = tmp_path / "run.safetensors"
    deaths = [
        ("in the middle of writing", 0, 0),
        ("in the middle of an epoch", 1, 1),
        ("in the middle of writing", 2, 3),
        ("before renaming", 2, 5),
        ("after renaming", 2, 8),
        ("in the middle of an epoch", 3, 11),
    ]
    for moment, saves, done in deaths:
        process = new_process(tmp_path, sampler, moment, saves)
        process.join()
        assert process.exitcode == -signal.SIGKILL, moment
        assert (epochs_done(checkpoint) if done else 0) == done
        assert checkpoint.exists() == (done > 0)
        left_over = tmp_path / "run.safetensors.new"
        torn = moment in ("in the middle of writing", "before renaming")
        assert left_over.exists() == torn
    process = new_process(tmp_path, sampler, None, 0)
    process.join()
    assert process.exitcode == 0

    monkeypatch.setattr(training, "VALIDATE_EVERY", 1)
    whole = fit_to_kill(model_to_kill(sampler))
    resumed = QBMVAE.load(
        tmp_path / "done",
        two_clusters(),
        sampler=model_to_kill(sampler).module.latent.sampler,
    )
    assert_same(resumed, whole)
    assert len(whole.history_) == 16
    # Chains, or the number of calls, go on the same too.
    assert resumed.generate(9).to_df().equals(whole.generate(9).to_df())


@pytest.mark.parametrize("sampler", ["gibbs", "neal"])
def test_a_training_killed_at_random_ends_the_same(
    sampler, new_process, tmp_path, monkeypatch
):
    checkpoint = tmp_path / "run.safetensors"
    killed = done = 0
    for _ in range(5):
        seconds = random.uniform(0.01, 0.1)  # all epochs take 0.2 or so
        process = new_process(tmp_path, sampler, seconds, 0)
        process.join()
        killed += process.exitcode == -signal.SIGVTALRM
        before, done = done, checkpoint.exists() and epochs_done(checkpoint)
        assert done >= before
    assert killed > 0
    process = new_process(tmp_path, sampler, None, 0)
    process.join()
    monkeypatch.setattr(training, "VALIDATE_EVERY", 1)
    whole = fit_to_kill(model_to_kill(sampler))
    resumed = QBMVAE.load(
        tmp_path / "done",
        two_clusters(),
        sampler=model_to_kill(sampler).module.latent.sampler,
    )
    assert_same(resumed, whole)


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
    assert resumed.history_ == whole.history_
    assert torch.equal(weights(resumed), weights(whole))


def test_a_finished_run_is_not_trained_again(adata, tmp_path, monkeypatch):
    settings = FIT | {"max_epochs": 2 * EVERY, "resume": tmp_path / "run"}
    first = GaussianVAE(adata, n_latent=3).fit(**settings)
    monkeypatch.setattr(training, "_train_epoch", None)
    again = GaussianVAE(adata, n_latent=3).fit(**settings)
    assert_same(first, again)


def test_a_left_over_half_written_file_does_no_harm(adata, tmp_path):
    checkpoint = tmp_path / "run"
    settings = FIT | {"max_epochs": EVERY}
    (tmp_path / "run.new").write_bytes(b"half a fi")
    first = GaussianVAE(adata, n_latent=3).fit(**settings, resume=checkpoint)
    assert epochs_done(checkpoint) == EVERY
    (tmp_path / "run.new").write_bytes(b"half a fi")
    longer = settings | {"max_epochs": 2 * EVERY}
    again = GaussianVAE(adata, n_latent=3).fit(**longer, resume=checkpoint)
    assert again.history_[:EVERY] == first.history_
    assert epochs_done(checkpoint) == 2 * EVERY
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


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
        (lambda a: GaussianVAE(a, n_latent=4), {}, "weights was"),
        (lambda a: MAKE["gaussian"](a, n_hidden=8), {}, "weights was"),
        (lambda a: MAKE["gaussian"](a, seed=3), {}, "seed was 0, is 3"),
        (lambda a: MAKE["gaussian"](a[:60]), {}, "cells was 108, is 54"),
        (lambda a: MAKE["gaussian"](deeper()), {}, "UMIs was"),
        (MAKE["gaussian"], {"lr": 0.1}, "lr was 0.003, is 0.1"),
        (MAKE["gaussian"], {"batch_size": 7}, "batch_size was 50, is 7"),
        (MAKE["gaussian"], {"kl_warmup": 9}, "kl_warmup was 2, is 9"),
        (MAKE["gaussian"], {"kl_weight": 0}, "kl_weight was 1.0, is 0.0"),
        (MAKE["gaussian"], {"kl_weight": 2}, "kl_weight was 1.0, is 2.0"),
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


def test_what_is_no_checkpoint_is_refused_and_kept(adata, tmp_path):
    model = GaussianVAE(adata, n_latent=3)
    model.save(tmp_path)
    saved = tmp_path / "weights.safetensors"
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
    monkeypatch.setattr(training, "_train_epoch", None)
    model = GaussianVAE(adata, n_latent=3)
    with pytest.raises(IsADirectoryError, match="resume is a file to write"):
        model.fit(**FIT, resume=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        model.fit(**FIT, resume=tmp_path / "file" / "run")
    with pytest.raises(OSError, match="/proc"):
        model.fit(**FIT, resume="/proc/nowhere/run")


def test_a_checkpoint_is_no_pickle(checkpoint):
    start = checkpoint.read_bytes()[:9]
    # A safetensors file opens with the length of its JSON header.
    assert int.from_bytes(start[:8], "little") < checkpoint.stat().st_size
    assert start[8:] == b"{"
