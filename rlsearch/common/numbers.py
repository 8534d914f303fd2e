"""Numbers as people read them."""

TOO_LONG = 1e6
"""From here on a number is written as a power of ten: columns are made for rewards and scores near 1."""


def number_text(value: float, form: str) -> str:
    """A number in a format with decimals such as ``"+.4f"``; a large one with as many digits and a power of ten.

    Example:
        >>> number_text(0.5, "+.4f"), number_text(-1e39, "+.4f")
        ('+0.5000', '-1e+39')
    """
    return format(value, form if abs(value) < TOO_LONG else f"{form.removesuffix('f')}g")
