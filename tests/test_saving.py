"""A model in a folder and back: whole, tied together, or one sentence."""

import functools
import json
import math
import os
import pickle
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading

import neal
import numpy as np
import pytest
import torch
from synthetic import FIT, two_clusters, unchanged

from qbmvae_mini import latents
from qbmvae_mini.estimates import Bracket
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
    BinaryConcrete,
    OverlappingExponentials,
    Schedule,
    ScoreFunction,
    SpikeAndExponential,
)
from qbmvae_mini.machines import RBM, BoltzmannMachine, QuantumBoltzmannMachine
from qbmvae_mini.models import QBMVAE, CellVAE, GaussianVAE, saving
from qbmvae_mini.samplers import (
    DimodSampler,
    ExactSampler,
    GibbsSampler,
    PathIntegralSampler,
    Sampler,
    TemperingSampler,
)
from qbmvae_mini.vae import storage

RING = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (0, 5)]

#: A latent of each kind, with parts of all kinds.
LATENTS = {
    "gaussian": lambda: GaussianLatent(3),
    "mixture": lambda: MixtureLatent(3, components=7, draws=2, seed=5),
    "mixture of bits": lambda: BernoulliMixtureLatent(
        6, 7, relaxation=BinaryConcrete(0.3), draws=2, seed=5
    ),
    "belief network": lambda: SigmoidBeliefLatent(
        6, relaxation=ScoreFunction(), draws=2
    ),
    "bernoulli": lambda: BernoulliLatent(6, relaxation=BinaryConcrete(0.3)),
    "rbm": lambda: BoltzmannLatent(
        RBM(2, 3),
        TemperingSampler(chains=9, temperatures=3, sweeps=2, seed=4),
        relaxation=OverlappingExponentials(Schedule(2.0, 8.0, 9)),
        negatives=20,
    ),
    "ring": lambda: BoltzmannLatent(
        BoltzmannMachine(6, RING),
        GibbsSampler(chains=8, sweeps=3, persistent=False, seed=2),
        relaxation=ScoreFunction(),
    ),
    "all pairs": lambda: BoltzmannLatent(
        BoltzmannMachine(5),
        ExactSampler(seed=7),
        relaxation=SpikeAndExponential(2.0),
    ),
    "quantum": lambda: QuantumLatent(
        QuantumBoltzmannMachine(BoltzmannMachine(4), 0.5)
    ),
    "quantum by paths": lambda: QuantumLatent(
        QuantumBoltzmannMachine(RBM(2, 2), 0.7),
        PathIntegralSampler(sweeps=20, seed=3),
    ),
}


class Flips(Sampler):
    """A sampler of a reader's own."""

    def sample(self, machine, n):
        return torch.ones(n, machine.n_units)


class OwnConcrete(BinaryConcrete):
    """A relaxation of a reader's own, of the name of ours."""


class OwnLatent(GaussianLatent):
    """A latent of a reader's own."""


@pytest.fixture
def adata():
    return two_clusters()


@functools.cache
def trained(name):
    """A trained model; tests that change it make their own."""
    make = {
        "gaussian": lambda adata, **k: GaussianVAE(adata, n_latent=4, **k),
        "qbm": lambda adata, **k: QBMVAE(adata, n_latent=8, **k),
        "bernoulli": lambda adata, **k: CellVAE(adata, BernoulliLatent(6), **k),
    }
    return make[name](two_clusters(), batch_key="batch").fit(**FIT)


def answers(model, adata):
    """What a model says of cells, with as little as it needs."""
    return {
        "codes": model.get_latent_representation(adata),
        "energy": model.get_energy(adata),
        "likelihood": model.get_log_likelihood(adata, 5),
        "elbo": model.get_elbo(adata),
        "shares": model.get_normalized_expression(adata, 3),
        "new cells": model.generate(40).to_df().to_numpy(),
        "their batch": model.generate(40).obs.to_numpy(),
    }


def alike(one, other, adata):
    found = answers(other, adata)
    for name, value in answers(one, adata).items():
        np.testing.assert_array_equal(value, found[name], err_msg=name)


