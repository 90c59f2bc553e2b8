"""Training that is interrupted, resumed, or resumed from something else."""

import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import torch

from faults.harness import SHORT, case, cells, same_numbers, says
from qbmvae_mini import (
    BernoulliLatent,
    BoltzmannLatent,
    BoltzmannMachine,
    CellVAE,
    DimodSampler,
    ExactSampler,
    GaussianLatent,
    GibbsSampler,
    MixtureLatent,
    TemperingSampler,
)
from qbmvae_mini.models import QBMVAE, GaussianVAE

SECTION = "runs"


def _neal():
    import neal

    return DimodSampler(neal.SimulatedAnnealingSampler(), num_sweeps=5)


#: Models of every kind of latent and sampler, to be interrupted.
KINDS = {
    "Gibbs": lambda a: QBMVAE(a, n_latent=8, sampler=GibbsSampler(32, 2)),
    "tempering": lambda a: QBMVAE(
        a,
        n_latent=8,
        sampler=TemperingSampler(8, 3, sweeps=2),
        relaxation="overlapping exponentials",
    ),
    "fresh chains": lambda a: QBMVAE(
        a,
        n_latent=8,
        sampler=GibbsSampler(32, 2, persistent=False),
        relaxation="score function",
    ),
    "neal": lambda a: QBMVAE(a, n_latent=8, sampler=_neal(), negatives=16),
    "exact": lambda a: QBMVAE(
        a,
        n_latent=8,
        sampler=ExactSampler(),
        relaxation="spike-and-exponential",
    ),
    "Gaussian": lambda a: GaussianVAE(a, n_latent=4, encoder_dropout=0.3),
    "mixture": lambda a: CellVAE(a, MixtureLatent(4, components=3)),
    "Bernoulli, concrete": lambda a: CellVAE(
        a, BernoulliLatent(8, relaxation="binary concrete")
    ),
    "a ring": lambda a: CellVAE(
        a,
        BoltzmannLatent(
            BoltzmannMachine(8, [(i, (i + 1) % 8) for i in range(8)]),
            GibbsSampler(32, 2),
        ),
    ),
    "batches": lambda a: QBMVAE(a, n_latent=8, batch_key="batch"),
}


def _interrupted(model, after, **how):
    """Fit, and be interrupted at the n-th gradient."""
    seen = iter(range(10**6))

    def stop(gradient):
        if next(seen) == after:
            raise KeyboardInterrupt

    weight = next(model.module.decoder.parameters())
    hook = weight.register_hook(stop)
    try:
        model.fit(40, **SHORT, **how)
    except KeyboardInterrupt:
        return
    finally:
        hook.remove()
    raise AssertionError("it was not interrupted")


@case(SECTION, "Ctrl-C, then resumed", *KINDS)
def resumed_after_interrupt(kind):
    """The same object and a new one end as if nothing had happened."""
    whole = KINDS[kind](cells()).fit(40, **SHORT)
    model = KINDS[kind](cells())
    _interrupted(model, after=61, resume="ck")
    model.fit(40, resume="ck", **SHORT)
    same_numbers(model, whole)
    assert model.history_ == whole.history_
    other = KINDS[kind](cells())
    shutil.copy("ck", "ck2")
    other.fit(40, resume="ck2", **SHORT)
    same_numbers(other, whole)


@case(SECTION, "Ctrl-C without a checkpoint", *KINDS)
def interrupted(kind):
    """History and the best weights so far are there, gradients are not."""
    model = KINDS[kind](cells())
    _interrupted(model, after=61)
    assert len(model.history_) >= 20, len(model.history_)
    best = KINDS[kind](cells()).fit(20, **SHORT)
    assert model.history_[:20] == best.history_[:20]
    same_numbers(model, best)
    assert not model.module.training
    grads = [p.grad for p in model.module.parameters()]
    assert all(g is None or not g.any() for g in grads)


def _checkpoint(kind="Gibbs"):
    KINDS[kind](cells()).fit(20, resume="ck", **SHORT)
    return Path("ck")


def _untouched(model, call, *words):
    """`call` is refused, and the model is bit for bit what it was."""
    before = {k: v.clone() for k, v in model.module.state_dict().items()}
    history = list(model.history_)
    file = Path("ck").read_bytes()
    said = says(call, *words)
    after = model.module.state_dict()
    assert all(
        torch.equal(v, after[k]) or (v != v).all() for k, v in before.items()
    )
    assert model.history_ == history
    assert Path("ck").read_bytes() == file, "the file has changed"
    return said


