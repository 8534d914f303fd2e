import pytest
import torch
from helpers_exports import executed, names_imported

from rlsearch import Formula, export
from rlsearch.errors import FormulaError, InputError

torch.set_num_threads(1)


@pytest.mark.parametrize(("text", "name"), [("x * atan(x)", "FeedForward"), ("swiglu(x, g)", "GatedFeedForward")])
def test_a_block_computes_its_layers_and_the_activation(text, name):
    formula = Formula.parse(text)
    block = executed(formula, "block")[name](12, bias=True)
    x = torch.randn(2, 5, 12, generator=torch.Generator().manual_seed(0))
    given = {"x": block.up(x)}
    if formula.is_gated:
        given["g"] = block.gate(x)
    torch.testing.assert_close(block(x), block.down(formula(**given)))
    assert block(x).shape == x.shape
    assert {name.rpartition(".")[2] for name, _ in block.named_parameters()} == {"weight", "bias"}


def test_a_gated_block_has_as_many_weights_as_the_other():
    """With width w two matrices of w times 4 w, and three of w times 8/3 w: both are 8 w squared."""
    pointwise, gated = (executed(Formula.parse(text), "block") for text in ("relu(x)", "reglu(x, g)"))
    counts = [
        sum(parameter.numel() for parameter in block.parameters())
        for block in (pointwise["FeedForward"](96), gated["GatedFeedForward"](96))
    ]
    assert counts == [8 * 96 * 96] * 2
    # 8/3 of 100 is 266.7, and the next multiple of 8 is 272.
    assert gated["GatedFeedForward"](100).up.out_features == 272
    assert gated["GatedFeedForward"](100, hidden=7).up.out_features == 7
    assert pointwise["FeedForward"](100).up.out_features == 400


def test_the_file_stands_by_itself():
    source = export("geglu(x, g)", "block", class_name="Mine")
    assert names_imported(source) == {"torch"}
    assert "class Mine(torch.nn.Module):" in source
    assert "# formula: " in source


def test_what_is_no_block_is_refused():
    with pytest.raises(
        InputError, match=r"'sin[(]g[)]' is a function of g; a feed-forward part takes one of x, or of x"
    ):
        export("sin(g)", "block")
    for taken in ("Activation", "torch", "a b"):
        with pytest.raises(FormulaError, match="is not a Python class name"):
            export("relu(x)", "block", class_name=taken)
