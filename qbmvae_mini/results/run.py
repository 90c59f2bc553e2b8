"""Filling the table, with one process a core."""

import datetime
import multiprocessing
import os
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait

import pandas
from tqdm import tqdm

from qbmvae_mini.results import (
    code_hash,
    compute_rows,
    load,
    table_path,
)
from qbmvae_mini.results.fits import dropouts_of, jobs, rows_of


def main():
    """Train what is not in the table yet, and write each row at once."""
    code = code_hash()
    rows = load().to_dict("records") if table_path().exists() else []
    rows = [row for row in rows if row["code"] == code]
    have = {(row["dataset"], row["model"], row["split"]) for row in rows}
    todo = [
        (dataset, model, split)
        for dataset, model, split in jobs()
        if not all(
            (dataset, name, split) in have for name in rows_of(dataset, model)
        )
    ]
    print(f"{len(rows)} rows are there, {len(todo)} fits to go (code {code})")
    # Split 0 chooses the dropout, so other splits and variants wait for it.
    chosen = {
        (row["dataset"], row["model"]): row["dropout"]
        for row in rows
        if row["split"] == 0 and row["dropout"] > 0
    }
    spawn = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(os.cpu_count(), spawn, _one_thread) as pool,
        tqdm(total=len(todo), unit="fit") as bar,
    ):
        running = set()
        while todo or running:
            for job in list(todo):
                dropouts = dropouts_of(*job, chosen)
                if dropouts is not None:
                    running.add(pool.submit(compute_rows, *job, dropouts))
                    todo.remove(job)
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                made = future.result()
                for row in made:
                    if row["split"] == 0 and "dropout" in row:
                        place = row["dataset"], row["model"]
                        chosen[place] = row["dropout"]
                rows = _write(rows, made, code)
                bar.update()


def _write(rows, made, code):
    """Add rows to the table, atomically; return all of them."""
    new = {(row["dataset"], row["model"], row["split"]) for row in made}
    today = datetime.date.today().isoformat()
    rows = [
        row
        for row in rows
        if (row["dataset"], row["model"], row["split"]) not in new
    ] + [row | {"code": code, "date": today} for row in made]
    path = table_path()
    path.parent.mkdir(exist_ok=True)
    table = pandas.DataFrame(rows).sort_values(["dataset", "model", "split"])
    table.to_csv(path.with_suffix(".new"), index=False, float_format="%.6g")
    os.replace(path.with_suffix(".new"), path)
    return rows


def _one_thread():
    """Two processes of one thread beat one process of two."""
    import torch

    torch.set_num_threads(1)
