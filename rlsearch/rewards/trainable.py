"""Which formulas a config's proxies can train: all train those of ``x``, some networks gated ones too."""

from collections.abc import Iterable, Sequence

from rlsearch.errors import InputError
from rlsearch.formula import Formula
from rlsearch.formula.typed import GATED, OF_X
from rlsearch.proxies.networks import NETWORKS
from rlsearch.proxies.settings import ProxySettings
from rlsearch.rewards.settings import AnyProxy


def trains_gated(proxy: AnyProxy) -> bool:
    """Whether a proxy trains formulas of ``x`` and ``g`` too; a user's own trains those of ``x`` alone."""
    return isinstance(proxy, ProxySettings) and NETWORKS[proxy.network].gated


def why_not_gated(proxies: Iterable[AnyProxy]) -> str:
    """Which of the proxies train no gated formulas, and what does; empty if all of them train some."""
    others = dict.fromkeys(proxy.name for proxy in proxies if not trains_gated(proxy))
    if not others:
        return ""
    names = " and ".join(name for name in NETWORKS if NETWORKS[name].gated)
    return f"gated formulas are not trained by {', '.join(others)}, but by the network {names}"


def check_trainable(formulas: Iterable[Formula], proxies: Sequence[AnyProxy]) -> None:
    """Checks that every proxy can train every formula.

    Raises:
        InputError: If not.
    """
    for formula in formulas:
        if formula.inputs == OF_X:
            continue
        problem = f"'{formula}' is a function of {', '.join(formula.inputs)}"
        if formula.inputs != GATED:
            raise InputError(f"{problem}; expected one of x, or of x and g")
        if reason := why_not_gated(proxies):
            raise InputError(f"{problem}, and {reason}")
