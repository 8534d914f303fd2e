"""What to write instead, for the error message on a text in another notation: Python's, numpy's, a paper's."""

import re

_CHARACTERS = {
    "^": "write x**2 for a power",
    "|": "write abs(x)",
    "√": "write sqrt(x)",
    "²": "write x**2 for a power",
    "³": "write x**3 for a power",
    "−": "write -",  # noqa: RUF001 - U+2212, the minus of typeset text
    "–": "write -",  # noqa: RUF001 - a dash
    "×": "write *",  # noqa: RUF001
    "·": "write *",
    "∗": "write *",  # noqa: RUF001
    "÷": "write /",
    "σ": "write sigmoid(x)",  # noqa: RUF001
    "π": "write pi",
    "Φ": "write 0.5 * (1 + erf(x / sqrt(2)))",
    "@": "write a@0.25",
}

_FUNCTIONS = {
    "ln": "write log(x)",
    "log2": "write log(x) / log(2)",
    "log10": "write log(x) / log(10)",
    "log1p": "write log(1 + x)",
    "expm1": "write exp(x) - 1",
    "pow": "write x**2 for a power",
    "power": "write x**2 for a power",
    "clamp": "write min(max(x, 0), 1)",
    "clip": "write min(max(x, 0), 1)",
    "maximum": "write max(a, b)",
    "minimum": "write min(a, b)",
    "arctan": "write atan(x)",
    "arcsinh": "write asinh(x)",
    "absolute": "write abs(x)",
    "fabs": "write abs(x)",
    "expit": "write sigmoid(x)",
    "logistic": "write sigmoid(x)",
    "tan": "write sin(x) / cos(x)",
}

_MODULES = ("np", "numpy", "torch", "math", "F", "nn", "functional", "special", "scipy", "jnp", "tf")


def of_character(text: str, position: int) -> str:
    """A hint on the character at ``position``, which no formula has there; empty if there is none."""
    character = text[position]
    if character == ".":
        module, name = re.search(r"(\w*)$", text[:position]), re.match(r"[A-Za-z_.]*", text[position + 1 :])
        if module and name and module.group() in _MODULES:
            return f"; write {name.group().rpartition('.')[2].lower() or 'tanh'}(x) without the module"
    return _written(_CHARACTERS.get(character))


def of_function(name: str) -> str:
    """A hint on a function that there is not; empty if there is none."""
    return _written(_FUNCTIONS.get(name))


def of_number(word: str) -> str:
    """A hint on a word that begins with a digit and is no number: a factor in front of a name."""
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)([a-z]\w*)", word)
    # 0x10, 1e and 1j are numbers in other languages.
    if parts is None or re.fullmatch(r"0[xob]\w+|[\d.]+[ej](\d\w*)?", word):
        return ""
    number, name = parts.groups()
    return f"; write {number} * {name}" + ("(x)" if len(name) > 1 else "")


def of_exponent(written: str) -> str:
    """A hint on an exponent that is no small whole number; empty if there is none."""
    if written.strip("()") in ("0.5", ".5", "1/2", "1 / 2"):
        return "; write sqrt(x), which is the root of abs(x)"
    if written.startswith("-"):
        return f"; write 1 / x**{written[1:]}" if written[1:].isdigit() else ""
    return ""


def _written(hint: str | None) -> str:
    return f"; {hint}" if hint else ""
