import math

import numpy as np
import pytest
import torch
from helpers import CURVE, DIGITS, Recorder, evaluated, make_config, proxies
from helpers_panels import OTHER, REFERRED, TINY, made, refer

from rlsearch.errors import ConfigError, InputError
from rlsearch.formula import Formula
from rlsearch.rewards.base import RewardResult, Status
from rlsearch.rewards.settings import function
from rlsearch.runs.build import make_reward, resolve
from rlsearch.studies import check as checking
from rlsearch.studies.check import BankEntry, bank_check, check, proxy_check, read_bank

torch.set_num_threads(1)

NAMES = ("relu", "gelu", "silu", "mish", "tanh", "sin", "x", "x * atan(x)", "elu", "softplus")


def write(path, *lines, header="formula,merit"):
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "bank.csv"


class TestReadingABank:
    def test_names_formulas_and_numbers(self, path):
        write(path, *(f"{name},{merit}" for merit, name in enumerate(NAMES)))
        entries = read_bank(path)
        assert [(entry.text, entry.merit) for entry in entries] == [(name, i) for i, name in enumerate(NAMES)]
        assert [entry.formula for entry in entries] == [function(name) for name in NAMES]

    def test_as_a_spreadsheet_writes_it(self, path):
        """With a mark at the beginning, quotes, other columns, and an empty line."""
        lines = [f'{i},"{name} ",{i / 10},a note' for i, name in enumerate(NAMES)]
        write(path, *lines[:3], "", *lines[3:], header="\ufeffformula no.,formula,loss,more")
        assert [(entry.text, entry.merit) for entry in read_bank(path, "loss")] == [
            (name, i / 10) for i, name in enumerate(NAMES)
        ]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("gelo,1", ":3: unknown name 'gelo' .*; did you mean 'gelu'"),
            ("sin(x,1", r":3: "),
            ("x * h,1", r":3: 'x [*] h' is a function of x, h; expected one of x and g"),
            (",1", ":3: expected a number, an input, a function"),
            ("tanh,good", ":3: the merit of tanh is 'good'; expected a finite number"),
            ("tanh,nan", ":3: the merit of tanh is 'nan'; expected a finite number"),
            ("tanh,-inf", ":3: the merit of tanh is '-inf'; expected a finite number"),
            ("tanh,", ":3: the merit of tanh is ''; expected a finite number"),
            ("tanh", ":3: the merit of tanh is ''; expected a finite number"),
            ("x * sigmoid(x),1", r":3: x [*] sigmoid\(x\) is the same function as silu"),
        ],
    )
    def test_a_wrong_line_is_told_with_its_number(self, path, line, message):
        write(path, "silu,3", line)
        with pytest.raises(InputError, match=f"^{path}{message}"):
            read_bank(path)

    def test_line_numbers_are_those_of_the_file(self, path):
        write(path, "silu,3", "", "", "gelo,1")
        with pytest.raises(InputError, match=f"^{path}:5: unknown name 'gelo'"):
            read_bank(path)

    @pytest.mark.parametrize(
        ("header", "merit", "message"),
        [
            ("formulas,merit", "merit", "has no column 'formula'; did you mean 'formulas'.; it has formulas, merit"),
            ("formula,merits", "merit", "has no column 'merit'; did you mean 'merits'.; it has formula, merits"),
            ("formula,merit", "accuracy", "has no column 'accuracy'; it has formula, merit"),
            ("", "merit", "has no column 'formula'; it has nothing"),
        ],
    )
    def test_a_column_that_is_missing(self, path, header, merit, message):
        write(path, "silu,3", header=header) if header else path.write_text("")
        with pytest.raises(InputError, match=f"^{path} {message}"):
            read_bank(path, merit)

    def test_a_file_that_is_none(self, path, tmp_path):
        with pytest.raises(InputError, match=f"^{path} cannot be read: .*No such file"):
            read_bank(path)
        path.write_bytes(b"formula,merit\n\xff\xfe,1\n")
        with pytest.raises(InputError, match=f"^{path} cannot be read: "):
            read_bank(path)
        with pytest.raises(InputError, match=f"^{tmp_path} cannot be read: "):
            read_bank(tmp_path)

    def test_too_little_to_put_in_order(self, path):
        lines = [f"{name},{i}" for i, name in enumerate(NAMES)]
        with pytest.raises(InputError, match="has 9 functions; expected at least 10, to speak of an order"):
            read_bank(write(path, *lines[:9]))
        with pytest.raises(InputError, match="all functions have one merit; expected different ones"):
            read_bank(write(path, *(f"{name},7" for name in NAMES)))


