"""Rivals that are none of ours, and the scores that all embeddings get."""

import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn.decomposition import PCA

from qbmvae_mini import metrics, results
from qbmvae_mini.results import scores
from qbmvae_mini.results.rivals import (
    Harmony,
    Noise,
    PrincipalComponents,
    ScVI,
)


@pytest.fixture(scope="module")
def halves():
    return results.split_study("healthy marrow", 0)


def test_principal_components_are_those_of_log_shares(halves):
    train, test = halves
    logs = []
    for part in halves:
        counts = part.X.toarray()
        depth = np.median(np.asarray(train.X.sum(axis=1)))
        share = counts / counts.sum(axis=1, keepdims=True)
        logs.append(np.log1p(depth * share))
    pca = PCA(4, svd_solver="full").fit(logs[0])
    ours = PrincipalComponents(train, 4)
    for part, log in zip((None, test), logs, strict=True):
        found = ours.get_latent_representation(part)
        assert np.allclose(found, pca.transform(log), atol=1e-4)


def test_principal_components_find_their_genes_by_name(halves):
    train, test = halves
    ours = PrincipalComponents(train, 3)
    turned = test[:, ::-1]
    assert np.allclose(
        ours.get_latent_representation(turned),
        ours.get_latent_representation(test),
    )


def test_noise_is_standard_normal_and_knows_no_cell(halves):
    train, test = halves
    noise = Noise(train, 32, seed=3)
    codes = noise.get_latent_representation()
    assert codes.shape == (train.n_obs, 32)
    assert stats.kstest(codes.ravel(), "norm").pvalue > 0.001
    turned = train[::-1]
    assert (noise.get_latent_representation(turned) == codes).all()
    others = noise.get_latent_representation(test)
    assert not np.isin(others, codes).any()


def test_harmony_draws_batches_together_and_keeps_the_biology(halves):
    """Three batches of one cell type each time shifted, and real types."""
    pytest.importorskip("harmonypy", reason="needs the extra `baselines`")
    cells = results.load_cells("simulated batches", 0)
    common = dict(batch_key="batch", seed=0)
    codes = {
        "PCA": PrincipalComponents(cells, 10).get_latent_representation(),
        "Harmony": Harmony(cells, 10, **common).get_latent_representation(),
    }
    mixed, kept = (
        {name: score(code, cells.obs[column]) for name, code in codes.items()}
        for score, column in (
            (metrics.mixing, "batch"),
            (metrics.biology, "cell_type"),
        )
    )
    assert mixed["Harmony"]["ilisi"] > mixed["PCA"]["ilisi"] + 0.2
    assert kept["Harmony"]["nmi"] > 0.8
    assert codes["Harmony"].shape == codes["PCA"].shape


def test_harmony_is_that_of_its_seed_and_of_the_cells_it_is_given(halves):
    pytest.importorskip("harmonypy", reason="needs the extra `baselines`")
    train, test = halves
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    once, again = (
        Harmony(train, 5, batch_key="donor", seed=3).get_latent_representation(
            test
        )
        for _ in range(2)
    )
    assert np.array_equal(once, again)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert once.shape == (test.n_obs, 5)
    few = Harmony(train, 5, batch_key="donor", seed=3)
    one = test[test.obs.donor == test.obs.donor.iloc[0]].copy()
    with pytest.raises(ValueError, match=r"obs\['donor'\] has 1 group"):
        few.get_latent_representation(one)


def test_without_harmonypy_a_sentence_says_where_it_comes_from(
    halves, monkeypatch
):
    monkeypatch.setitem(sys.modules, "harmonypy", None)
    rival = Harmony(halves[0], 3, batch_key="donor", seed=0)
    with pytest.raises(ImportError, match="comes with the extra `baselines`"):
        rival.get_latent_representation()


def test_permuted_batches_are_the_same_ones_and_know_no_cell():
    batches = np.repeat(["A", "B", "C"], [300, 200, 100])
    dealt = scores.permuted(batches, seed=0)
    assert np.array_equal(np.sort(dealt), batches)
    assert (dealt[:300] == "A").mean() == pytest.approx(0.5, abs=0.1)
    assert np.array_equal(dealt, scores.permuted(list(batches), seed=0))
    assert not np.array_equal(dealt, scores.permuted(batches, seed=1))


def test_permuted_batches_are_the_ceiling_of_mixing_on_the_same_codes():
    """Of separated batches too: the codes stay, only the labels are dealt."""
    rng = np.random.default_rng(0)
    batches = np.repeat(["A", "B"], 200)
    codes = rng.normal(size=(400, 4))
    apart = codes + 9 * (batches == "A")[:, None]
    ceiling, true = (
        metrics.mixing(apart, labels)["ilisi"]
        for labels in (scores.permuted(batches, 0), batches)
    )
    assert true < 0.01
    assert ceiling > 0.8
    mixed = metrics.mixing(codes, batches)["ilisi"]
    assert mixed == pytest.approx(
        metrics.mixing(codes, scores.permuted(batches, 0))["ilisi"], abs=0.05
    )