# --- what is saved is loaded ------------------------------------------------


@pytest.mark.parametrize("name", ["gaussian", "qbm", "bernoulli"])
def test_a_model_is_loaded_without_cells(name, adata, tmp_path):
    model = trained(name)
    model.save(tmp_path / "new" / "place")
    loaded = type(model).load(tmp_path / "new" / "place")
    assert type(loaded) is type(model)
    assert loaded.history_ == model.history_
    assert (loaded.genes, loaded.batches) == (model.genes, model.batches)
    alike(loaded, model, adata)


def test_without_cells_it_says_what_it_lacks(tmp_path):
    trained("qbm").save(tmp_path)
    loaded = QBMVAE.load(tmp_path)
    for ask in (
        loaded.get_energy,
        loaded.get_log_likelihood,
        loaded.get_elbo,
        loaded.fit,
    ):
        with pytest.raises(ValueError, match=r"hand over adata, or load it"):
            ask()


def test_cells_given_at_loading_are_read_where_no_others_are(adata, tmp_path):
    model = trained("qbm")
    model.save(tmp_path)
    with unchanged(adata):
        loaded = QBMVAE.load(tmp_path, adata[:, ::-1].copy())
    assert loaded.genes == list(adata.var_names)
    np.testing.assert_array_equal(loaded.get_energy(), model.get_energy())
    loaded.fit(**FIT | {"max_epochs": 1})
    assert len(loaded.history_) == 1


def test_cells_of_an_unseen_batch_do_not_become_new_ones(adata, tmp_path):
    model = trained("qbm")
    model.save(tmp_path)
    adata.obs["batch"] = "other"
    loaded = QBMVAE.load(tmp_path, adata)
    np.testing.assert_array_equal(
        loaded.get_latent_representation(), model.get_latent_representation()
    )
    words = r"'other' of adata\.obs\['batch'\].*training \(left, right\)"
    for ask in (loaded.get_elbo, loaded.fit):
        with pytest.raises(ValueError, match=words):
            ask()
    assert set(loaded.generate(30).obs["batch"]) == {"left", "right"}


@pytest.mark.parametrize("name", LATENTS)
def test_every_kind_of_latent_is_built_again(name, adata, tmp_path):
    model = CellVAE(adata, LATENTS[name](), n_hidden=16)
    model.fit(**FIT | {"max_epochs": 2, "validation": 0})
    model.save(tmp_path)
    loaded = CellVAE.load(tmp_path)
    one, other = model.module.latent, loaded.module.latent
    assert type(one) is type(other)
    assert one.settings() == other.settings()
    state, found = one.state(), other.state()
    assert state.keys() == found.keys()
    for part in state:
        assert torch.equal(state[part], found[part])
    alike(loaded, model, adata)


def test_the_graph_of_a_machine_is_that_of_the_file(adata, tmp_path):
    CellVAE(adata, LATENTS["ring"]()).save(tmp_path)
    machine = CellVAE.load(tmp_path).module.latent.machine
    assert machine.edges.T.tolist() == [list(edge) for edge in RING]


def test_the_haste_of_a_validation_is_not_in_what_is_reported(
    adata, tmp_path, monkeypatch
):
    """Above 24 + 24 bits log Z is estimated, roughly while training."""

    def bracket(machine, *, chains, temperatures, **more):
        value = 50 * math.log(2) + 1 / (chains + temperatures)
        return Bracket(value, value, value)

    monkeypatch.setattr(latents.boltzmann, "log_z_bracket", bracket)
    model = QBMVAE(adata, n_latent=50).fit(**FIT | {"max_epochs": 10})
    assert "validation" in model.history_[-1]
    model.save(tmp_path)
    loaded = QBMVAE.load(tmp_path)
    np.testing.assert_array_equal(
        loaded.get_log_likelihood(adata), model.get_log_likelihood()
    )


