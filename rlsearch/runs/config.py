"""The config of a run: the settings of every package in one tree, read from YAML, checked, and written back.

YAML 1.2 (so that ``3e-4`` is a number and ``no`` a text). Overrides (``--set a.b=c``) are merged before the check, so
they are held to the same rules.
"""

import io
import re
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, Tag, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from rlsearch.common.seeds import FIRST_FRESH_DATA_SEED, MAX_RUN_SEED
from rlsearch.common.settings import BY_TARGET, DEFAULT_KIND, TARGET_KIND, Settings, problems
from rlsearch.common.settings import RewardTarget as RewardTarget  # the other kind of reward
from rlsearch.common.targets import lies_in
from rlsearch.controller.methods import checked_method
from rlsearch.controller.settings import ControllerSettings
from rlsearch.errors import ConfigError, InputError, nearest
from rlsearch.formula.named import GATED_BASELINES, GATED_REFERENCE
from rlsearch.formula.settings import LanguageSettings
from rlsearch.formula.typed import GATED
from rlsearch.judging.settings import RefiningSettings, RescoringSettings
from rlsearch.proxies.settings import ProxySettings
from rlsearch.rewards.base import StatusValues
from rlsearch.rewards.settings import AnyProxy, RewardSettings
from rlsearch.rewards.trainable import check_trainable, why_not_gated
from rlsearch.search.settings import EvolutionSettings, ExhaustiveSettings, MiningSettings, SearchSettings


class LoggingSettings(Settings):
    """What goes to TensorBoard besides the scalars of every round."""

    every: int = Field(5, ge=1, description="rounds from one leaderboard, with its curves and histograms, to the next")
    best: int = Field(10, ge=1, le=50, description="formulas on the leaderboard")


class Config(Settings):
    """Everything that decides a run."""

    seed: int = Field(0, ge=0, lt=MAX_RUN_SEED, description="seed of everything random in the run")
    device: str = Field(
        "auto",
        description="where proxies are trained: auto (a GPU if there is one), cpu, cuda, or cuda:N for GPU number N",
    )
    kernel: Literal["auto", "torch", "numba", "triton"] = Field(
        "auto", description="what computes activations; auto: the fastest"
    )
    workers: int | None = Field(
        None, ge=1, le=1024, description="processes that train; None: one for each core, or one on a GPU"
    )
    code: Path | None = Field(
        None,
        description="folder of your own modules; None: the config file's, if a module that the config names is there",
    )
    language: LanguageSettings = Field(LanguageSettings(), description="which formulas can be written")
    search: Annotated[SearchSettings, AfterValidator(checked_method)] = Field(
        SearchSettings(), description="how formulas are found, and for how long"
    )
    controller: ControllerSettings = Field(ControllerSettings(), description="settings of the method ppo")
    evolution: EvolutionSettings = Field(EvolutionSettings(), description="settings of the method evolution")
    exhaustive: ExhaustiveSettings = Field(ExhaustiveSettings(), description="settings of the method exhaustive")
    mining: MiningSettings = Field(MiningSettings(), description="settings of the method mining")
    reward: Annotated[
        Annotated[RewardSettings, Tag(DEFAULT_KIND)] | Annotated[RewardTarget, Tag(TARGET_KIND)],
        BY_TARGET,
    ] = Field(
        RewardSettings(), description="what a formula is worth: gains on proxies, or a reward of your own by its target"
    )
    status_values: StatusValues = Field(StatusValues(), description="rewards of formulas that have no score")
    rescoring: RescoringSettings = Field(
        RescoringSettings(), description="how the best functions are trained again from further seeds"
    )
    refine: RefiningSettings = Field(
        RefiningSettings(), description="how the constants of the best functions are tuned while the search goes on"
    )
    logging: LoggingSettings = Field(LoggingSettings(), description="what goes to TensorBoard, and how often")

    @property
    def proxy_reward(self) -> RewardSettings | None:
        """The reward if it trains proxies; None if it is a user's own."""
        return self.reward if isinstance(self.reward, RewardSettings) else None

    @property
    def own_reward(self) -> RewardTarget | None:
        """The reward if it is a user's own; None if it trains proxies."""
        return self.reward if isinstance(self.reward, RewardTarget) else None

    @property
    def proxies(self) -> tuple[AnyProxy, ...]:
        """What the reward trains; nothing if the reward is a user's own."""
        return self.proxy_reward.proxies if self.proxy_reward else ()

    @property
    def targets(self) -> tuple[str, ...]:
        """The import paths of everything that is a user's own."""
        if self.own_reward:
            return (self.own_reward.target,)
        return tuple(chain.from_iterable(p.targets for p in self.proxies if not isinstance(p, ProxySettings)))

    @property
    def seeds_per_formula(self) -> int:
        """From how many seeds a new function is judged; a user's own reward knows no seeds."""
        return self.proxy_reward.seeds if self.proxy_reward else 1

    @field_validator("device")
    @classmethod
    def _is_a_device(cls, device: str) -> str:
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
            raise ValueError(f"expected auto, cpu, cuda or cuda:N, got {device!r}")
        return device

    @model_validator(mode="after")
    def _leaves_fresh_data_alone(self) -> Self:
        for proxy in self.proxies:
            if proxy.data_seed >= FIRST_FRESH_DATA_SEED:
                raise ValueError(
                    f"a data_seed of {proxy.data_seed} is one of those that confirm makes fresh data from; expected "
                    f"one below {FIRST_FRESH_DATA_SEED}"
                )
        return self

    @model_validator(mode="before")
    @classmethod
    def _with_gated_references(cls, given: Any) -> Any:
        """The published gated functions as reference and baselines of a gated language, where nothing else is said."""
        if not isinstance(given, Mapping) or not _is_gated(given.get("language")):
            return given
        reward = given.get("reward", {})
        if isinstance(reward, RewardSettings):
            unsaid = {name: value for name, value in _GATED_REFERENCES.items() if name not in reward.model_fields_set}
            reward = reward.model_copy(update=unsaid)
        elif isinstance(reward, Mapping) and "target" not in reward:
            reward = _GATED_REFERENCES | dict(reward)
        return {**given, "reward": reward}

    @model_validator(mode="after")
    def _can_train_parameters(self) -> Self:
        if self.refine.every:
            check_trainable_parameters(self, "refine")
        if self.language.parameters and not all(isinstance(proxy, ProxySettings) for proxy in self.proxies):
            raise ValueError(
                f"language.parameters is {self.language.parameters}, and a network of your own trains formulas without "
                "parameters; leave them out, or take proxies of rlsearch"
            )
        return self

    @model_validator(mode="after")
    def _can_train_the_language(self) -> Self:
        inputs, reward = self.language.inputs, self.proxy_reward
        if reward is None:
            return self
        where = f"language.inputs is {list(inputs)}"
        if not {"x"} <= set(inputs) <= set(GATED):
            raise ValueError(
                f"{where}; proxies train formulas of [x] or of [x, g], other inputs take a reward of yours"
            )
        if len(inputs) > 1 and (reason := why_not_gated(reward.proxies)):
            raise ValueError(f"{where}, and {reason}; set it to [x], or take that network or a reward of your own")
        if reward.screening.gated_only and len(inputs) == 1:
            raise ValueError(f"reward.screening.gated_only is true, and {where}: no formula would be fit")
        try:
            check_trainable(reward.scale_functions, reward.proxies)
        except InputError as error:
            raise ValueError(f"reward.reference and reward.baselines: {error}") from None
        return self