def test_scvi_embeds_cells_of_any_batch_and_scores_those_it_knows(halves):
    pytest.importorskip("scvi", reason="needs the extra `baselines`")
    train, test = halves
    model = ScVI(train, 5, batch_key="donor", encoder_dropout=0.1, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of so short a training
        model._model.train(
            max_epochs=2, accelerator="cpu", enable_progress_bar=False
        )
    codes = model.get_latent_representation(test)
    strange = test.copy()
    strange.obs["donor"] = "nobody"
    assert codes.shape == (test.n_obs, 5)
    assert np.allclose(model.get_latent_representation(strange), codes)
    few, many = (model.get_log_likelihood(test, n) for n in (1, 64))
    assert few.shape == (test.n_obs,)
    assert model.get_elbo(test) < many.mean()
    assert few.mean() < many.mean()


def test_classification_is_what_the_metrics_say():
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], [80, 70, 20])
    codes = rng.normal(size=(170, 3)) + 2 * np.eye(3)[pd.factorize(labels)[0]]
    known = np.arange(170) % 3 > 0
    parts = codes[known], labels[known], codes[~known], labels[~known]
    found = scores.classification(*parts)
    classes, probabilities = metrics.classify(*parts[:3])
    direct = metrics.label_scores(classes, probabilities, parts[3])
    assert found.items() >= direct.items()
    guesses = classes[probabilities.argmax(1)]
    hits = ((guesses == "c") & (parts[3] == "c")).sum()
    f1 = 2 * hits / ((guesses == "c").sum() + (parts[3] == "c").sum())
    assert found["rare_f1"] == pytest.approx(f1)  # c alone has under 50 cells
    assert found["few_5"] < found["macro_f1"]


def test_twins_are_paired_by_name_whatever_their_order():
    rng = np.random.default_rng(0)
    place = rng.normal(size=(30, 2))
    names = np.array([f"cell{i}" for i in range(30)] * 2)
    batches = np.repeat(["A", "B"], 30)
    codes = np.concatenate([place, place + 0.01])
    mixed = rng.permutation(60)
    found = scores.twins(codes[mixed], batches[mixed], names[mixed])
    assert found["twin_rank"] == metrics.twin_rank(place, place + 0.01) > 0.98


def test_dull_orders_are_counts_and_genes():
    counts = sparse.csr_matrix([[1, 0, 0], [1, 1, 0], [1, 1, 3], [1, 2, 9]])
    truth = np.arange(4)
    found = scores.null_orders(counts, truth, energy=-truth)
    assert found["depth_kendall"] == 1
    assert found["energy_kendall"] == -1
    genes = stats.kendalltau([1, 2, 3, 3], truth).statistic
    assert found["genes_kendall"] == pytest.approx(genes)


def test_integration_keeps_biology_and_mixing_apart():
    pytest.importorskip("scib_metrics", reason="needs the extra `baselines`")
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], 60)
    batches = rng.choice(["A", "B"], 180)
    noise = rng.normal(size=(180, 4))
    typed = noise + 9 * np.eye(4)[pd.factorize(labels)[0]]
    split = typed + 99 * (batches == "A")[:, None]
    found = {
        name: scores.integration(codes, labels, batches)
        for name, codes in {
            "noise": noise,
            "good": typed,
            "apart": split,
        }.items()
    }
    assert found["good"]["biology"] > 0.75 > 0.5 > found["noise"]["biology"]
    assert found["noise"]["mixing"] > 0.8
    assert found["good"]["mixing"] > 0.8 > 0.5 > found["apart"]["mixing"]
    assert found["good"]["kbet_per_label"] > 0.8
    assert found["apart"]["kbet_per_label"] < 0.2
    each = ("ilisi", "kbet", "connectivity")
    mean = np.mean([found["good"][name] for name in each])
    assert found["good"]["mixing"] == pytest.approx(mean)


def test_kbet_per_label_forgives_batches_of_unequal_types():
    """Mixed within each type, but a batch has more of one type than another."""
    pytest.importorskip("scib_metrics", reason="needs the extra `baselines`")
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b"], 200)
    batches = np.where(
        rng.random(400) < np.where(labels == "a", 0.8, 0.2), "A", "B"
    )
    codes = rng.normal(size=(400, 4)) + 9 * (labels == "a")[:, None]
    found = scores.integration(codes, labels, batches)
    assert found["kbet"] < 0.3
    assert found["kbet_per_label"] > 0.8


def test_studies_hold_what_they_promise():
    for name, study in results.STUDIES.items():
        cells = results.load_cells(name, 1)
        for column in (study.batch_key, study.labels, study.order):
            assert column is None or column in cells.obs
        assert (np.asarray(cells.X.sum(axis=1)) > 0).all()
        if "trajectory" in study.tasks:
            assert cells.uns["root"] in cells.obs_names


def test_haemoglobin_orders_the_arm_and_is_not_among_its_genes():
    arm = results.load_cells("erythroid arm")
    held_out = set(arm.uns["haemoglobin_genes"])
    assert not held_out & set(arm.var_names)
    means = arm.obs.groupby("cluster", observed=True).haemoglobin.mean()
    order = means[arm.uns["erythroid_arm"]]
    assert stats.spearmanr(order, range(len(order))).statistic > 0.8
    assert arm.obs.cluster[arm.uns["root"]] == arm.uns["erythroid_arm"][0]


def test_a_held_out_library_is_in_no_training():
    seen = []
    for split in results.STUDIES["pancreas libraries"].splits:
        train, test = results.split_study("pancreas libraries", split)
        seen += [*test.obs.batch.unique()]
        assert not set(train.obs.batch) & set(test.obs.batch)
    assert sorted(seen) == ["lib1", "lib2", "lib3"]


def test_an_unknown_study_is_named():
    with pytest.raises(ValueError, match="Unknown study 'liver'"):
        results.load_cells("liver")
