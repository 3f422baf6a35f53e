import pytest

from benchmarks.methods import by_method
from nb_evaluation.runs import groups
from nb_evaluation.runs.groups import paired


def seeds_of(runs):
    return [run.spec.seed for run in runs]


def test_groups_are_in_the_order_of_the_methods_and_seeds(made_up_run):
    runs = [made_up_run(method=method, seed=seed) for method in ("fine-tune", "nb-pro") for seed in (102, 100, 101)]
    found = by_method(runs)
    assert list(found) == ["nb-pro", "fine-tune"]
    assert seeds_of(found["nb-pro"]) == [100, 101, 102]


def test_a_method_that_is_not_known_is_not_lost_silently(made_up_run):
    with pytest.raises(KeyError, match="nb-pro"):
        groups.by_method([made_up_run(method="nb-pro")], ("nb", "fine-tune"))


def test_pairs_are_of_one_seed(made_up_run):
    seeds = {"nb": (100, 102, 103), "fine-tune": (101, 102, 100), "head": (104,)}
    found = by_method(made_up_run(method=name, seed=seed) for name, of_method in seeds.items() for seed in of_method)
    pairs = paired(found, "fine-tune")
    assert list(pairs) == ["nb"]
    assert [(ours.spec.method, theirs.spec.method) for ours, theirs in pairs["nb"]] == [("nb", "fine-tune")] * 2
    ours, theirs = zip(*pairs["nb"], strict=True)
    assert seeds_of(ours) == seeds_of(theirs) == [100, 102]
    assert paired(found, "maml") == {}