def check_trainable_parameters(config: Config, what: str) -> None:
    """Checks that all that the reward trains can train parameters of formulas.

    Args:
        config: The config.
        what: Needs it, for the message.

    Raises:
        ValueError: If not.
    """
    if config.proxy_reward is None:
        assert config.own_reward is not None
        raise ValueError(f"{what} trains constants on proxies, and {config.own_reward.target} has none")
    own = [proxy.name for proxy in config.proxies if not isinstance(proxy, ProxySettings)]
    if own:
        raise ValueError(f"{what} trains constants as parameters, and a network of your own has none: {', '.join(own)}")


_GATED_REFERENCES = {"reference": GATED_REFERENCE, "baselines": GATED_BASELINES}


def _is_gated(language: Any) -> bool:
    """Whether a language, checked or not, has the input of a gate."""
    inputs = language.get("inputs", ()) if isinstance(language, Mapping) else getattr(language, "inputs", ())
    return isinstance(inputs, Iterable) and "g" in inputs


REMOVED_SETTINGS = (("status_values", "illegal"),)
"""Keys that configs of earlier versions have, and that acted nowhere."""


def load_config(path: Path | str, overrides: Iterable[str] = (), *, of_run: bool = False) -> Config:
    """Reads a config file.

    Args:
        path: A YAML file.
        overrides: Texts of the form ``"controller.ppo.learning_rate=3e-4"``, applied before the check.
        of_run: Whether it is that of a run, which an earlier version may have written.

    Raises:
        ConfigError: With file, line, the key's path, what is wrong, and the nearest valid name.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        hint = "" if path.exists() else _configs_near(path)
        raise ConfigError(f"{path} cannot be read: {reason}{hint}") from error
    tree = _parse(text, str(path))
    if of_run:
        for group, key in REMOVED_SETTINGS:
            if isinstance(tree.get(group), CommentedMap):
                tree[group].pop(key, None)
    set_by_hand = [_override(tree, override) for override in overrides]
    try:
        config = Config.model_validate(_Plain(str(path)).of(tree))
    except ValidationError as error:
        lines = []
        for location, message in problems(Config, error):
            keys = [str(key) for key in location]
            where = f"{path}:{_line(tree, location)}: {'.'.join(keys) or 'the file'}"
            for by_hand in set_by_hand:
                option = f"--set {'.'.join(by_hand)}"
                if by_hand == keys[: len(by_hand)]:
                    # The key stands in the option already, unless what is wrong lies further within.
                    where = option if by_hand == keys else f"{option}: {'.'.join(keys)}"
                elif keys == by_hand[: len(keys)]:
                    # A group that the file and the override share.
                    where = f"{path}:{_line(tree, location)} with {option}: {'.'.join(keys) or 'the file'}"
            lines.append(f"{where}: {message}")
        raise ConfigError("\n".join(lines)) from None
    return config if of_run else _with_code(config, path.parent)


def _configs_near(path: Path) -> str:
    """What may have been meant by a config that is not there."""
    # Typed as on Windows, or without its folder.
    as_path = Path(str(path).replace("\\", "/"))
    for other in (as_path, Path("configs") / as_path.name):
        if other.is_file():
            return f"; did you mean {other}?"
    there = sorted(Path("configs").glob("*.yaml"))
    hint = nearest(path.stem, [config.stem for config in there])
    return hint + (f"; there is {', '.join(map(str, there))}" if there else "")


def _with_code(config: Config, folder: Path) -> Config:
    """The config with the folder of its own modules, so that a run is resumed from anywhere; none is imported."""
    if config.code is not None:
        return config.model_copy(update={"code": (folder / config.code).resolve()})
    if any(lies_in(folder, target) for target in config.targets):
        return config.model_copy(update={"code": folder.resolve()})
    return config


def dump_config(config: Config) -> str:
    """Writes the config as YAML, every value spelled out; :func:`load_config` reads it back."""
    yaml = YAML(typ="safe")
    yaml.default_flow_style = None  # short lists on one line
    yaml.width = 120
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = io.StringIO()
    yaml.dump(config.model_dump(mode="json"), stream)
    return stream.getvalue()


def _parse(text: str, name: str) -> CommentedMap:
    try:
        tree = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{name}:{line}: not YAML: {error.problem}") from None
    except YAMLError as error:
        raise ConfigError(f"{name}: not YAML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{name}: nested too deeply for a config") from None
    except (ValueError, KeyError, OverflowError, TypeError, AttributeError) as error:
        # The reader makes dates and tagged values as it goes, and lets their errors through.
        raise ConfigError(f"{name}: a value is not what it seems to be: {error}; put it in quotes") from None
    if tree is None:
        return CommentedMap()
    if not isinstance(tree, CommentedMap):
        kind = "list" if isinstance(tree, CommentedSeq) else "single value"
        raise ConfigError(f"{name}:1: expected settings of the form 'key: value', got a {kind}")
    return tree


def _override(tree: CommentedMap, override: str) -> list[str]:
    """Applies ``"a.b=value"`` to the tree; returns the path."""
    key, equals, value = override.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ConfigError(f"--set {override!r} is not of the form a.b=value")
    if not value.strip():
        raise ConfigError(f"--set {override!r} gives no value; write {key.strip()}=null for none")
    try:
        parsed = YAML(typ="rt").load(value)
    except (YAMLError, ValueError, KeyError, OverflowError, TypeError, AttributeError, RecursionError):
        raise ConfigError(f"--set {override!r}: {value!r} is not a YAML value") from None
    # Down the tree, making groups that are not there, and at the last key the value is put.
    node: Any = tree
    for i, name in enumerate(path):
        where: Any = name
        if isinstance(node, CommentedSeq):
            if not name.isdecimal() or int(name) >= len(node):
                group = ".".join(path[:i])
                raise ConfigError(
                    f"--set {override!r}: {group} is a list of {len(node)}, counted from 0; got {name!r} "
                    f"(--set '{group}=[...]' gives the whole list)"
                )
            where = int(name)
        elif not isinstance(node, CommentedMap):
            raise ConfigError(f"--set {override!r}: {'.'.join(path[:i])} is a value, not a group of settings")
        if i == len(path) - 1:
            node[where] = parsed
        elif isinstance(node, CommentedMap):
            node = node.setdefault(where, CommentedMap())
        else:
            node = node[where]
    return path


MAX_VALUES, MAX_DEPTH = 20_000, 100
"""Of a config with its aliases written out. Aliases of aliases can make millions of values out of a few lines."""


class _Plain:
    """Makes a tree into plain dicts, lists, numbers and texts; a tag or a date becomes text."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0

    def of(self, node: Any, depth: int = 0) -> Any:
        """The plain form of a part of the tree.

        Raises:
            ConfigError: If there are too many values, or an alias holds itself.
        """
        self.count += 1
        if self.count > MAX_VALUES or depth > MAX_DEPTH:
            raise ConfigError(
                f"{self.name}: more than {MAX_VALUES:,} values when aliases are written out; expected a few hundred"
            )
        if isinstance(node, CommentedMap):
            return {str(key): self.of(value, depth + 1) for key, value in node.items()}
        if isinstance(node, CommentedSeq):
            return [self.of(value, depth + 1) for value in node]
        for kind in (bool, int, float, str):
            if isinstance(node, kind):
                return kind(node)
        return None if node is None else str(node)


def _line(tree: CommentedMap, path: tuple[str | int, ...]) -> int:
    """The line of the deepest key of ``path`` that the file has."""
    line, node = 1, tree
    for key in path:
        try:
            position = node.lc.key(key) if isinstance(node, CommentedMap) else node.lc.item(key)
            line, node = position[0] + 1, node[key]
        except (KeyError, AttributeError, TypeError, IndexError):
            break
    return line