@case(
    SECTION,
    "the checkpoint of another",
    ("relaxation", {"relaxation": "score function"}, {}),
    ("dropout of the encoder", {"encoder_dropout": 0.5}, {}),
    ("dropout of the decoder", {"decoder_dropout": 0.5}, {}),
    ("seed", {"seed": 5}, {}),
    ("number of sweeps", {"sampler": GibbsSampler(32, 1)}, {}),
    ("sampler", {"sampler": TemperingSampler(8, 3)}, {}),
    ("width of the code", {"n_latent": 16}, {}),
    ("hidden layer", {"n_hidden": 64}, {}),
    ("rate", {}, {"lr": 1e-4}),
    ("batch size", {}, {"batch_size": 20}),
    ("weight of the KL", {}, {"kl_weight": 0.5}),
    ("precision", {}, {"decoder_precision": 20}),
    ("patience", {}, {"patience": 2}),
    ("share of validation", {}, {"validation": 0.2}),
)
def another_run(name, build, how):
    _checkpoint()
    given = {"n_latent": 8, "sampler": GibbsSampler(32, 2)} | build
    model = QBMVAE(cells(), **given).fit(1, validation=0, **SHORT)
    said = _untouched(
        model, lambda: model.fit(30, resume="ck", **SHORT | how), "ck"
    )
    assert len(said) < 400, said


@case(
    SECTION,
    "the checkpoint of other cells",
    ("genes reversed", lambda a: a[:, ::-1].copy()),
    ("cells in another order", lambda a: a[::-1].copy()),
    ("one count more", lambda a: _one_more(a)),
    ("a gene of another name", lambda a: _renamed(a)),
)
def other_cells(name, change):
    _checkpoint()
    model = KINDS["Gibbs"](change(cells()))
    _untouched(model, lambda: model.fit(30, resume="ck", **SHORT), "ck")


def _one_more(adata):
    adata = adata.copy()
    adata.X[0, 0] += 1
    return adata


def _renamed(adata):
    adata = adata.copy()
    adata.var_names = ["other", *adata.var_names[1:]]
    return adata


@case(SECTION, "the checkpoint of batches of other names")
def other_batches():
    KINDS["batches"](cells()).fit(20, resume="ck", **SHORT)
    adata = cells()
    swap = {"left": "zright", "right": "aleft"}
    adata.obs["batch"] = adata.obs.batch.map(swap)
    model = KINDS["batches"](adata)
    _untouched(model, lambda: model.fit(30, resume="ck", **SHORT), "ck")


@case(SECTION, "a checkpoint of another kind of latent or sampler", *KINDS)
def other_kind(kind):
    _checkpoint(kind)
    for name, build in KINDS.items():
        if name != kind:
            model = build(cells())
            _untouched(model, lambda m=model: m.fit(30, resume="ck", **SHORT))


@case(SECTION, "a checkpoint cut to", 0, 7, 500, 3000, 9000)
def torn(size):
    path = _checkpoint()
    path.write_bytes(path.read_bytes()[:size])
    model = KINDS["Gibbs"](cells())
    _untouched(model, lambda: model.fit(30, resume="ck", **SHORT), "ck")


@case(SECTION, "a checkpoint with single bits flipped, thirty times")
def flipped():
    path = _checkpoint()
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    model = KINDS["Gibbs"](cells())
    for _ in range(30):
        broken = bytearray(whole)
        broken[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        _untouched(model, lambda: model.fit(30, resume="ck", **SHORT), "ck")


@case(SECTION, "a checkpoint whose second half is zeros")
def zeroed():
    path = _checkpoint()
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2 :] = bytes(len(whole) - len(whole) // 2)
    path.write_bytes(whole)
    model = KINDS["Gibbs"](cells())
    _untouched(model, lambda: model.fit(30, resume="ck", **SHORT), "ck")


@case(SECTION, "a checkpoint that is", "a model", "a pickle", "text", "dir")
def no_checkpoint(kind):
    if kind == "model" or kind == "a model":
        QBMVAE(cells(), n_latent=8).save("M")
        (weights,) = Path("M").glob("*.safetensors")
        shutil.copy(weights, "ck")
    elif kind == "a pickle":
        Path("ck").write_bytes(b"cos\nsystem\n(S'touch bang'\ntR.")
    elif kind == "text":
        Path("ck").write_text("my notes")
    else:
        Path("ck").mkdir()
    model = KINDS["Gibbs"](cells())
    says(lambda: model.fit(30, resume="ck", **SHORT), "ck")
    assert not Path("bang").exists()
    if kind == "text":
        assert Path("ck").read_text() == "my notes"


def _facts(path):
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, dict(file.metadata())


@case(SECTION, "each tensor of a checkpoint taken out")
def fewer_tensors():
    from safetensors.torch import save_file

    path = _checkpoint()
    tensors, facts = _facts(path)
    model = KINDS["Gibbs"](cells())
    for name in tensors:
        rest = {k: v for k, v in tensors.items() if k != name}
        save_file(rest, path, metadata=facts)
        _untouched(model, lambda: model.fit(30, resume="ck", **SHORT), "ck")


@case(SECTION, "facts of a checkpoint edited, without a digest to match")
def edited_facts():
    from safetensors.torch import save_file

    path = _checkpoint()
    tensors, metadata = _facts(path)
    model = KINDS["Gibbs"](cells())
    (key,) = (k for k in metadata if metadata[k].startswith("{"))
    facts = json.loads(metadata[key])
    for name in facts:
        for value in (None, "x", [], {}, -1, float("nan"), 99):
            changed = facts | {name: value}
            if changed == facts:
                continue
            text = metadata | {key: json.dumps(changed)}
            save_file(tensors, path, metadata=text)
            _untouched(model, lambda: model.fit(30, resume="ck", **SHORT))


@case(SECTION, "a finished run resumed")
def finished():
    path = _checkpoint()
    before = path.read_bytes()
    model = KINDS["Gibbs"](cells()).fit(20, resume="ck", **SHORT)
    same_numbers(model, KINDS["Gibbs"](cells()).fit(20, **SHORT))
    assert path.read_bytes() == before


@case(SECTION, "two runs on one checkpoint at a time")
def two_at_once():
    """Both end well or say so; the file belongs to one of them."""
    pids = []
    for seed in (1, 2):
        pid = os.fork()
        if pid == 0:
            status = 0
            try:
                QBMVAE(cells(), n_latent=8, seed=seed).fit(
                    60, resume="ck", **SHORT
                )
            except BaseException as error:
                status = 3 if "ck" in str(error) else 4
            os._exit(status)
        pids.append(pid)
    found = [os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in pids]
    assert set(found) <= {0, 3}, found
    assert 0 in found, "both were ended"
    owners = 0
    for seed in (1, 2):
        shutil.copy("ck", "copy")
        try:
            QBMVAE(cells(), n_latent=8, seed=seed).fit(
                60, resume="copy", **SHORT
            )
            owners += 1
        except ValueError:
            pass
    assert owners == 1, owners


@case(SECTION, "stopped and continued by signals, five times")
def stopped_and_continued():
    import time

    whole = KINDS["Gibbs"](cells()).fit(60, **SHORT)
    pid = os.fork()
    if pid == 0:
        KINDS["Gibbs"](cells()).fit(60, resume="ck", **SHORT)
        os._exit(0)
    for _ in range(5):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.05)
        os.kill(pid, signal.SIGCONT)
        time.sleep(0.05)
    assert os.waitpid(pid, 0)[1] == 0
    model = KINDS["Gibbs"](cells()).fit(60, resume="ck", **SHORT)
    same_numbers(model, whole)


