"""The results table: whole, current, and read as it should be."""

import contextlib
from concurrent.futures import Future

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from qbmvae_mini import results
from qbmvae_mini.cells import datasets
from qbmvae_mini.results import fits, run
from qbmvae_mini.results import table as reading
from qbmvae_mini.results.fits import (
    FIT,
    SMOOTHED,
    UNTRAINED,
    base_of,
    dropouts_of,
    jobs,
    rows_of,
)


@pytest.fixture(scope="module")
def table():
    return results.load()


def test_every_model_has_every_split(table):
    rows = set(zip(table.dataset, table.model, table.split, strict=True))
    expected = {
        (dataset, name, split)
        for dataset, model, split in jobs()
        for name in rows_of(dataset, model)
    }
    assert rows == expected
    assert len(table) == len(rows)


def test_table_was_made_by_the_code_that_is_here(table):
    assert set(table.code) == {results.code_hash()}, "run: make results"


def test_a_model_without_a_prior_has_an_embedding_alone(table):
    without = table.model.str.endswith("KL weight 0")
    without |= table.model.isin(UNTRAINED)
    # Cells of a library that the decoder does not know have no likelihood.
    without |= table.dataset == "pancreas libraries"
    assert table[without].log_likelihood_1000.isna().all()
    assert table[~without].log_likelihood_1000.notna().all()


def test_every_task_has_its_scores_and_no_other(table):
    columns = {
        "classification": ["accuracy", "macro_f1", "few_5", "rare_f1"],
        "integration": ["biology", "mixing", "nmi", "ilisi", "kbet"],
        "trajectory": ["kendall", "spearman", "depth_kendall"],
    }
    for task, names in columns.items():
        asked = [
            n for n, study in results.STUDIES.items() if task in study.tasks
        ]
        scored = table.dataset.isin(asked) & table.model.isin(
            results.TASK_MODELS
        )
        assert table[scored][names].notna().all(axis=None)
        assert table[~scored][names].isna().all(axis=None)
    twins = table.dataset == "twin pancreas"
    assert table[twins].twin_rank.between(0, 1).all()
    energies = table.dropna(subset="energy_kendall")
    assert set(energies.model) == {"Boltzmann 32+32"}


def test_noise_is_the_floor_of_biology_and_no_floor_of_mixing(table):
    """The reason why the two are reported apart."""
    rows = table.dropna(subset="biology")
    means = rows.groupby(["dataset", "model"])[["biology", "mixing"]].mean()
    for _, scores in means.groupby("dataset"):
        scores = scores.droplevel("dataset")
        assert scores.biology.idxmin() == "Noise 32"
    labelled = table.dropna(subset="macro_f1")
    means = labelled.groupby(["dataset", "model"]).macro_f1.mean()
    for _, scores in means.groupby("dataset"):
        assert scores.idxmin()[1] == "Noise 32"


def test_every_trained_log_z_is_known_to_a_fraction_of_a_nat(table):
    assert (table.log_z_width.dropna() < 0.4).all()
    trained = table[table.model.isin(results.MODELS)]
    assert (trained.log_z_width.dropna() < 0.2).all()


def test_more_importance_samples_never_cost_likelihood(table):
    table = table.dropna(subset="elbo")
    gap = table.log_likelihood_1000 - table.log_likelihood_64
    # The two are drawn apart, and the smallest studies score 80 cells: there
    # one cell with lucky draws moves the mean of a split.
    bundled = table.dataset.isin(results.DATASETS)
    assert (gap[bundled] > -0.1).all()
    assert (gap.groupby([table.dataset, table.model]).mean() > 0).all()
    assert (table.log_likelihood_64 > table.elbo).all()


def test_only_smoothed_models_have_a_score_for_bits_beside_their_own(table):
    smoothed = table.model.str.endswith(SMOOTHED)
    assert table[smoothed].discrete_1000.notna().all()
    assert table[~smoothed].discrete_1000.isna().all()


def test_training_stopped_by_itself(table):
    epochs = table[~table.model.str.startswith("scVI")].epochs.dropna()
    assert (epochs < FIT["max_epochs"]).all()


def test_models_of_a_split_saw_the_same_test_cells(table):
    groups = table.groupby(["dataset", "split"])
    assert (groups.n_test.nunique() == 1).all()
    assert (groups.n_genes.nunique() == 1).all()


def test_one_dropout_a_model_and_data_set_its_variants_too(table):
    table = table.dropna(subset="dropout")
    base = table.model.map(base_of)
    made_of = {
        name: study.dropout_of or name
        for name, study in results.STUDIES.items()
    }
    groups = table.groupby([table.dataset.map(made_of), base])
    assert (groups.dropout.nunique() == 1).all()
    assert set(table.dropout) <= set(results.DROPOUTS)
    assert set(table[table.model == "scVI 10"].dropout) == {0.1}


def test_the_best_of_a_family_is_chosen_by_validation():
    made = pd.DataFrame(
        {
            "dataset": "d",
            "model": ["a", "b", "c"] * 2,
            "split": [0, 0, 0, 1, 1, 1],
            "validation": [1.0, 2.0, 9.0, 4.0, 3.0, 9.0],
            "score": [10.0, 20.0, 0.0, 30.0, 40.0, 0.0],
        }
    )
    best = results.with_best(made, {"best": ("a", "b")})
    rows = best[best.model == "best"].sort_values("split")
    assert list(rows.chosen) == ["b", "a"]
    assert list(rows.score) == [20, 30]
    assert len(best) == len(made) + 2