def test_any_class_above_loads_a_model_as_what_it_is(tmp_path):
    trained("gaussian").save(tmp_path)
    assert type(CellVAE.load(tmp_path)) is GaussianVAE
    words = r"holds a GaussianVAE, not a QBMVAE; call GaussianVAE\.load"
    with pytest.raises(ValueError, match=words):
        QBMVAE.load(tmp_path)

    class Mine(QBMVAE):
        """A class of a reader's own."""

    Mine(two_clusters(), n_latent=4).save(tmp_path)
    assert type(Mine.load(tmp_path)) is type(QBMVAE.load(tmp_path)) is Mine


def test_genes_that_are_missing_are_named(adata, tmp_path):
    trained("gaussian").save(tmp_path)
    part = adata[:, :-1].copy()
    with unchanged(part), pytest.raises(KeyError, match="lacks 1 .*'gene29'"):
        GaussianVAE.load(tmp_path, part)


# --- parts that no file holds -----------------------------------------------


def test_a_sampler_on_somebody_elses_is_handed_over(adata, tmp_path):
    child = neal.SimulatedAnnealingSampler()
    QBMVAE(adata, n_latent=8, sampler=DimodSampler(child)).save(tmp_path)
    words = r"sampler that no file holds; pass sampler=DimodSampler\(\.\.\.\), "
    with pytest.raises(TypeError, match=words + "or another one"):
        QBMVAE.load(tmp_path)
    for sampler in (DimodSampler(child), ExactSampler(), GibbsSampler()):
        loaded = QBMVAE.load(tmp_path, sampler=sampler)
        assert loaded.module.latent.sampler is sampler


def test_a_class_of_ones_own_is_not_taken_for_ours(adata, tmp_path):
    """Even where it has the name of one of ours."""

    class GibbsSampler(Flips):
        pass

    QBMVAE(adata, n_latent=4, sampler=GibbsSampler()).save(tmp_path)
    with pytest.raises(TypeError, match=r"pass sampler=GibbsSampler\(\.\.\.\)"):
        QBMVAE.load(tmp_path)

    QBMVAE(adata, n_latent=4, relaxation=OwnConcrete(0.3)).save(tmp_path)
    with pytest.raises(TypeError, match=r"pass relaxation=OwnConcrete\(\.\.\."):
        QBMVAE.load(tmp_path)
    loaded = QBMVAE.load(tmp_path, relaxation=OwnConcrete(0.3))
    assert type(loaded.module.latent.relaxation) is OwnConcrete

    CellVAE(adata, OwnLatent(3)).save(tmp_path)
    with pytest.raises(TypeError, match=r"pass latent=OwnLatent\(\.\.\.\)"):
        CellVAE.load(tmp_path)
    latent = OwnLatent(3)
    assert CellVAE.load(tmp_path, latent=latent).module.latent is latent


def test_a_part_without_a_place_is_refused(tmp_path):
    trained("gaussian").save(tmp_path)
    with pytest.raises(TypeError, match="sampler= has no place in the Gauss"):
        GaussianVAE.load(tmp_path, sampler=GibbsSampler())
    trained("qbm").save(tmp_path)
    parts = {"latent": GaussianLatent(4), "sampler": GibbsSampler()}
    with pytest.raises(TypeError, match="sampler= has no place|latent= has no"):
        QBMVAE.load(tmp_path, **parts)


@pytest.mark.parametrize("latent", [BernoulliLatent(8), GaussianLatent(3)])
def test_a_latent_of_another_shape_does_not_fit(latent, tmp_path):
    trained("bernoulli").save(tmp_path)
    words = f"do not fit.*{type(latent).__name__} of width"
    with pytest.raises(ValueError, match=words):
        CellVAE.load(tmp_path, latent=latent)


# --- whole, or not there ----------------------------------------------------