def bank(merits):
    return [BankEntry(str(i), Formula.parse(f"x + {i}"), float(merit)) for i, merit in enumerate(merits)]


def result(**gains):
    return RewardResult(0.0, Status.OK, math.fsum(gains.values()) / len(gains), gains=gains)


FAILED = RewardResult(-4.0, Status.DIVERGED)
RANKS = range(1, 11)


class TestTheOrderOfABank:
    """Merit is a rank, unless said otherwise: 1 is the best."""

    def orders(self, gains, merits=RANKS, **more):
        found = bank_check(
            bank(merits), [result(p=gain) for gain in gains], ["p"], **({"higher_is_better": False} | more)
        )
        (order,) = found.orders
        return found, order

    def test_the_same(self):
        found, order = self.orders([10 - rank for rank in RANKS])
        assert (order.everything, order.better_half) == pytest.approx((1.0, 1.0))
        assert order.high == pytest.approx(1.0)
        assert order.low == pytest.approx(1.0)
        assert (order.top_merit, found.best, found.chance) == (3.0, 3.0, 5.5)
        assert [row[1] for row in found.rows] == list(RANKS)
        assert order.title == "the reward's gain"

    def test_the_opposite(self):
        _, order = self.orders(list(RANKS))
        assert order.everything == pytest.approx(-1.0)
        assert order.top_merit == 8.0

    def test_two_neighbours_changed(self):
        """1 - 6 * 2 / (10 * 99) over all, and 1 - 6 * 2 / (5 * 24) over the better half, in which they are."""
        gains = [10 - rank for rank in RANKS]
        gains[0], gains[1] = gains[1], gains[0]
        _, order = self.orders(gains)
        assert order.everything == pytest.approx(1 - 12 / 990)
        assert order.better_half == pytest.approx(1 - 12 / 120)
        assert order.low < order.everything < order.high <= 1

    def test_a_merit_of_which_more_is_better(self):
        found, order = self.orders(list(RANKS), higher_is_better=True)
        assert order.everything == pytest.approx(1.0)
        assert (order.top_merit, found.best, found.chance) == (8.0, 8.0, 5.5)
        assert [row[1] for row in found.rows] == list(reversed(RANKS))

    def test_a_reward_that_tells_nothing(self):
        """No order, whichever the bank has; its first five are any."""
        found, order = self.orders([0.0] * 10)
        assert all(math.isnan(value) for value in (order.everything, order.low, order.high, order.better_half))
        assert order.top_merit == found.chance == 5.5

    def test_alike_ones_compete_for_the_last_places(self):
        """One is ahead, and eight are alike: the first five are that one and four of the eight, of mean merit 5.5."""
        _, order = self.orders([0, *[1.0] * 8, 2.0])
        assert order.top_merit == pytest.approx((10 + 4 * 5.5) / 5)

    def test_the_interval_is_the_same_each_time_and_holds_the_value(self):
        gains = np.random.default_rng(0).normal(size=30)
        first = self.orders(gains, range(30))[1]
        assert self.orders(gains, range(30))[1] == first
        assert -1 <= first.low < first.everything < first.high <= 1

    def test_more_functions_say_more(self):
        rng = np.random.default_rng(0)
        widths = []
        for count in (10, 100):
            merits = np.arange(count)
            order = self.orders(-merits + rng.normal(scale=count / 3, size=count), merits)[1]
            widths.append(order.high - order.low)
        assert widths[1] < widths[0] / 2

    def test_each_proxy_by_itself(self):
        """``a`` has the order of merit and ``b`` the opposite, at half the size."""
        results = [result(a=-float(rank), b=rank / 2) for rank in RANKS]
        found = bank_check(bank(RANKS), results, ["a", "b"], higher_is_better=False)
        assert [(o.title, round(o.everything, 9)) for o in found.orders] == [
            ("the reward's gain", 1.0), ("a", 1.0), ("b", -1.0),
        ]  # fmt: skip
        assert found.correlations == pytest.approx(np.array([[1, -1], [-1, 1]]))

    def test_what_has_no_score_comes_last_and_makes_no_proxies_alike(self):
        """Were the five that failed the lowest on both, the proxies would have something in common."""
        results = [result(a=-float(rank), b=float(rank)) for rank in RANKS[:5]] + [FAILED] * 5
        found = bank_check(bank(RANKS), results, ["a", "b"], higher_is_better=False)
        assert [row[2] for row in found.rows[5:]] == [FAILED] * 5
        assert found.correlations == pytest.approx(np.array([[1, -1], [-1, 1]]))
        assert found.orders[1].everything > 0.9
        assert [order.top_merit for order in found.orders] == [3.0] * 3

    def test_where_nothing_has_a_score_there_is_no_order(self):
        found = bank_check(bank(RANKS), [FAILED] * 10, ["a", "b"], higher_is_better=False)
        assert np.isnan(found.correlations).all()
        assert all(math.isnan(order.everything) for order in found.orders)


