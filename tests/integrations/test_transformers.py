import pytest
import torch

from rlsearch import Formula
from rlsearch.errors import FormulaError, InputError
from rlsearch.formula.module import Activation

transformers = pytest.importorskip("transformers")
from rlsearch.integrations.transformers import ACT2FN, register, register_all, replace_gated_mlps  # noqa: E402

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _as_before():
    """Takes away what a test registers."""
    before = dict(ACT2FN.items())
    yield
    ACT2FN.clear()
    ACT2FN.update(before)


def llama(act):
    config = transformers.LlamaConfig(
        hidden_act=act, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        vocab_size=11, max_position_embeddings=16,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


def gpt2(act):
    config = transformers.GPT2Config(
        activation_function=act, n_embd=16, n_layer=2, n_head=2, vocab_size=11, n_positions=16, resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


@pytest.mark.parametrize("build", [llama, gpt2])
def test_a_model_trains_is_saved_and_is_loaded(build, tmp_path):
    """Predicting which of eleven tokens follows: a guess costs log(11) = 2.40 nats."""
    register("atanline")
    torch.manual_seed(0)
    model = build("atanline")
    modules = [m for m in model.modules() if isinstance(m, Activation)]
    assert [m.text for m in modules] == [str(Formula.parse("atanline(x)"))] * 2
    ids = torch.arange(16).remainder(11)[None]
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(40):
        optimiser.zero_grad()
        loss = model(ids, labels=ids).loss
        loss.backward()
        optimiser.step()
    assert loss.item() < 1.0
    model.save_pretrained(tmp_path)
    loaded = type(model).from_pretrained(tmp_path)
    torch.testing.assert_close(loaded.eval()(ids).logits, model.eval()(ids).logits, rtol=0, atol=0)
    assert sum(isinstance(m, Activation) for m in loaded.modules()) == 2


def test_any_formula_of_x_by_any_free_name():
    register("mine", "x * atan(x)")
    register("mine", Formula.parse("x * sin(x)"))
    x = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(ACT2FN["mine"](x), x * x.sin())
    assert ACT2FN["mine"] is not ACT2FN["mine"]


def test_all_named_functions_at_once():
    names = register_all()
    assert {"atanline", "gelusine", "selu"} <= set(names)
    assert not {"gelu", "silu", "swiglu"} & set(names)
    assert register_all() == names
    assert all(isinstance(ACT2FN[name], Activation) for name in names)
    assert not isinstance(ACT2FN["gelu"], Activation)


def test_what_cannot_be_registered_is_refused():
    before = set(ACT2FN)
    with pytest.raises(InputError, match=r"there is no named function 'atanlin'; .*; did you mean 'atanline'"):
        register("atanlin")
    with pytest.raises(
        InputError, match="'gelu' is an activation of transformers itself; expected a name that is free"
    ):
        register("gelu", "x * atan(x)")
    with pytest.raises(InputError, match=r"has the inputs x, g; expected a function of x alone, .* replace_gated_mlps"):
        register("swiglu")
    with pytest.raises(FormulaError, match="unknown function 'foo'"):
        register("mine", "foo(x)")
    assert set(ACT2FN) == before


def test_swiglu_in_the_place_of_the_product_changes_nothing():
    torch.manual_seed(0)
    model = llama("silu").eval()
    ids = torch.arange(16).remainder(11)[None]
    expected, state = model(ids).logits, model.state_dict()
    assert replace_gated_mlps(model, "swiglu(x, g)") == ["model.layers.0.mlp", "model.layers.1.mlp"]
    torch.testing.assert_close(model(ids).logits, expected)
    assert list(model.state_dict()) == list(state)
    model.load_state_dict(state)


def test_any_gated_formula_trains_in_the_place_of_the_product():
    torch.manual_seed(0)
    model = llama("silu")
    ids = torch.arange(16).remainder(11)[None]
    before = model(ids).logits
    replace_gated_mlps(model, Formula.parse("x * relu(g)**2 + tanh(g)"))
    assert not torch.allclose(model(ids).logits, before)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(40):
        optimiser.zero_grad()
        loss = model(ids, labels=ids).loss
        loss.backward()
        optimiser.step()
    assert loss.item() < 1.0


def test_what_is_no_gated_mlp_is_refused():
    with pytest.raises(InputError, match=r"'tanh[(]x[)]' has the inputs x; expected a function of x and g"):
        replace_gated_mlps(llama("silu"), "tanh(x)")
    with pytest.raises(InputError, match="a GPT2LMHeadModel has no module with the layers gate_proj, up_proj, down_"):
        replace_gated_mlps(gpt2("gelu"), "swiglu(x, g)")
