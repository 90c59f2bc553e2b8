"""The grid of published work is complete, and every answer has its source."""

import re
from pathlib import Path

import pandas as pd
import pytest

from qbmvae_mini.plotting.audit import MARKS

ROOT = Path(__file__).resolve().parents[1]
#: The row that is no publication.
OWN = "This book"


@pytest.fixture(scope="module")
def cells():
    return pd.read_csv(ROOT / "data/published.csv")


def test_every_work_answers_every_question_once(cells):
    counts = cells.groupby(["work", "question"]).size().unstack()
    assert (counts == 1).all(axis=None)


def test_answers_are_those_of_the_figure(cells):
    assert set(cells.answer) == set(MARKS)


def test_every_answer_has_a_source(cells):
    assert (cells.source.fillna("").str.len() > 7).all()


def test_every_work_stands_in_the_references(cells):
    text = (ROOT / "book/references.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^### (.+)$", text, re.M))
    assert set(cells.work) - {OWN} <= headings


def test_a_yes_that_rests_on_no_source_read_is_impossible(cells):
    unread = cells.source.str.contains("not the body|not at hand")
    assert set(cells.answer[unread]) == {"could not read"}


def test_public_code_is_named(cells):
    public = cells[(cells.question == "code") & (cells.answer == "yes")]
    published = public[public.work != OWN]
    assert published.source.str.fullmatch(r"[\w-]+/[\w-]+").all()