class TestAProxy:
    def references(self, reward, seconds):
        wall = iter(seconds)
        return [evaluated(t, 0.5, wall_seconds=next(wall, seconds[-1])) for t in reward.references]

    def test_a_candidate_costs_all_its_seeds_and_rates(self):
        """The first population compiles; the median does not see it."""
        reward = made(TINY | {"learning_rates": (0.01, 0.1)}, OTHER, seeds=3)
        refer(reward, REFERRED[0], REFERRED[0], REFERRED[1])
        references = self.references(reward, [90.0, 90.0, 0.5])
        assert proxy_check(reward, "digits-mlp", references).seconds == pytest.approx(0.5 * 2 * 3)
        assert proxy_check(reward, "digits-mlp (2)", references).seconds == pytest.approx(0.5 * 3)

    def test_scales_and_the_linear_network_are_the_reward_s(self):
        """The mean of the identity's seeds, as the warning has it."""
        reward = refer(made(TINY, OTHER), REFERRED[0] | {"x": (0.1, 0.5)}, REFERRED[1] | {"x": (None, None)})
        references = self.references(reward, [1.0])
        found = [proxy_check(reward, name, references) for name in ("digits-mlp", "digits-mlp (2)")]
        assert [proxy.linear for proxy in found] == [pytest.approx(0.3), None]
        assert [proxy.scale for proxy in found] == [reward.scale_of(proxy.title) for proxy in found]
        assert [proxy.way for proxy in found] == ["together", "together"]


class TestTrained:
    @pytest.fixture
    def config(self, tmp_path):
        panel = [DIGITS, DIGITS | {"dataset": "physics"}]
        return make_config(proxies(tmp_path, proxies=panel), kernel="torch", seed=3)

    def test_a_bank_is_judged_as_a_search_would(self, config, path):
        names = [*NAMES[:9], "x**3"]  # the last one is too steep
        write(path, *(f"{name},{i}" for i, name in enumerate(names)))
        recorder = Recorder()
        found = check(config, path, events=recorder)
        reward, _ = make_reward(resolve(config))
        results = dict(zip(names, reward([function(name) for name in names]), strict=True))
        assert {text: result for text, _, result in found.bank.rows} == results
        assert found.bank.rows[-1][0] == "x**3"
        assert found.bank.rows[-1][2].status is Status.UNFIT
        scores = [result.score for *_, result in found.bank.rows[:-1]]
        assert scores == sorted(scores, reverse=True)
        assert [(p.title, p.task.name, p.scale, p.linear) for p in found.proxies] == [
            (name, task, reward.scale_of(name), reward.linear_of(name))
            for name, task in (("digits-mlp", "classification"), ("physics-mlp", "regression"))
        ]
        assert found.in_spreads
        assert found.candidates_an_hour == pytest.approx(3600 / sum(proxy.seconds for proxy in found.proxies))
        counted = {what: (done, wanted) for what, done, wanted in recorder.progress}
        assert counted == {"references": (24, 24), "bank": (20, 20)}

    def test_without_a_bank_the_references_are_trained_alone(self, config):
        recorder = Recorder()
        found = check(config, events=recorder)
        assert found.bank is None
        assert {what for what, *_ in recorder.progress} == {"references"}

    def test_a_bank_is_read_before_anything_is_made(self, config, path, monkeypatch):
        monkeypatch.setattr(checking, "resolve", lambda config: 1 / 0)
        with pytest.raises(InputError, match="cannot be read"):
            check(config, path)

    def test_a_reward_without_proxies_cannot_be_checked(self):
        with pytest.raises(ConfigError, match="CurveReward has no proxies to train"):
            check(make_config(CURVE))
