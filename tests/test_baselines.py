"""Rivals that are none of ours, and the scores that all embeddings get."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from sklearn.decomposition import PCA

from qbmvae_mini import metrics, results
from qbmvae_mini.results import scores
from qbmvae_mini.results.rivals import Noise, PrincipalComponents, ScVI


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
