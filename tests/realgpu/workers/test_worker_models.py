from __future__ import annotations

import sys

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")

from realgpu.errors import RealGpuError  # noqa: E402 -- after the look for torch
from realgpu.workers.models import PLANS, build  # noqa: E402

PARAMETERS_M = {
    "resnet152": 60.19,
    "vgg19": 143.67,
    "bert-base": 109.48,
    "roberta-large": 355.36,
    "gpt2-large": 774.03,
    "llama2-7b": 6738.42,
    "chatglm3-6b": 6243.70,
}
"""Parameters in millions of the published models, ChatGLM3-6B in the shape of a Llama."""

IMAGES = ("resnet152", "vgg19")


def full_build(name: str) -> object:
    """A model at full scale without memory for its weights; those for text need transformers."""
    if name not in IMAGES:
        pytest.importorskip("transformers", reason="transformers is not installed: pip install transformers")
    return build(name, "full", device="meta", precision="float16")


def test_every_shipped_model_can_be_built() -> None:
    """The names are those of the catalog."""
    from profiles import load_catalog

    assert set(PLANS) == set(load_catalog().models) == set(PARAMETERS_M)


@pytest.mark.parametrize("name", PARAMETERS_M)
def test_full_shapes_have_the_published_parameters(name: str) -> None:
    """Counting parameters finds those of the published model, all in the precision asked for."""
    weights = list(full_build(name).network.parameters())
    assert sum(one.numel() for one in weights) / 1e6 == pytest.approx(PARAMETERS_M[name], abs=0.01)
    assert {one.dtype for one in weights} == {torch.float16}
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.parametrize("name", PARAMETERS_M)
def test_full_shapes_serve_and_train(name: str) -> None:
    """At full scale a batch of two goes through, three tokens of a decoder, and so does a training step."""
    full = full_build(name)
    with torch.inference_mode():
        assert len(list(full.answer(full.inputs(2), 3))) == 3
    loss = full.loss(full.inputs(2))
    torch.autograd.backward(loss)
    assert loss.shape == ()
    assert all(one.grad is not None for one in full.network.parameters())


@pytest.mark.parametrize("name", PARAMETERS_M)
def test_small_ones_answer_and_learn(name: str) -> None:
    """A few steps on one batch lower its loss, and it still answers."""
    torch.manual_seed(3)
    small = build(name)
    optimizer = torch.optim.SGD(small.network.parameters(), lr=0.01)
    inputs = small.inputs(4)
    losses = []
    for _ in range(8):
        torch.manual_seed(4)  # the same random labels
        optimizer.zero_grad()
        loss = small.loss(inputs)
        torch.autograd.backward(loss)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    with torch.inference_mode():
        assert len(list(small.answer(small.inputs(1), 1))) == 1


@pytest.mark.parametrize("name", ["gpt2-large", "llama2-7b", "chatglm3-6b"])
def test_a_decoder_continues_as_without_a_cache(name: str) -> None:
    """Token by token over cached keys and values it says what it says when it reads everything anew."""
    torch.manual_seed(5)
    small = build(name)
    small.network.eval()
    said: list[torch.Tensor] = []
    text = prompt = small.inputs(2)
    listening = small.network.register_forward_hook(lambda *told: said.append(told[2].logits[:, -1:]))
    with torch.inference_mode(), listening:
        list(small.answer(prompt, 5))
    with torch.inference_mode():
        for logits in said:
            torch.testing.assert_close(logits, small.network(input_ids=text).logits[:, -1:])
            text = torch.cat((text, logits.argmax(dim=-1)), dim=1)
    assert len(said) == 5


def test_a_decoder_learns_the_next_token() -> None:
    """Its loss is the mean surprise of each token after those before it."""
    small = build("gpt2-large")
    text = small.inputs(3)
    with torch.inference_mode():
        chances = small.network(input_ids=text).logits.log_softmax(dim=-1)
        surprises = [
            -chances[row, place, text[row, place + 1]] for row in range(3) for place in range(small.size - 1)
        ]
        torch.testing.assert_close(small.loss(text), torch.stack(surprises).mean())


def test_weights_follow_the_seed() -> None:
    """The same seed gives the same network, another one another."""

    def weights(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return next(build("bert-base").network.parameters())

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_long_answers() -> None:
    """A small decoder has no longest text; GPT-2 at full scale has, and says so."""
    small = build("llama2-7b")
    with torch.inference_mode():
        text = torch.randint(small.vocabulary, (1, 1100))
        assert small.network(input_ids=text).logits.shape == (1, 1100, small.vocabulary)
    full = full_build("gpt2-large")
    with pytest.raises(RealGpuError, match="iterations: found 1000, gpt2-large allows 896"):
        next(full.answer(full.inputs(1), 1000))


def test_an_unknown_model_names_the_nearest() -> None:
    """A misspelt name is answered with the one that was meant."""
    with pytest.raises(RealGpuError, match="found 'bert', nearest is 'bert-base'"):
        build("bert")


def test_without_transformers_only_images_have_full_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lacks is named, with what to do; the small ones and those for images do without."""
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(RealGpuError, match="bert-base at full scale needs transformers: pip install"):
        build("bert-base", "full", device="meta")
    build("bert-base")
    build("vgg19", "full", device="meta")