def test_a_row_can_be_made_again_and_is_the_same(monkeypatch):
    """A short training and few samples through everything that a job does."""
    monkeypatch.setattr(fits, "FIT", {"max_epochs": 40})
    monkeypatch.setattr(fits, "SAMPLES", (4, 16))
    first, shuffled, random = fits.compute_rows(
        "pbmc68k", "Boltzmann 32+32", 0, dropouts=(0.3,)
    )
    assert first["dropout"] == shuffled["dropout"] == 0.3
    again = fits.compute_row(
        "pbmc68k", "Boltzmann 32+32", 0, 0.3, samples=(4, 16)
    )
    for name in ("elbo", "log_likelihood_16", "epochs", "validation"):
        assert first[name] == again[name]
    assert shuffled["validation"] == first["validation"]
    for broken in (shuffled, random):
        assert broken["elbo"] < first["elbo"]


def test_a_killed_run_goes_on_where_it_was(tmp_path, monkeypatch):
    """Rows that are there are not made again; splits wait for their dropout."""
    calls = []

    class Pool(contextlib.nullcontext):
        """Works at once, in this process."""

        def __init__(self, *args):
            super().__init__(self)

        def submit(self, function, *args):
            future = Future()
            future.set_result(function(*args))
            return future

    def compute(dataset, model, split, dropouts):
        calls.append((dataset, model, split))
        searched = split == 0 and model == base_of(model)
        searched = searched and dataset in results.DATASETS
        if model in (*UNTRAINED, "scVI 10"):
            assert dropouts == (0.1,)
        else:
            assert dropouts == (results.DROPOUTS if searched else (0.3,))
        row = {"dataset": dataset, "split": split}
        if model not in UNTRAINED:
            row["dropout"] = 0.1 if model == "scVI 10" else 0.3
        return [row | {"model": name} for name in rows_of(dataset, model)]

    def killed(*args):
        rows = write(*args)
        if len(results.load()) > 50:
            raise KeyboardInterrupt
        return rows

    write = run._write
    monkeypatch.setattr(datasets, "data_directory", lambda: tmp_path)
    monkeypatch.setattr(run, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(run, "compute_rows", compute)
    monkeypatch.setattr(run, "_write", killed)
    with pytest.raises(KeyboardInterrupt):
        run.main()
    kept = results.load()
    kept = set(zip(kept.dataset, kept.model, kept.split, strict=True))
    monkeypatch.setattr(run, "_write", write)
    calls.clear()
    run.main()
    assert kept
    assert not kept & set(calls)
    assert kept | set(calls) >= set(jobs())
    assert len(calls) == len(set(calls))
    calls.clear()
    run.main()
    assert not calls
    expected = sum(len(rows_of(study, model)) for study, model, _ in jobs())
    assert len(results.load()) == expected


def test_no_job_waits_for_a_dropout_that_nothing_chooses():
    chosen = {
        (study, model): 0.3
        for study, model, split in jobs()
        if dropouts_of(study, model, split, {}) is not None
    }
    assert all(dropouts_of(*job, chosen) is not None for job in jobs())


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


@pytest.mark.parametrize(
    ("study", "overlap"),
    [("pancreas", 1 / 4), ("pancreas libraries", 1 / 2), ("simulated tree", 0)],
)
def test_an_interval_knows_how_many_cells_its_splits_share(study, overlap):
    """A fifth is held out, or one library of three, or nothing is shared."""
    made = pd.DataFrame(
        {
            "dataset": study,
            "model": ["a"] * 3 + ["b"] * 3,
            "split": [0, 1, 2] * 2,
            "score": [1.0, 2, 3, 0, 0, 0],  # a variance of 1
        }
    )
    mean, lower, _ = results.paired_interval(made, study, "a", "b", "score")
    reach = stats.t.ppf(0.975, 2) * np.sqrt(1 / 3 + overlap)
    assert mean - lower == pytest.approx(reach)


@pytest.mark.parametrize(
    ("lower", "upper", "word"),
    [
        (0.001, 0.1, "higher"),
        (-0.019, -0.01, "passes"),
        (-0.021, 0.1, "undecided"),
        (-0.1, -0.019, "undecided"),
        (-0.1, -0.021, "lower"),
    ],
)
def test_a_verdict_is_read_off_the_nearer_end(lower, upper, word):
    assert results.verdict(lower, upper) == word


def test_without_a_margin_an_interval_passes_only_above_zero():
    words = [results.verdict(*ends, margin=0) for ends in ((-1, 1), (-2, -1))]
    assert words == ["undecided", "lower"]


def test_only_simulated_cells_are_new_in_each_split():
    for name, study in results.STUDIES.items():
        first, second = (results.load_cells(name, split) for split in (0, 1))
        same = first.shape == second.shape and (first.X != second.X).nnz == 0
        assert study.independent == name.startswith("simulated")
        assert same == (not name.startswith(("simulated", "twin")))


def test_code_hash_ignores_prose_and_sees_numbers(tmp_path, monkeypatch):
    def hash_of(text):
        (tmp_path / "some.py").write_text(text)
        return results.code_hash()

    place = tmp_path / "results" / "table.py"
    monkeypatch.setattr(reading, "__file__", str(place))
    monkeypatch.setattr(reading, "_DECIDING", ("some",))
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
