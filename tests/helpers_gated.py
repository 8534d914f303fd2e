"""A tiny transformer, which trains gated formulas, and configs of it."""

from helpers import make_config
from helpers_panels import TINY

TRANSFORMER = {
    "dataset": "text_sequences", "network": "transformer", "widths": [16], "heads": 2, "train_size": 128,
    "validation_size": 32, "test_size": 32, "batch_size": 16, "epochs": 1, "learning_rate": 1e-2,
}  # fmt: skip
POINTWISE = TINY
GATED_LANGUAGE = {"inputs": ["x", "g"], "operators": ["neg", "relu", "tanh", "mul", "add"], "max_length": 5}


def gated_config(language=(), reward=(), **more):
    """A config whose gated language a tiny transformer trains."""
    reward = {"proxies": [TRANSFORMER], "baseline_seeds": 2} | dict(reward)
    return make_config(reward, language=GATED_LANGUAGE | dict(language), rescoring={"every": 0}, **more)
