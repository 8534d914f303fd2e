"""Refining the best functions of a run: one more round of it, in which their constants are trained."""

from pathlib import Path

from rlsearch.common.interrupts import stop_requests
from rlsearch.common.progress import AllOf, Events
from rlsearch.common.rng import random_numbers_kept
from rlsearch.common.threads import one_thread
from rlsearch.errors import ConfigError, InputError, RunError
from rlsearch.judging.archive import Archive
from rlsearch.judging.refining import Refinement, refine_leaders
from rlsearch.judging.settings import RefiningSettings
from rlsearch.runs.build import make_judge, make_reward, method_class, resolve
from rlsearch.runs.checkpoint import load_checkpoint, save_checkpoint
from rlsearch.runs.config import check_trainable_parameters
from rlsearch.runs.events import StopRequests
from rlsearch.runs.folder import Run, opened


def refine(run: Run | Path | str, *, best: int = 5, seeds: int = 3, events: Events = Events()) -> list[Refinement]:
    """Trains the constants of a run's best functions, and judges what they have learned by the run's own reward.

    Each constant becomes a parameter, four at most, which is trained with the networks of all proxies from several
    seeds. The mean of what is learned, over seeds, proxies and layers, is rounded to two digits and written back. The
    formula with parameters and the new one are stored in the run's archive as functions of one more round.

    Args:
        run: The run or its folder; nobody else may be writing to it.
        best: How many functions; those without constants, and those that were refined before, do not count.
        seeds: From how many seeds constants are trained on each proxy.
        events: Told of progress.

    Returns:
        One for each function, the best first; nothing where none of the best has constants.

    Raises:
        ConfigError: If the run's reward cannot train parameters.
        InputError: If ``best`` or ``seeds`` is not positive.
        RunError: If the folder is not a run, is in use, or is a search that must come to its end first.
        KeyboardInterrupt: If it is stopped. What was trained is stored.
    """
    if best < 1 or seeds < 1:
        raise InputError(f"expected at least one function and one seed, got best = {best} and seeds = {seeds}")
    run = opened(run)
    with run.lock(), random_numbers_kept(), one_thread():
        config = resolve(run.config)
        try:
            check_trainable_parameters(config, "refine")
        except ValueError as error:
            raise ConfigError(f"{run.folder} cannot be refined: {error}") from None
        state = load_checkpoint(run.checkpoint)
        # Such a search counts its rounds, and has none to spare.
        if method_class(config).fixed_length and not run.read_meta().get("finished", False):
            raise RunError(f"{run.folder} has not come to its end; go on with rlsearch train --resume {run.folder}")
        with Archive(run.archive) as archive, stop_requests() as check_stop:
            told = AllOf([events, StopRequests(check_stop)])
            reward, _ = make_reward(config, run)
            judge = make_judge(config, reward, archive, int(state["round"]), events=told)
            found = refine_leaders(judge, RefiningSettings(best=best, seeds=seeds))
            # A search that goes on does so after this round.
            save_checkpoint(run.checkpoint, judge.round, state["method"])
    return found
