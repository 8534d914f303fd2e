import pytest
from helpers import make_config

from rlsearch.cli.compare import confirmed_legend, median_text
from rlsearch.proxies.tasks import CLASSIFICATION, GAIN
from rlsearch.runs.config import dump_config
from rlsearch.studies import compare as comparing


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ([3, 1], "2 (2/2)"),
        ([5, 7, None], "7 (2/3)"),
        ([5, None, None], "never (1/3)"),
        ([5, None], "never (1/2)"),  # one of the two in the middle did not get there
        ([None], "never (0/1)"),
    ],
)
def test_the_median_counts_a_run_that_did_not_get_there_as_infinite(counts, text):
    assert median_text(counts) == text


def test_what_was_confirmed_is_said_with_its_unit_where_figures_are_in_it():
    assert confirmed_legend(CLASSIFICATION) == "Confirmed: test accuracy of each run's best on fresh seeds. "
    assert confirmed_legend(GAIN) == (
        "Confirmed: test gain of each run's best on fresh seeds, in spreads of the baselines. "
    )


def test_a_stop_while_runs_are_compared_loses_nothing_and_says_so(run, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(comparing, "write_comparison", interrupted)
    config = make_config(search={"method": "random"})
    (tmp_path / "c.yaml").write_text(dump_config(config))
    arguments = ["--methods", "random,evolution", "--seeds", 2, "--candidates", 4, "--confirm-seeds", 0]
    code, out, _ = run("compare", "c.yaml", *arguments)
    assert code == 0
    assert out.endswith("Stopped; everything in runs/compare-c is saved. The same command goes on from there.\n")
