"""The verbs.

init, train, mine, refine, runs, sample, top, check, evaluate, confirm, transfer, speedup, compare, report, export,
config, bench.

Everything heavy is imported inside the verbs, so that ``--help`` answers at once. Exit codes: 0 done (or stopped by
Ctrl-C with everything saved), 1 failed, 2 wrong usage, config or input.
"""

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
from rlsearch.cli.evaluate import evaluate
from rlsearch.cli.export import export
from rlsearch.cli.init import init
from rlsearch.cli.operators import operators
from rlsearch.cli.options import (
    ConfigArgument,
    CsvOption,
    EachOption,
    JsonOption,
    RunArgument,
    SetOption,
    check_folder_name,
    find_own_code_here,
    wants_rows,
)
from rlsearch.cli.refine import refine
from rlsearch.cli.report import report
from rlsearch.cli.runs import runs as list_runs
from rlsearch.cli.speedup import speedup
from rlsearch.cli.tables import (
    JUDGED_COLUMNS,
    judged_fields,
    leaderboard,
    make_table,
    number,
    print_out,
    print_outcome,
    print_rows,
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


app.command()(refine)
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
    as_csv: CsvOption = False,
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
    if wants_rows(as_json, as_csv):
        rows = [
            {"formula": shown(s.formula), "count": s.count, "probability": s.probability, **result_fields(s.result)}
            for s in samples
        ]
        print_rows(rows, as_csv=as_csv)
        return
    table = make_table("count", "probability", "reward", "score", "latency", "formula")
    for s in samples:
        fields = result_fields(s.result)
        reward = number(fields["reward"], "+.4f") if fields["status"] in (None, "ok") else str(fields["status"])
        table.add_row(
            str(s.count),
            f"{s.probability:.1e}",
            reward,
            number(fields["score"], ".4f"),
            number(fields["latency"], ".2f"),
            shown(s.formula),
        )
    print_out(table)
    print_out("Probability: with which the policy writes this spelling. What the run has not judged has dashes.")


@app.command()
def top(
    run: RunArgument,
    count: Annotated[int, typer.Option("-n", help="How many functions to show.")] = 10,
    each: EachOption = False,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Show the best functions of a run; it may still be going on.

    Mirror images, such as f(x) and -f(x), which a network can hardly tell apart, are one row.

    Example: rlsearch top runs/quickstart -n 20
    """
    from rlsearch.runs.read import top_groups

    groups = top_groups(run, count, mirrors=each)
    board, mirrored = [group.best for group in groups], [len(group.others) for group in groups]
    if wants_rows(as_json, as_csv):
        print_rows(judged_fields(board, mirrored), as_csv=as_csv, columns=JUDGED_COLUMNS)
        return
    if not board:
        print_out(f"{run} has no formula with a score yet.")
        return
    print_out(leaderboard(board, mirrored))


app.command()(evaluate)
app.command()(check)
app.command()(compare)
app.command()(confirm)
app.command()(transfer)
app.command()(speedup)
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
    if not loaded.model_fields_set:
        print_out(f"{config} sets nothing, so every setting has its default.")
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