def test_nothing_is_pickled(adata, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a pickle was touched")

    for module in (pickle, torch):
        for call in ("load", "dump", "save", "loads", "dumps"):
            monkeypatch.setattr(module, call, refuse, raising=False)
    trained("qbm").save(tmp_path)
    QBMVAE.load(tmp_path)
    facts, weights = sorted(path.name for path in tmp_path.iterdir())
    assert facts == "model.json"
    assert re.fullmatch(r"weights\.[0-9a-f]{16}\.safetensors", weights)
    said = json.loads((tmp_path / "model.json").read_text())
    assert (said["weights"], said["class"]) == (weights, "QBMVAE")
    assert not {"cell0", "cell1"} & set(map(str, said.values()))


def test_saving_again_replaces_the_old_model_and_nothing_else(adata, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "weights.safetensors").write_text("of an older version")
    trained("gaussian").save(tmp_path)
    GaussianVAE(adata, n_latent=2, seed=1).save(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names[:2] == ["model.json", "notes.txt"] and len(names) == 3
    loaded = GaussianVAE.load(tmp_path)
    assert loaded.get_latent_representation(adata).shape[1] == 2


def test_a_full_disk_leaves_the_old_model_and_no_other_weights(
    adata, tmp_path, monkeypatch
):
    GaussianVAE(adata, n_latent=2).save(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    write = saving.write_file

    def full(path, content):
        if path.name == "model.json":
            raise OSError(28, "No space left on device", str(path))
        return write(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(saving, "write_file", full)
        with pytest.raises(OSError, match="No space left"):
            GaussianVAE(adata, n_latent=3).save(tmp_path)
        with pytest.raises(OSError, match="No space left"):
            GaussianVAE(adata, n_latent=2).save(tmp_path)  # the same weights
    assert {path.name for path in tmp_path.iterdir()} == names
    assert GaussianVAE.load(tmp_path).module.latent.n_latent == 2


def test_two_that_save_at_once_leave_one_whole_model(adata, tmp_path):
    models = [GaussianVAE(adata, n_latent=n) for n in (2, 3)]
    threads = [
        threading.Thread(
            target=lambda m=m: [m.save(tmp_path) for _ in range(20)]
        )
        for m in models
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(tmp_path.iterdir())) == 2
    assert GaussianVAE.load(tmp_path).module.latent.n_latent in (2, 3)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("call", range(1, 9))
def test_a_kill_leaves_the_old_model_or_the_new_one(call, tmp_path, adata):
    """At each call that changes the disk; the next save clears up."""
    GaussianVAE(adata, n_latent=2).save(tmp_path)
    script = f"""
import os, pathlib, signal, sys
sys.path[:0] = {sys.path!r}
from synthetic import two_clusters
from qbmvae_mini.models import GaussianVAE

left = {call}
def deadly(call):
    def wrapped(*args, **kwargs):
        global left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return call(*args, **kwargs)
    return wrapped

model = GaussianVAE(two_clusters(), n_latent=3)
os.replace, os.fsync, os.unlink = map(
    deadly, (os.replace, os.fsync, os.unlink)
)
pathlib.os.unlink = os.unlink
model.save({str(tmp_path)!r})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    if done.returncode == 0:
        assert call > 6  # two files, each synced, renamed and synced again
    else:
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    width = GaussianVAE.load(tmp_path).module.latent.n_latent
    assert width in (2, 3)
    if call in (1, 8):
        assert width == (2 if call == 1 else 3)
    GaussianVAE(adata, n_latent=4).save(tmp_path)
    names = [path.name for path in tmp_path.iterdir()]
    assert len(names) == 2, names


def test_a_copied_directory_is_a_saved_model(adata, tmp_path):
    trained("qbm").save(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    shutil.rmtree(tmp_path / "one")
    alike(QBMVAE.load(tmp_path / "two"), trained("qbm"), adata)


def test_a_model_is_readable_by_whom_the_umask_lets(tmp_path):
    before = os.umask(0o027)
    try:
        trained("gaussian").save(tmp_path / "model")
    finally:
        os.umask(before)
    for path in (tmp_path / "model").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_saving_where_no_folder_can_be_says_so(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(FileExistsError, match="taken' is a file; name a fold"):
        trained("gaussian").save(tmp_path / "taken")


def test_weights_that_are_no_numbers_are_not_saved(adata, tmp_path):
    trained("gaussian").save(tmp_path)
    model = GaussianVAE(adata, n_latent=2)
    with torch.no_grad():
        model.module.decoder[4].bias[3] = math.inf
    with pytest.raises(ValueError, match=r"infinite weights in decoder\.4\.bi"):
        model.save(tmp_path)
    assert GaussianVAE.load(tmp_path).module.latent.n_latent == 4


# --- damaged, foreign, edited -----------------------------------------------


@pytest.fixture
def saved(tmp_path):
    trained("qbm").save(tmp_path)
    return tmp_path


def weights_of(folder):
    (path,) = folder.glob("weights.*.safetensors")
    return path


def rewrite(folder, change, tensors_too=None):
    """Save again with other facts, as somebody would who knows the digest."""
    tensors, facts = storage.read_tensors(weights_of(folder))
    change(facts)
    if tensors_too is not None:
        tensors_too(tensors)
    about = json.loads((folder / "model.json").read_text())
    storage.write_tensors(weights_of(folder), tensors, facts)
    about = {"format": about["format"], "weights": about["weights"], **facts}
    (folder / "model.json").write_text(json.dumps(about))


def refused(folder, words, error=ValueError):
    with pytest.raises(error, match=words) as found:
        CellVAE.load(folder)
    assert str(folder) in str(found.value)
    assert "\n" not in str(found.value)


def test_a_folder_without_a_model_is_named(tmp_path):
    for place in (tmp_path, tmp_path / "absent"):
        with pytest.raises(FileNotFoundError, match="no saved model"):
            GaussianVAE.load(place)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:100],
        lambda text: "",
        lambda text: "[]",
        lambda text: "[" * 100_000,
        lambda text: '{"format": 2, "weights": "../../etc/passwd"}',
        lambda text: '{"format": 2, "weights": []}',
        lambda text: b"\xff" + text.encode(),
    ],
)
def test_torn_facts_are_one_sentence(saved, spoil):
    text = spoil((saved / "model.json").read_text())
    content = text if isinstance(text, bytes) else text.encode()
    (saved / "model.json").write_bytes(content)
    refused(saved, "model.json' is damaged or was not written by qbmvae_mini")


def test_facts_of_another_version_are_told(saved):
    about = json.loads((saved / "model.json").read_text())
    for found in (99, 1, None, "1"):
        text = json.dumps(about | {"format": found})
        (saved / "model.json").write_text(text)
        refused(saved, rf"another format \({found}\).*reads \(2\); use the ver")
    del about["format"]
    (saved / "model.json").write_text(json.dumps(about))
    refused(saved, "as of an older version")


def test_weights_that_are_missing_or_torn_are_named(saved):
    weights = weights_of(saved)
    whole = weights.read_bytes()
    half = len(whole) // 2
    for torn in (b"", whole[:4], whole[:half], whole[:half] + bytes(half)):
        weights.write_bytes(torn)
        refused(saved, "safetensors' is damaged")
    flipped = bytearray(whole)
    flipped[-40] ^= 1
    weights.write_bytes(flipped)
    refused(saved, "safetensors' is damaged")
    weights.unlink()
    refused(saved, "weights.*is not a file", FileNotFoundError)


def test_facts_beside_other_weights_are_refused(saved, adata, tmp_path):
    other = QBMVAE(adata, n_latent=8, seed=1, batch_key="batch")
    other.save(tmp_path / "other")
    shutil.copy(weights_of(tmp_path / "other"), weights_of(saved))
    refused(saved, "does not belong to its weights: it was edited, or is of")


def test_edited_facts_are_refused(saved):
    about = json.loads((saved / "model.json").read_text())
    about["genes"][:2] = about["genes"][1::-1]
    (saved / "model.json").write_text(json.dumps(about))
    refused(saved, "does not belong to its weights: it was edited")


def setting(name, value):
    return lambda facts: facts["settings"].update({name: value})


def part(name, value):
    return lambda facts: facts["latent"].update({name: value})


@pytest.mark.parametrize(
    "change",
    [
        *(
            lambda facts, n=n: facts.pop(n)
            for n in ("class", "genes", "latent")
        ),
        *(lambda facts, n=n: facts.pop(n) for n in ("settings", "history")),
        *(lambda facts, v=v: facts.update(genes=v) for v in (3, [], [[1]])),
        lambda facts: facts.update(genes=["a"] * 30),
        lambda facts: facts.update(genes=facts["genes"][1:]),
        lambda facts: facts.update(batches={}),
        lambda facts: facts.update(batches=["one"]),
        *(lambda facts, v=v: facts.update(kl_weight=v) for v in ("1", None)),
        lambda facts: facts.update(history=[1]),
        lambda facts: facts.update(settings=[]),
        lambda facts: facts.update(latent=[]),
        *(setting("n_hidden", v) for v in (10**9, -1, "128", 127, None)),
        *(setting("encoder_dropout", v) for v in (1.5, [], "0.1")),
        *(setting("decoder_dropout", v) for v in (1.0, None)),
        *(setting("seed", v) for v in (-1, 2**64, 0.5)),
        *(setting(name, 5) for name in ("layer", "batch_key", "future")),
        part("n_latent", 10**9),
        part("machine", {"kind": "RBM", "n_left": 10**9, "n_right": 1}),
        part("machine", {"kind": "RBM", "n_left": 1, "n_right": 7}),
        part("machine", {"kind": "RBM"}),
        part("machine", 5),
        part("sampler", {"kind": "GibbsSampler", "future": 3}),
        part("sampler", {"kind": "GibbsSampler", "chains": -1}),
        part("sampler", []),
        part("relaxation", {"kind": "BinaryConcrete", "temperature": "a"}),
        part("relaxation", None),
        part("negatives", 0),
        part("kind", "MixtureLatent"),
        part("kind", 5),
    ],
)
def test_facts_that_no_model_has_are_one_sentence(saved, change):
    rewrite(saved, change)
    refused(saved, "train the model again")


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors: tensors.pop("vae.decoder.4.bias"),
        lambda tensors: tensors.pop("vae.encoder.0.weight"),
        lambda tensors: tensors.pop("cells.library"),
        lambda tensors: tensors.update({"vae.more": torch.ones(2)}),
        lambda tensors: tensors.update({"../../x": torch.ones(2)}),
        lambda tensors: tensors["vae.encoder.0.weight"].fill_(math.nan),
        lambda tensors: tensors["vae.decoder.4.bias"].fill_(math.inf),
        lambda tensors: tensors["cells.library"].fill_(-1),
        lambda tensors: tensors["cells.batch"].fill_(2),
        lambda tensors: tensors["cells.batch"].fill_(-1),
        lambda tensors: tensors.update({"sampler.chains": torch.ones(2, 3, 4)}),
    ],
)
def test_tensors_that_no_model_has_are_one_sentence(saved, change):
    rewrite(saved, lambda facts: None, change)
    with pytest.raises(ValueError) as found:
        CellVAE.load(saved)
    assert "\n" not in str(found.value)


def test_a_checkpoint_is_no_model(adata, tmp_path):
    trained("gaussian").save(tmp_path)
    model = GaussianVAE(adata, n_latent=4, batch_key="batch")
    model.fit(**FIT, resume=tmp_path / "run")
    shutil.copy(tmp_path / "run", weights_of(tmp_path))
    refused(tmp_path, "does not belong to its weights")


# --- to other processes -----------------------------------------------------


@pytest.mark.parametrize("name", LATENTS)
def test_a_model_comes_back_from_another_process(name, adata):
    """As joblib and multiprocessing send it; it trains on to the same end."""
    model = CellVAE(adata, LATENTS[name](), n_hidden=16)
    model.fit(**FIT | {"max_epochs": 1, "validation": 0})
    twin = pickle.loads(pickle.dumps(model))
    assert twin.history_ == model.history_
    alike(twin, model, adata)
    for one in (twin, model):
        one.fit(**FIT | {"max_epochs": 1, "validation": 0})
    assert twin.history_ == model.history_


def test_what_is_saved_is_all_that_the_file_names():
    names = {"model.json", "weights.safetensors", f"weights.{16 * 'a'}.safe"}
    found = {name for name in names if saving.MODEL_FILES.fullmatch(name)}
    assert found == {"model.json", "weights.safetensors"}
