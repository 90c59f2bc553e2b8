"""The grid of the audit shows the answers that it was given."""

import numpy as np
import pandas as pd
import pytest
from figures import check_figure

from qbmvae_mini import plotting

ANSWERS = pd.DataFrame(
    [["yes", "no", "partly"], ["could not read", "yes", "no"]],
    index=["one work", "another"],
    columns=["seeds", "code", "J = 0"],
)


def places(figure, answer):
    """Cells (row, column) that are marked with `answer`."""
    line = next(
        line for line in figure.axes[0].lines if line.get_label() == answer
    )
    return {
        (int(y), int(x))
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
    }


def test_the_figure_is_in_the_style_of_the_book():
    check_figure("answer_grid", lambda: plotting.answer_grid(ANSWERS))


@pytest.mark.parametrize("answer", ["yes", "partly", "no", "could not read"])
def test_each_answer_is_marked_in_its_cells(answer):
    expected = set(zip(*np.nonzero(ANSWERS.to_numpy() == answer), strict=True))
    assert places(plotting.answer_grid(ANSWERS), answer) == expected


def test_works_and_questions_are_named():
    ax = plotting.answer_grid(ANSWERS).axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == [*ANSWERS.index]
    assert [t.get_text() for t in ax.get_xticklabels()] == [*ANSWERS.columns]


def test_marks_differ_in_shape():
    lines = plotting.answer_grid(ANSWERS).axes[0].lines
    shapes = {(line.get_marker(), line.get_fillstyle()) for line in lines}
    assert len(shapes) == 4


@pytest.mark.parametrize(
    ("cell", "found"), [("maybe", "maybe"), (None, "an empty cell")]
)
def test_another_answer_is_refused(cell, found):
    wrong = ANSWERS.copy()
    wrong.iloc[0, 0] = cell
    with pytest.raises(ValueError, match=f"answers holds '{found}'"):
        plotting.answer_grid(wrong)
