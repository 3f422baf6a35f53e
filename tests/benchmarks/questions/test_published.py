"""The paper's claim beside the runs."""

from dataclasses import replace

import pytest

from benchmarks.methods import specify
from benchmarks.protocol.anchors import is_published_protocol
from benchmarks.questions.transfer.published import claim, improvement, published_table

CLAIM = "The paper's claim, better than MAML by 35.8 % (NB) and 37.1 % (NB Pro) with every seed,"
FINALS = {"maml": (-100.0, -50.0, -10.0, -20.0, -40.0), "nb-pro": (-50.0, -25.0, -15.0, -10.0, -20.0)}
"""Best training episodes: improvements of 50, 50, -50, 50 and 50 %."""


@pytest.fixture
def runs(made_up_run):
    def make(method, seed, best):
        run = made_up_run(method=method, seed=seed)
        return replace(run, result=replace(run.result, transfer_episodes=[-900.0, best, -500.0]))

    return [make(method, seed, best) for method, each in FINALS.items() for seed, best in enumerate(each, start=100)]


@pytest.fixture
def protocol(monkeypatch):
    """As if the runs had the paper's budget."""
    monkeypatch.setattr("benchmarks.questions.transfer.published.is_published_protocol", lambda spec: True)


def test_improvement_is_paired_by_seed(runs):
    gain = improvement([*runs[1:], runs[0]], "nb-pro")
    assert gain.mean.point == pytest.approx(30.0)
    assert (gain.positive, gain.num_runs) == (4, 5)
    fewer = improvement(runs[1:], "nb-pro")  # seed 100 has no MAML any more
    assert (fewer.positive, fewer.num_runs) == (3, 4)
    assert fewer.mean.point == pytest.approx(25.0)
    assert improvement(runs[5:], "nb-pro") is None


@pytest.mark.usefixtures("protocol")
def test_the_table_holds_printed_and_measured(runs):
    maml, pro = published_table(runs).rows
    assert maml[:5] == ["`maml`", "−44.0", "−5,089", "−481.3", "−5,231"]
    assert maml[5:] == ["", "", "", ""]
    assert pro[:5] == ["`nb-pro`", "−24.0", "−3,068", "−474.7", "−4,005"]
    assert pro[5].startswith("+30.0 [")
    assert pro[6:8] == ["4 of 5", "+37.1"]
    assert pro[8].startswith("+18.3 [")  # the middle of -5, 10, 20, 25 and 50


@pytest.mark.usefixtures("protocol")
def test_the_claim_in_words(runs):
    found = claim(runs)
    assert (found.text, found.tone) == (f"{CLAIM} does not hold here.", "worse")
    assert found.more.startswith("NB Pro against MAML in the paper's metric and budget: +30.0 [")
    assert found.more.endswith("in the mean of 5 seeds, of which 4 improve; the paper printed +37.1 %.")
    worse = [replace(run, spec=replace(run.spec, method="nb")) for run in runs if run.spec.method == "maml"]
    found = claim([*runs, *worse])
    assert found.tone == "worse"
    assert found.more.startswith("NB against MAML in the paper's metric and budget: +0.0 [")
    assert "The better of them is `nb-pro`: without the extreme quarters of the seeds, its return differs" in found.more


@pytest.mark.usefixtures("protocol")
def test_the_claim_holds_where_every_seed_is_as_much_better(made_up_run):
    def make(method, seed, best):
        run = made_up_run(method=method, seed=seed)
        return replace(run, result=replace(run.result, transfer_episodes=[best]))

    runs = [make(method, seed, best) for method, best in (("maml", -100.0), ("nb-pro", -50.0)) for seed in (100, 101)]
    found = claim(runs)
    assert (found.text, found.tone) == (f"{CLAIM} holds here.", "better")
    assert found.more.startswith("NB Pro against MAML in the paper's metric and budget: +50.0 %")


def test_printed_figures_stand_beside_the_published_budget_only(runs):
    assert claim(runs) is None
    assert published_table(runs).rows[1][7] == ""
    assert is_published_protocol(specify("nb", seed=100))
    assert not is_published_protocol(specify("nb", seed=100, pretrain_episodes=100))
    assert not is_published_protocol(specify("nb", seed=100, source={"A": 1.2}))


def test_without_the_papers_methods_there_is_no_table(made_up_run):
    assert published_table([made_up_run(method="scratch"), made_up_run(method="nb-k")]) is None
