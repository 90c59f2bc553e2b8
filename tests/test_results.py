"""The results table: whole, current, and read as it should be."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from qbmvae_mini import datasets, results


@pytest.fixture(scope="module")
def table():
    return results.load()


def test_every_model_has_every_split(table):
    rows = set(zip(table.dataset, table.model, table.split, strict=True))
    assert rows == set(results.jobs())
    assert len(table) == len(rows)


def test_table_was_made_by_the_code_that_is_here(table):
    assert set(table.code) == {results.code_hash()}, "run: make results"


def test_every_log_z_is_known_to_a_fraction_of_a_nat(table):
    assert (table.log_z_width < 0.2).all()


def test_more_importance_samples_never_cost_likelihood(table):
    gap = table.log_likelihood_1000 - table.log_likelihood_64
    assert (gap > -0.1).all()
    assert (table.log_likelihood_64 > table.elbo).all()


def test_training_stopped_by_itself(table):
    assert (table.epochs < results.FIT["max_epochs"]).all()


def test_models_of_a_split_saw_the_same_test_cells(table):
    groups = table.groupby(["dataset", "split"])
    assert (groups.n_test.nunique() == 1).all()
    assert (groups.n_genes.nunique() == 1).all()


def test_splits_are_disjoint_and_differ():
    adata = datasets.load("pbmc68k")
    tests = []
    for split in results.SPLITS:
        train, test = results.split_cells(adata, split)
        assert set(train.obs_names).isdisjoint(test.obs_names)
        assert train.n_obs + test.n_obs == adata.n_obs
        assert list(train.var_names) == list(test.var_names)
        assert (np.asarray(train.X.sum(0)) > 0).all()
        tests.append(frozenset(test.obs_names))
    assert len(set(tests)) == len(results.SPLITS)


def test_paired_interval_is_nadeau_and_bengios():
    difference = np.array([1.0, 2.0, 4.0, 3.0, 5.0])
    made = pd.DataFrame(
        {
            "dataset": "d",
            "model": ["a"] * 5 + ["b"] * 5,
            "split": [0, 1, 2, 3, 4] * 2,
            "score": [*(10 + difference), *([10.0] * 5)],
        }
    )
    mean, lower, upper = results.paired_interval(made, "d", "a", "b", "score")
    # Variance of 1, 2, 4, 3, 5 is 2.5; (1/5 + 20/80) * 2.5 = 1.125.
    reach = stats.t.ppf(0.975, 4) * np.sqrt(1.125)
    assert (mean, lower, upper) == pytest.approx((3, 3 - reach, 3 + reach))
    plain = stats.ttest_1samp(difference, 0).confidence_interval()
    assert upper - lower > plain.high - plain.low


def test_code_hash_ignores_prose_and_sees_numbers(tmp_path, monkeypatch):
    def hash_of(text):
        (tmp_path / "some.py").write_text(text)
        return results.code_hash()

    monkeypatch.setattr(results, "__file__", str(tmp_path / "results.py"))
    monkeypatch.setattr(results, "_DECIDING", ("some",))
    before = hash_of('def f(x):\n    """Says."""\n    return x + 1\n')
    assert hash_of("def f(x):\n    # why\n    return x + 1\n") == before
    assert hash_of("def f(x):\n    return x + 2\n") != before
    loud = 'def f(x):\n    raise ValueError("{}")\n'
    assert hash_of(loud.format("one")) == hash_of(loud.format("two"))
    call = "def f(x):\n    {}(x)\n    return x\n"
    assert hash_of(call.format("g")) != hash_of(call.format("h"))


def test_a_missing_table_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "data_directory", lambda: tmp_path)
    with pytest.raises(FileNotFoundError, match="make results"):
        results.load()


def test_neal_and_gibbs_train_models_of_one_likelihood(table):
    gibbs = "Boltzmann 32+32"
    pair = f"{gibbs}, neal", gibbs
    _, lower, upper = results.paired_interval(table, "pbmc68k", *pair)
    assert lower < 0 < upper < 2
