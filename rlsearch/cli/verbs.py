"""The verbs.

init, train, mine, runs, sample, top, check, evaluate, confirm, transfer, compare, report, export, config, bench.

Everything heavy is imported inside the verbs, so that ``--help`` answers at once. Exit codes: 0 done (or stopped by
Ctrl-C with everything saved), 1 failed, 2 wrong usage, config or input.
"""

import csv
import shlex
import signal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from rlsearch.cli.arguments import with_formulas
from rlsearch.cli.bench import bench_app
from rlsearch.cli.check import check
from rlsearch.cli.compare import compare
from rlsearch.cli.confirm import confirm, transfer
from rlsearch.cli.export import export
from rlsearch.cli.init import init
from rlsearch.cli.operators import operators
from rlsearch.cli.options import (
    BaselinesOption,
    ConfigArgument,
    EachOption,
    JsonOption,
    RunArgument,
    SetOption,
    check_folder_name,
    find_own_code_here,
    functions_in,
)
from rlsearch.cli.report import report
from rlsearch.cli.runs import runs as list_runs
from rlsearch.cli.tables import (
    comparison_fields,
    comparison_table,
    leaderboard,
    make_table,
    measured_in_words,
    number,
    panel_of,
    print_json,
    print_out,
    print_outcome,
    print_steps,
    result_fields,
)
from rlsearch.errors import InputError, RlsearchError

