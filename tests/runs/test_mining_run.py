"""Mining as a run: from a config through the rungs to a leaderboard, killed and resumed."""

import dataclasses

import pytest
from helpers import Recorder, archive_rows, make_config, proxies
from helpers_deaths import Killed, death

from rlsearch import Formula, resume, train
from rlsearch.common.seeds import search_seed
from rlsearch.errors import ConfigError
from rlsearch.formula import RELU
from rlsearch.runs.config import dump_config
from rlsearch.runs.read import read_history, top, top_groups
from rlsearch.studies.evaluate import evaluate

LANGUAGE = {"operators": ["neg", "sin", "sigmoid", "add", "mul"], "constants": [], "min_length": 1, "max_length": 4}
RUNGS = [
    {"functions": 16, "epochs": 0.5},
    {"functions": 6},
    {"functions": 3, "seeds": 3},
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def config(folder, rungs=RUNGS, warm_start=(), screening=None):
    reward = proxies(folder, screening=screening or {})
    reward["proxies"] = [proxy | {"epochs": 2} for proxy in reward["proxies"]]
    # Of functions that are references too there is then the identity alone: no other baseline can be written.
    reward["baselines"] = ["relu", "gelu", "tanh"]
    search = {"method": "mining", "warm_start": warm_start}
    return make_config(reward, 1, 5, language=LANGUAGE, search=search, mining={"rungs": rungs})


@pytest.fixture(scope="module")
def mined(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mined")
    recorder = Recorder()
    return train(config(folder), "mined", runs=folder, events=recorder), recorder


def test_the_rungs_are_climbed(mined):
    """16 functions in rounds of 5, 5, 5 and 1 by both proxies at one epoch; 6 at two; 3 from two further seeds.

    One of the 16, and of the 6, is the identity, which was trained as a reference.
    """
    outcome, _ = mined
    assert outcome.finished
    rows = archive_rows(outcome.run.folder)
    sizes = [sum(row[0] == number for row in rows["proposals"]) for number in range(7)]
    assert sizes == [5, 5, 5, 1, 5, 1, 3]
    relu = RELU.fingerprint
    names = list(dict.fromkeys(row[4] for row in rows["evaluations"] if row[1] >= 0))
    assert len(names) == 4
    per_round = [[(row[2], row[4], row[5]) for row in rows["evaluations"] if row[1] == n] for n in range(7)]
    assert all(fingerprint != relu for trainings in per_round for fingerprint, _, _ in trainings)
    first = [t for trainings in per_round[:4] for t in trainings]
    assert len(first) == len(set(first)) == 30
    assert {t[1:] for t in first} == {(p, search_seed(0, 0)) for p in names[:2]}
    second = [t for trainings in per_round[4:6] for t in trainings]
    assert len(second) == 10
    assert {t[1:] for t in second} == {(p, search_seed(0, 0)) for p in names[2:]}
    assert {t[1:] for t in per_round[6]} == {(p, search_seed(0, i)) for p in names[2:] for i in (1, 2)}
    assert len(per_round[6]) == 12


def test_the_best_of_a_rung_enter_the_next(mined):
    outcome, _ = mined
    rows = archive_rows(outcome.run.folder)
    by_round = [[row for row in rows["proposals"] if row[0] == number] for number in range(7)]
    for rounds, after, count in (((0, 1, 2, 3), (4, 5), 6), ((4, 5), (6,), 3)):
        entered = sorted((row for n in rounds for row in by_round[n]), key=lambda row: -row[6])
        chosen = [row for n in after for row in by_round[n]]
        assert {row[3] for row in chosen} == {row[3] for row in entered[:count]}


def test_the_cheapest_enter_first_and_the_leaders_come_from_the_last_rung(mined):
    """Every operator costs a half here, so the cheapest are those with the fewest: x has none."""
    outcome, _ = mined
    rows = archive_rows(outcome.run.folder)
    first = [Formula.parse(row[2]) for row in rows["proposals"] if row[0] < 4]
    costs = [len(formula.program.instructions) for formula in first]
    assert costs == sorted(costs)
    assert first[0] == Formula.parse("x")
    board = [judged for judged in top(outcome.run, 50, mirrors=True) if not judged.is_reference]
    assert [judged.rung for judged in board] == [2] * 3 + [1] * 2 + [0] * 10
    assert [judged.formula for judged in outcome.leaderboard] == [g.best.formula for g in top_groups(outcome.run, 10)]
    known = read_history(outcome.run).known
    assert board[0].result == known[board[0].formula.fingerprint].result


def test_counts_and_progress(mined):
    outcome, recorder = mined
    assert list(outcome.counts) == ["tested", "unique", "fit", "trained"]
    assert outcome.counts["tested"] > outcome.counts["unique"] > outcome.counts["fit"] >= 16
    assert outcome.counts["trained"] == 15  # and the identity, which is a reference
    assert [what for what, _, _ in recorder.progress[:2]] == ["calibrating", "screening"]
    _, done, wanted = [progress for progress in recorder.progress if progress[0] == "screening"][-1]
    assert done == wanted
    assert [number for number, _, _ in recorder.rounds] == list(range(1, 8))
    assert {wanted for what, _, wanted in recorder.progress if what == "round"} == {7}


def test_fewer_functions_than_the_first_rung_takes(tmp_path):
    rungs = [{"functions": 500, "epochs": 0.5}, {"functions": 2}]
    recorder = Recorder()
    outcome = train(config(tmp_path, rungs), "few", events=recorder)
    assert outcome.finished
    assert outcome.counts["trained"] == outcome.counts["fit"] - 1 < 500  # all but the identity
    rounds = -(-outcome.counts["fit"] // 5) + 1
    assert {wanted for what, _, wanted in recorder.progress if what == "round"} == {rounds}
    assert recorder.progress[-1] == ("round", rounds, rounds)


def test_none_is_fit(tmp_path):
    with pytest.raises(ConfigError, match=r"of [0-9]+ formulas none is fit"):
        train(config(tmp_path, screening={"max_slope": 1e-9}), "none")


def test_too_little_memory_is_said(tmp_path, caplog, monkeypatch):
    from rlsearch.search.mining import engine

    whole = engine.mine
    monkeypatch.setattr(engine, "mine", lambda *a, **k: dataclasses.replace(whole(*a, **k), complete=False))
    assert train(config(tmp_path), "small").finished
    assert "for want of memory" in caplog.text
    assert "raise mining.memory_gib (4 now)" in caplog.text


def test_a_warm_start_enters_first(tmp_path):
    outcome = train(config(tmp_path, warm_start=["x * sigmoid(x)"]), "warm")
    rows = archive_rows(outcome.run.folder)["proposals"]
    assert rows[0][2] == "x * sigmoid(x)"
    assert len({row[3] for row in rows if row[0] < 4}) == 16


def test_a_warm_start_that_is_mined_too_keeps_its_place(tmp_path):
    rungs = [{"functions": 3}]
    outcome = train(config(tmp_path, rungs, warm_start=["sin(x * x)", "x * x"]), "warm")
    rows = archive_rows(outcome.run.folder)["proposals"]
    assert [row[2] for row in rows] == ["sin(x * x)", "x * x", "x"]


def test_evaluate_shows_the_scores_that_count(mined):
    outcome, _ = mined
    judged = outcome.leaderboard[0]
    rows = evaluate([judged.formula], run=outcome.run, best=1, seeds=2)
    (row,) = [row for row in rows if row.formula == judged.formula]
    assert row.searched.mean == pytest.approx(judged.result.score)
    assert row.searched.seeds == 3


def test_a_number_of_candidates_is_refused(tmp_path):
    wanted = config(tmp_path)
    search = wanted.search.check(wanted.search.model_dump() | {"candidates": 5})
    with pytest.raises(ConfigError, match=r"search\.candidates = 5 does not go with mining"):
        train(wanted.model_copy(update={"search": search}), "c")


def test_it_is_no_method_to_compare(run, tmp_path):
    (tmp_path / "m.yaml").write_text(dump_config(config(tmp_path)))
    code, _, err = run("compare", "m.yaml", "--methods", "ppo,mining", "--seeds", 2, "--candidates", 5)
    assert code == 2
    assert "unknown search method 'mining'" in err


def test_killed_before_or_after_any_write_it_ends_as_if_it_had_not_been(monkeypatch, tmp_path, mined):
    expected = archive_rows(mined[0].run.folder)
    deaths = 0
    for moment in range(1, 1000, 5):
        try:
            with death(monkeypatch, moment):
                train(config(tmp_path), f"dies-{moment}")
        except Killed:
            deaths += 1
        else:
            break
        folder = tmp_path / "runs" / f"dies-{moment}"
        outcome = resume(folder)
        assert outcome.finished
        assert outcome.counts == mined[0].counts
        found = archive_rows(folder)
        assert found["proposals"] == expected["proposals"]
        assert [row[1:] for row in found["evaluations"]] == [row[1:] for row in expected["evaluations"]]
    assert deaths >= 8


def test_what_screening_found_is_not_looked_for_again(monkeypatch, tmp_path):
    with pytest.raises(Killed), death(monkeypatch, 6):
        train(config(tmp_path), "killed")
    monkeypatch.setattr("rlsearch.search.mining.engine.mine", lambda *a, **k: 1 / 0)
    assert resume(tmp_path / "runs" / "killed").finished


def test_its_length_is_that_of_its_rungs(mined):
    with pytest.raises(ConfigError, match="cannot be made longer: its length is that of its rungs"):
        resume(mined[0].run.folder, rounds=20)


def test_a_reward_of_ones_own_cannot_be_mined():
    with pytest.raises(ConfigError, match="a reward of your own has none"):
        train(make_config(search={"method": "mining"}), "own")


@pytest.mark.parametrize(
    ("rungs", "message"),
    [
        ([], "at least 1"),
        ([{"functions": 4}, {"functions": 4, "seeds": 2}], "a rung of 4 functions after one of 4"),
        ([{"functions": 4}, {"functions": 2}], "expected a longer training or more seeds"),
        ([{"functions": 4}, {"functions": 2, "epochs": 0.5}], "expected a longer training or more seeds"),
        ([{"functions": 4, "epochs": 0.5}], "the last rung trains for 0.5 of the epochs; expected 1"),
        ([{"functions": 4, "epochs": 2}], "less than or equal to 1"),
        ([{"functions": 4, "epoch": 1}], "unknown key; did you mean 'epochs'"),
    ],
)
def test_wrong_rungs(rungs, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        config(tmp_path, rungs)


@pytest.mark.parametrize(
    ("rungs", "epochs", "message"),
    [
        (
            [{"functions": 16, "epochs": 0.4}, {"functions": 4}],
            (1, 1),
            r"mining\.rungs\.1 \(epochs 1, seeds 1\) .* mining\.rungs\.0 \(epochs 0\.4, seeds 1\) .* 1 epoch\(s\)",
        ),
        (
            [{"functions": 9, "epochs": 0.2}, {"functions": 8, "epochs": 0.3}, {"functions": 4}],
            (4, 2),
            r"mining\.rungs\.1 \(epochs 0\.3, .*both come to 1 epoch",
        ),
        ([{"functions": 9, "epochs": 0.5, "seeds": 2}, {"functions": 4, "seeds": 1}], (1, 1), r"both come to 1 epoch"),
    ],
)
def test_rungs_that_come_to_the_same_training_are_refused(rungs, epochs, message, tmp_path, run):
    """The second would train nothing, and every function of the first would have climbed it."""
    wanted = with_epochs(config(tmp_path, rungs), epochs)
    with pytest.raises(ConfigError, match=message):
        train(wanted, "same")
    assert not (tmp_path / "runs" / "same").exists()
    (tmp_path / "same.yaml").write_text(dump_config(wanted))
    code, out, err = run("config", "check", "same.yaml")
    assert (code, out) == (2, "")
    assert "would train nothing" in err


@pytest.mark.parametrize(
    ("rungs", "epochs"),
    [
        ([{"functions": 6, "epochs": 0.4}, {"functions": 2, "seeds": 2}], (1, 1)),  # more seeds
        ([{"functions": 6, "epochs": 0.4}, {"functions": 2}], (1, 2)),  # longer on one of the proxies
    ],
)
def test_a_rung_that_trains_more_in_any_way_is_climbed_by_as_many_as_it_says(rungs, epochs, tmp_path):
    outcome = train(with_epochs(config(tmp_path, rungs), epochs), "more")
    climbed = [judged for judged in read_history(outcome.run).known.values() if judged.rung == 1]
    assert len(climbed) == 2


def with_epochs(config, epochs):
    tree = config.model_dump()
    for proxy, number in zip(tree["reward"]["proxies"], epochs, strict=True):
        proxy["epochs"] = number
    return config.check(tree)


def test_the_verb(run, tmp_path):
    (tmp_path / "m.yaml").write_text(dump_config(config(tmp_path)))
    code, out, err = run("mine", "m.yaml", "--set", "mining.rungs.2.seeds=2", "--name", "v")
    assert code == 0
    assert out.startswith(f"{mined_counts(tmp_path)}; runs/v\n")
    assert "rlsearch confirm runs/v" in out
    assert "rlsearch sample" not in out  # there is no policy
    assert "screening: " in err
    assert "round 7/7" in err
    code, out, err = run("mine", "m.yaml", "--name", "v")
    assert (code, out) == (2, "")
    assert "exists" in err


def mined_counts(folder):
    counts = train(config(folder), "again").counts
    return ", ".join(f"{count} {name}" for name, count in counts.items())
