"""Figures of the chapter on what a quantum computer adds."""

import matplotlib.pyplot as plt

from qbmvae_mini.plotting.style import (
    BLUE,
    GREY,
    ORANGE,
    VERMILION,
    WIDTH,
    house_style,
    key,
    rows_named,
)

#: Answer -> its mark: told apart by shape as well as by colour.
MARKS = {
    "yes": {"marker": "o", "color": BLUE},
    "partly": {"marker": "o", "color": ORANGE, "fillstyle": "left"},
    "no": {"marker": "o", "color": VERMILION, "fillstyle": "none"},
    "could not read": {"marker": "$?$", "color": GREY},
}


@house_style
def answer_grid(answers):
    """Answers to the same questions about many works.

    Parameters
    ----------
    answers : DataFrame
        A row a work and a column a question; each cell is "yes", "partly",
        "no" or "could not read".

    Returns
    -------
    Figure

    Raises
    ------
    ValueError
        If a cell holds anything else.
    """
    wrong = sorted(set(map(str, answers.stack())) - set(MARKS))
    if wrong or answers.isna().any(axis=None):
        raise ValueError(
            f"answers holds {(wrong or ['an empty cell'])[0]!r}; each cell is "
            f"one of {', '.join(MARKS)}"
        )
    n_works, n_questions = answers.shape
    figure, ax = plt.subplots(figsize=(WIDTH, 0.36 * n_works + 2.6))
    for answer, mark in MARKS.items():
        rows, columns = (answers.to_numpy() == answer).nonzero()
        dots = {"markersize": 10, "markeredgewidth": 1.5, "ls": "none"}
        if answer == "could not read":
            dots["markeredgewidth"] = 0.5
        ax.plot(columns, rows, **dots, **mark, label=answer)
    ax.set_xticks(range(n_questions), answers.columns, rotation=90)
    ax.xaxis.tick_top()
    ax.tick_params(axis="x", length=0)
    rows_named(ax, range(n_works), answers.index)
    ax.set(xlim=(-0.5, n_questions - 0.5), ylim=(n_works - 0.5, -0.5))
    ax.set_yticks([y + 0.5 for y in range(n_works - 1)], minor=True)
    ax.tick_params(axis="y", which="minor", length=0)
    ax.grid(axis="y", which="minor", color=GREY, linewidth=0.3)
    ax.spines[:].set_visible(False)
    key(figure, ncols=4, handletextpad=0.2, columnspacing=1.0)
    return figure
