"""Refining: constants of the leaders are trained, read off and judged again; in a search, and of a run that is done."""

import json
import sqlite3
from contextlib import closing

import pytest
from helpers import CURVE, InterruptAfter, archive_rows, make_config, proxies
from test_deaths import resumed_after_deaths

from rlsearch import Formula, refine, resume, top, train
from rlsearch.cli import main
from rlsearch.errors import ConfigError, InputError, RunError
from rlsearch.formula.simplify import simplified
from rlsearch.formula.tuning import with_parameters
from rlsearch.judging.refining import Refinement
from rlsearch.judging.settings import RefiningSettings
from rlsearch.runs.refine import refine as refine_run

LANGUAGE = {"operators": ["add", "mul", "sin", "sigmoid", "relu"], "constants": [0.1, 1.0, 2.0], "max_length": 6}
RESCORING = {"every": 2, "best": 2, "max_seeds": 3}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def config_of(folder, rounds=3, **more):
    own = {"language": LANGUAGE, "rescoring": RESCORING, "search": {"method": "evolution"}}
    return make_config(proxies(folder), rounds, 8, **own | more)


def evaluations(run, where):
    with closing(sqlite3.connect(run / "archive.sqlite")) as connection:
        return connection.execute(f"SELECT formula, seed, details FROM evaluations WHERE {where}").fetchall()


def assert_refined(row, run):
    """What holds of every row, by the archive alone."""
    assert isinstance(row, Refinement)
    assert row.tuned.formula == with_parameters(simplified(row.before.formula))
    learned = {}
    for _, _, details in evaluations(run, f"formula = '{row.tuned.formula.spelling}' AND status = 'ok'"):
        for letter, numbers in json.loads(details)["parameters"].items():
            learned.setdefault(letter, []).append(sum(numbers) / len(numbers))
    means = {letter: float(f"{sum(numbers) / len(numbers):.2g}") for letter, numbers in learned.items()}
    assert row.after.formula.fingerprint == row.tuned.formula.with_values(**means).fingerprint
    assert row.gain == row.after.reward - row.before.reward


def test_a_run_that_is_done(tmp_path):
    run = train(config_of(tmp_path), "run").run
    before = archive_rows(run.folder)
    rows = refine(run, best=2, seeds=2)
    assert 0 < len(rows) <= 2
    for row in rows:
        assert_refined(row, run.folder)
        # From two seeds on two proxies; the new formula as any new one, unless it leads and was scored again.
        assert len(evaluations(run.folder, f"formula = '{row.tuned.formula.spelling}'")) >= 4
        assert row.after.formula in [judged.formula for judged in top(run, 1000, mirrors=True)]

    # One round more, and nothing else has changed.
    after = archive_rows(run.folder)
    for table, there in before.items():
        if table != "functions":
            assert after[table][: len(there)] == there
    assert {round_number for round_number, *_ in after["proposals"]} == {0, 1, 2, 3}
    assert len(after["proposals"]) == len(before["proposals"]) + 2 * len(rows)

    # What was refined is not refined again.
    again = refine(run.folder, best=2)
    seen = {row.tuned.formula for row in rows}
    assert not seen & {row.tuned.formula for row in again}


def test_it_is_the_same_every_time(tmp_path):
    found = []
    for name in ("one", "two"):
        run = train(config_of(tmp_path), name).run
        refine(run, best=2, seeds=1)
        found.append(archive_rows(run.folder))
    assert found[0] == found[1]


def test_a_refined_run_can_be_made_longer(tmp_path):
    run = train(config_of(tmp_path), "run").run
    refine(run, best=1, seeds=1)
    outcome = resume(run, rounds=5)
    assert outcome.finished
    assert {round_number for round_number, *_ in archive_rows(run.folder)["proposals"]} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("method", ["evolution", "ppo"])
