"""What a study of a single proxy is about: which functions, on which proxy, and the folder of its files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rlsearch.errors import InputError, StorageError, nearest, why
from rlsearch.formula import Formula
from rlsearch.rewards.settings import AnyProxy
from rlsearch.rewards.trainable import check_trainable
from rlsearch.runs.config import Config
from rlsearch.runs.folder import Run, opened
from rlsearch.studies.functions import Function, baselines_of, beside_baselines, functions_of
from rlsearch.studies.study import with_proxies

Given = Run | Path | str | Sequence[Formula]
"""What a study is asked about: a run or its folder, or any formulas."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a study is about.

    Attributes:
        functions: Formulas, and after them the baselines.
        config: Resolved.
        proxy: The one that is trained.
        name: Of the proxy, as the config's others are told from it.
        folder: For files and trainings. It is held against other processes.
        is_kept: Whether the folder stays.
    """

    functions: list[Function]
    config: Config
    proxy: AnyProxy
    name: str
    folder: Path
    is_kept: bool


@contextmanager
def subject(
    what: Given,
    config: Config | None = None,
    *,
    proxy: str | None = None,
    baselines: Sequence[str],
    best: int = 10,
    mirrors: bool = False,
    output: Path | None = None,
) -> Iterator[Subject]:
    """Yields what a study is about.

    That of a run has the folder ``confirm`` in the run, so that it shares the trainings of its confirmation.

    Args:
        what: A run, whose best functions are taken on a proxy of its own config, or formulas.
        config: Of formulas: the config that has the proxy; by default the panel.
        proxy: The name of the proxy; it may be left out where there is but one.
        baselines: Names or formulas.
        best: Of a run, how many functions.
        mirrors: Of a run, whether mirror images count each by itself.
        output: Of formulas: the folder; without it, nothing is kept.

    Raises:
        ConfigError: If the config's reward has no proxies.
        InputError: If the proxy cannot train a function, there is no such proxy, there are several and none is
            named, or there are no formulas.
        RunError: If the folder is not a run, is in use, or has no formula with a score.
        StorageError: If the folder cannot be made.
    """
    named = baselines_of(baselines)
    if isinstance(what, Run | Path | str):
        run = opened(what)
        ready = with_proxies(run.config)
        name, chosen = one_proxy(ready, proxy)
        with functions_of(run, best, named, mirrors=mirrors) as functions:
            folder = run.folder / "confirm"
            _make(folder)
            yield _checked(Subject(functions, ready, chosen, name, folder, is_kept=True))
        return
    if not what:
        raise InputError("expected a formula, or a run with results; got none")
    ready = with_proxies(config or Config())
    name, chosen = one_proxy(ready, proxy)
    functions = beside_baselines({f.fingerprint: f for f in reversed(what)}, {}, named)
    with held_folder(output) as folder:
        yield _checked(Subject(functions, ready, chosen, name, folder, is_kept=output is not None))


def one_proxy(config: Config, name: str | None) -> tuple[str, AnyProxy]:
    """The proxy of a config by its name in the panel, and that name.

    Raises:
        InputError: If there is none of that name, or there are several and none is named.
    """
    reward = config.proxy_reward
    assert reward is not None, "the config has proxies"
    by_name = dict(zip(reward.names, reward.proxies, strict=True))
    names = ", ".join(by_name)
    if name is None:
        if len(by_name) > 1:
            raise InputError(
                f"the config has {len(by_name)} proxies, and scores of one are wanted; name one of {names}"
            )
        return next(iter(by_name.items()))
    if name not in by_name:
        raise InputError(f"the config has no proxy {name!r}; expected one of {names}{nearest(name, by_name)}")
    return name, by_name[name]


@contextmanager
def held_folder(output: Path | None) -> Iterator[Path]:
    """Yields the folder that was asked for, held against other processes, or without one a folder that is not kept.

    Raises:
        StorageError: If it cannot be made.
        RunError: If another process holds it.
    """
    if output is None:
        with TemporaryDirectory() as folder:
            yield Path(folder)
        return
    _make(output)
    with Run(output).lock():
        yield output


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {why(error)}") from error


def _checked(found: Subject) -> Subject:
    """Refuses what the proxy cannot train, before anything is trained."""
    check_trainable([function.formula for function in found.functions], [found.proxy])
    return found