app = typer.Typer(
    help="Find better activation functions with reinforcement learning.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Check or show a config.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(config_app, name="config")
app.add_typer(bench_app, name="bench")
app.command()(init)


SeedOption = Annotated[int | None, typer.Option(help="Seed of everything random; the same as --set seed=...")]
DeviceOption = Annotated[
    str | None, typer.Option(help="Where to train: auto, cpu or cuda; the same as --set device=...")
]


def _show_version(wanted: bool) -> None:
    if wanted:
        print_out(f"rlsearch {version('rlsearch')}")
        raise typer.Exit


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Find better activation functions with reinforcement learning."""


@app.command()
def train(
    config: Annotated[
        Path | None, typer.Argument(help="A file such as configs/quickstart.yaml.", metavar="CONFIG")
    ] = None,
    overrides: SetOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the run's folder; default: the config's name.")] = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    runs: Annotated[Path | None, typer.Option(help="Folder in which the run's folder is made; default: runs.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing run of that name.")] = False,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with a run that was stopped; without CONFIG.", metavar="RUN")
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="With --resume: a new number of rounds in all.")] = None,
    candidates: Annotated[
        int | None, typer.Option(help="With --resume: a new number of trained functions in all.")
    ] = None,
) -> None:
    """Train the controller from a config, or go on with a run.

    Example: rlsearch train configs/quickstart.yaml --set search.rounds=40
    """
    from rlsearch.cli.progress import watching

    find_own_code_here()
    if resume is not None:
        if config is not None or overrides or name or seed is not None or device or overwrite or runs is not None:
            raise InputError(
                "--resume takes folder and config of the run; only --rounds and --candidates can be given with it"
            )
        from rlsearch.runs.train import resume as resume_run

        with watching() as events:
            outcome = resume_run(resume, rounds, candidates, events=events)
        if outcome.finished and not outcome.rounds:
            print_out(f"{resume} has come to its end already; --rounds or --candidates make it longer.")
    else:
        if config is None:
            raise InputError("expected a config file, such as configs/quickstart.yaml, or --resume RUN")
        for option, value in (("rounds", rounds), ("candidates", candidates)):
            if value is not None:
                raise InputError(f"--{option} goes with --resume; for a new run use --set search.{option}=...")
        if name is not None:
            check_folder_name(name)
        from rlsearch.runs.config import load_config
        from rlsearch.runs.train import train as train_run

        loaded = load_config(config, _overrides(overrides, seed, device))
        with watching() as events:
            outcome = train_run(
                loaded, name, stem=config.stem, runs=runs or Path("runs"), overwrite=overwrite, events=events
            )
    print_outcome(outcome)


@app.command()
def mine(
    config: Annotated[Path, typer.Argument(help="A file such as configs/mine.yaml.", metavar="CONFIG")],
    overrides: SetOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the run's folder; default: the config's name.")] = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    runs: Annotated[Path, typer.Option(help="Folder in which the run's folder is made.")] = Path("runs"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing run of that name.")] = False,
) -> None:
    """Screen every formula of a language; train the cheapest.

    Training goes by successive halving: ever fewer functions, for ever longer.

    The same as "train" with search.method=mining; a run that was stopped goes on with "train --resume".

    Example: rlsearch mine configs/mine.yaml --set language.max_length=5
    """
    from rlsearch.cli.progress import watching
    from rlsearch.runs.config import load_config
    from rlsearch.runs.train import train as train_run
    from rlsearch.search.mining.method import MiningSearch

    find_own_code_here()
    if name is not None:
        check_folder_name(name)
    loaded = load_config(config, [*_overrides(overrides, seed, device), f"search.method={MiningSearch.name}"])
    with watching() as events:
        outcome = train_run(loaded, name, stem=config.stem, runs=runs, overwrite=overwrite, events=events)
    print_outcome(outcome)


def _overrides(by_path: list[str] | None, seed: int | None, device: str | None) -> list[str]:
    """An option is an override like any other, and stands after those of --set."""
    named = {"seed": seed, "device": device}
    return [*(by_path or []), *(f"{name}={value}" for name, value in named.items() if value is not None)]


app.command("runs")(list_runs)


@app.command()
def sample(
    run: RunArgument,
    count: Annotated[int, typer.Option("-n", help="How many formulas to write.")] = 20,
    greedy: Annotated[
        bool, typer.Option("--greedy", help="Take the most probable token each time, not a random one.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the random numbers; another seed writes other formulas.")] = 0,
    policy: Annotated[
        Path | None, typer.Option("--save-policy", help="Write the policy itself instead, for PPO.load.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write formulas with the trained policy, repeats merged.

    Example: rlsearch sample runs/quickstart -n 50
    """
    from rlsearch.formula.simplify import shown
    from rlsearch.runs.sample import sample as sample_run
    from rlsearch.runs.sample import save_policy

    if policy is not None:
        save_policy(run, policy)
        print_out(f"wrote {policy}; stable_baselines3.PPO.load reads it")
        return
    samples = sample_run(run, count, greedy=greedy, seed=seed)
    if as_json:
        print_json({"formula": shown(s.formula), "count": s.count, **result_fields(s.result)} for s in samples)
        return
    table = make_table("count", "reward", "score", "latency", "formula")
    for s in samples:
        fields = result_fields(s.result)
        reward = number(fields["reward"], "+.4f") if fields["status"] in (None, "ok") else str(fields["status"])
        table.add_row(
            str(s.count), reward, number(fields["score"], ".4f"), number(fields["latency"], ".2f"), shown(s.formula)
        )
    print_out(table)


@app.command()
def top(
    run: RunArgument,
    count: Annotated[int, typer.Option("-n", help="How many functions to show.")] = 10,
    each: EachOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, with the scores and gains on every proxy.")] = False,
) -> None:
    """Show the best functions of a run; it may still be going on.

    Mirror images, such as f(x) and -f(x), which a network can hardly tell apart, are one row.

    Example: rlsearch top runs/quickstart -n 20
    """
    from rlsearch.formula.simplify import shown
    from rlsearch.runs.read import top_groups

    groups = top_groups(run, count, mirrors=each)
    board, mirrored = [group.best for group in groups], [len(group.others) for group in groups]
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        proxies = panel_of(board)
        more = [*(f"score on {name}" for name in proxies), *(f"gain on {name}" for name in proxies)]
        writer.writerow(["rank", "reward", "score", "seeds", "latency", "formula", "mirrored", *more])
        for rank, (judged, images) in enumerate(zip(board, mirrored, strict=True), start=1):
            result = judged.result
            of_proxies = [result.scores.get(name) for name in proxies] + [result.gains.get(name) for name in proxies]
            row = [rank, result.value, result.score, judged.seeds, result.latency, shown(judged.formula)]
            writer.writerow([*row, images, *of_proxies])
        return
    if not board:
        print_out(f"{run} has no formula with a score yet.")
        return
    print_out(leaderboard(board, mirrored))


@app.command()
def evaluate(
    what: Annotated[list[str], typer.Argument(help="Such as 'x * sigmoid(x)', or a run.", metavar="FORMULA|RUN")],
    config: Annotated[
        Path | None,
        typer.Option(help="Config whose proxies are trained; default: the run's, or the panel."),
    ] = None,
    overrides: SetOption = None,
    seeds: Annotated[int, typer.Option(help="Number of fresh seeds that each function is trained from.")] = 5,
    best: Annotated[int, typer.Option(help="Number of the run's best functions to take.")] = 5,
    each: EachOption = False,
    baselines: BaselinesOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score formulas beside the baselines on fresh seeds.

    Their latency is measured too. Given a run, its best are scored, beside what the search saw of them.

    Example: rlsearch evaluate "x * tanh(x)" runs/quickstart --seeds 10
    """
    from rlsearch.cli.progress import counting
    from rlsearch.formula.typed import GATED, typed_formula
    from rlsearch.runs.folder import is_run

    find_own_code_here()
    # Formulas and a run may stand in any order.
    runs = [text for text in what if is_run(text)]
    if len(runs) > 1:
        raise InputError(f"expected at most one run, got {', '.join(runs)}")
    formulas = [typed_formula(text, GATED) for text in what if text not in runs]
    from rlsearch.runs.config import load_config
    from rlsearch.studies import evaluate as evaluation

    if overrides and config is None:
        raise InputError("--set goes with --config")
    against = None if baselines is None else functions_in(baselines)
    loaded = load_config(config, overrides or []) if config else None
    run = runs[0] if runs else None
    with counting() as events:
        rows = evaluation.evaluate(
            formulas, loaded, run=run, best=best, mirrors=each, baselines=against, seeds=seeds, events=events
        )
    if as_json:
        print_json(comparison_fields(row) for row in rows)
        return
    with_search = any(row.searched is not None for row in rows)
    measure = evaluation.what_is_measured(loaded, run)
    print_out(comparison_table(rows, seeds, with_search, measure))
    print_out(measured_in_words(measure, [row.latency for row in rows]))
    if run:
        print_out("Next:")
        shown = shlex.quote(run)
        print_steps(
            {
                f"rlsearch confirm {shown}": "what can be claimed: many seeds, intervals, tests",
                f"rlsearch export {shown} -o activation.py": "a torch module that imports nothing else",
            }
        )


app.command()(check)
app.command()(compare)
app.command()(confirm)
app.command()(transfer)
app.command()(operators)
app.command()(report)
app.command()(export)


@config_app.command("check")
def config_check(config: ConfigArgument, overrides: SetOption = None) -> None:
    """Check a config file, and that what it names is there; nothing is trained.

    Example: rlsearch config check configs/quickstart.yaml --set search.rounds=10
    """
    from rlsearch.runs.build import check_config, method_class, own_settings
    from rlsearch.runs.config import load_config

    find_own_code_here()
    loaded = load_config(config, overrides or [])
    check_config(loaded)
    method, own = method_class(loaded), own_settings(loaded)
    print_out(f"{config} is a valid config: {method.describe_budget(loaded.search, own)}.")


@config_app.command("show")
def config_show(config: ConfigArgument, overrides: SetOption = None) -> None:
    """Print a config with every default spelled out.

    Example: rlsearch config show configs/quickstart.yaml
    """
    from rlsearch.runs.config import dump_config, load_config

    sys.stdout.write(dump_config(load_config(config, overrides or [])))


def main() -> None:
    """Runs the command line; every expected error ends in one message and an exit code, without a traceback."""
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    try:
        # typer answers with a code for a Ctrl-C that no verb has caught.
        if app(with_formulas(sys.argv[1:]), prog_name="rlsearch", standalone_mode=False):
            _fail("interrupted", 1)
    except RlsearchError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", 1)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as error:
        usage = getattr(error, "format_message", None)
        if usage is None:
            raise
        message, context = usage(), getattr(error, "ctx", None)
        # No verb was given: the message is the help.
        if message.startswith("Usage:"):
            sys.stderr.write(message + "\n")
            sys.exit(2)
        _fail(f"{message} (see {context.command_path} --help)" if context else message, 2)


def _fail(message: str, exit_code: int) -> None:
    sys.stderr.write(f"rlsearch: {message}\n")
    sys.exit(exit_code)