def test_in_a_search_a_refinement_is_a_round(method, tmp_path):
    """Round 1 of 0 to 3; an interrupt anywhere changes nothing."""
    controller = {"controller": {"restart_every": 3}} if method == "ppo" else {}
    config = config_of(tmp_path, 4, refine={"every": 2, "best": 2}, search={"method": method}, **controller)
    outcome = train(config, "whole")
    expected = archive_rows(outcome.run.folder)
    assert outcome.finished
    rounds = {}
    for number, _, spelling, *_ in expected["proposals"]:
        rounds.setdefault(number, []).append(Formula.parse(spelling))
    assert rounds.keys() == {0, 1, 2, 3}
    tuned = [formula for formula in rounds[1] if formula.parameters]
    assert 0 < len(tuned) <= 2
    assert len(rounds[1]) == 2 * len(tuned)
    assert not [formula for formula in (*rounds[0], *rounds[2]) if formula.parameters]
    # Every function that was trained counts.
    trained = {f for f, *_ in evaluations(outcome.run.folder, "round >= 0 AND status IN ('ok', 'diverged')")}
    assert {formula.spelling for formula in tuned} <= trained

    for rounds_done, within in ((1, 0), (1, 1), (1, 3), (2, 0), (2, 1)):
        name = f"stopped-{rounds_done}-{within}"
        assert not train(config, name, events=InterruptAfter(rounds_done, within)).finished
        assert archive_rows(resume(f"runs/{name}").run.folder) == expected


def test_a_search_that_dies_while_it_refines_ends_as_if_it_had_not(monkeypatch, tmp_path):
    config = config_of(tmp_path, 3, refine={"every": 2, "best": 2})
    expected, deaths = archive_rows(train(config, "whole").run.folder), 0
    for moment, outcome in resumed_after_deaths(monkeypatch, config, every=4, first=2):
        deaths += 1
        assert archive_rows(outcome.run.folder) == expected, moment
    assert deaths > 5


def test_when_a_refinement_is_due():
    assert [number for number in range(9) if RefiningSettings(every=3).is_due(number)] == [2, 5, 8]
    assert not any(RefiningSettings().is_due(number) for number in range(9))


def test_without_constants_there_is_nothing_to_do(tmp_path, capsys, monkeypatch):
    run = train(config_of(tmp_path, language=LANGUAGE | {"constants": []}), "run").run
    before = archive_rows(run.folder)
    assert refine(run) == []
    assert archive_rows(run.folder) == before
    monkeypatch.setattr("sys.argv", ["rlsearch", "refine", "runs/run"])
    main()
    assert "None of the best functions of runs/run has constants" in capsys.readouterr().out


def test_the_command(tmp_path, capsys, monkeypatch):
    train(config_of(tmp_path), "run")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("sys.argv", ["rlsearch", "refine", "runs/run", "--best", "1", "--seeds", "1", "--json"])
    main()
    (row,) = json.loads(capsys.readouterr().out)
    assert row["gain"] == pytest.approx(row["reward_after"] - row["reward_before"])
    assert Formula.parse(row["trained"]).parameters
    monkeypatch.setattr("sys.argv", ["rlsearch", "refine", "runs/run", "--best", "1", "--seeds", "1"])
    main()
    out = capsys.readouterr().out
    assert "before" in out
    assert "rlsearch confirm runs/run" in out


def test_what_cannot_be_refined(tmp_path):
    run = train(config_of(tmp_path, 1), "run").run
    with pytest.raises(InputError, match="expected at least one function and one seed, got best = 0 and seeds = 3"):
        refine_run(run, best=0)
    with pytest.raises(RunError, match="there is no run"):
        refine("runs/nothing")
    own = train(make_config(CURVE, 1), "own").run
    with pytest.raises(ConfigError, match="refine trains constants on proxies, and rlsearch_envs:CurveReward has none"):
        refine(own)
    with pytest.raises(ConfigError, match="refine trains constants on proxies"):
        make_config(CURVE, 1, refine={"every": 2})
    mining = config_of(tmp_path, refine={"every": 2}, search={"method": "mining"})
    with pytest.raises(ConfigError, match=r"refine\.every = 2 does not go with mining, whose length is"):
        train(mining, "mining")


def test_a_language_with_parameters_is_searched(tmp_path):
    """By evolution and by PPO; its functions are trained and ranked as all others."""
    language = LANGUAGE | {"parameters": {"a": 0.25, "b": 1.0}}
    for method in ("evolution", "ppo", "random"):
        outcome = train(config_of(tmp_path, 2, language=language, search={"method": method}), method)
        found = [judged.formula for judged in top(outcome.run, 1000, mirrors=True)]
        with_some = [formula.parameters for formula in found if formula.parameters]
        assert with_some
        assert all(parameters.items() <= language["parameters"].items() for parameters in with_some)


def test_a_language_with_parameters_needs_proxies_that_train_them(tmp_path):
    with pytest.raises(ConfigError, match="mining screens formulas without trained parameters; the language has a@1"):
        train(config_of(tmp_path, language=LANGUAGE | {"parameters": {"a": 1}}, search={"method": "mining"}), "run")