@case(
    SECTION,
    "a setting that is",
    ("NaN rate", {"lr": float("nan")}),
    ("infinite rate", {"lr": float("inf")}),
    ("rate in words", {"lr": "fast"}),
    ("rate True", {"lr": True}),
    ("half an epoch", {"max_epochs": 1.5}),
    ("batch of 0", {"batch_size": 0}),
    ("batch True", {"batch_size": True}),
    ("validation NaN", {"validation": float("nan")}),
    ("validation in words", {"validation": "some"}),
    ("negative KL weight", {"kl_weight": -1.0}),
    ("negative precision", {"decoder_precision": -0.1}),
    ("patience 0", {"patience": 0}),
    ("resume a number", {"resume": 3}),
)
def bad_setting(name, how):
    model = GaussianVAE(cells(), n_latent=2)
    given = {"max_epochs": 2, "progress": False} | how
    says(lambda: model.fit(**given), next(iter(how)))
    assert not model.history_


@case(SECTION, "settings from NumPy")
def numpy_settings():
    numbers = {
        "max_epochs": np.int64(12),
        "batch_size": np.int32(50),
        "lr": np.float32(3e-3),
        "kl_warmup": np.int64(2),
        "kl_weight": np.float32(1),
        "decoder_precision": np.float32(20),
        "patience": np.uint8(6),
        "validation": np.float64(0.1),
        "progress": False,
    }
    model = QBMVAE(
        cells(),
        n_latent=np.int64(8),
        encoder_dropout=np.float32(0.1),
        decoder_dropout=np.float64(0.2),
        n_hidden=np.int32(16),
        seed=np.int64(3),
    )
    model.fit(resume="ck", **numbers).save("M")
    again = QBMVAE.load("M", cells())
    same_numbers(again, model)


@case(SECTION, "a part in two models", "latent", "sampler", "relaxation")
def shared_part(kind):
    """Refused, or as if each had a part of its own."""
    from qbmvae_mini.latents.relaxations import BinaryConcrete

    adata = cells()
    if kind == "latent":
        part = GaussianLatent(4)
        build = lambda: CellVAE(adata, part, seed=1)  # noqa: E731
    elif kind == "sampler":
        part = GibbsSampler(32, 2)
        build = lambda: QBMVAE(adata, n_latent=8, sampler=part)  # noqa: E731
    else:
        part = BinaryConcrete([1.0, 0.1, 10])
        build = lambda: QBMVAE(adata, n_latent=8, relaxation=part)  # noqa: E731
    first = build().fit(12, **SHORT)
    codes = first.get_latent_representation()
    try:
        second = build().fit(12, **SHORT)
    except ValueError:
        assert np.array_equal(codes, first.get_latent_representation())
        return
    assert np.array_equal(codes, first.get_latent_representation())
    same_numbers(first, second)
