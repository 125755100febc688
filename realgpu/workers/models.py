"""The models of the catalog with random weights: small stand-ins, or their full shapes.

Full networks for text are those of the package transformers, built from their configurations; nothing is
downloaded.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from realgpu.errors import RealGpuError
from realgpu.workers.networks import SmallDecoder, SmallEncoder, resnet, vgg19

Scale = Literal["small", "full"]
Kind = Literal["image", "encoder", "decoder"]

PROMPT_TOKENS: Final = 128
"""Length of a text at full scale: that of published latencies, such as NVIDIA's for BERT (L128)."""

IMAGE_PIXELS: Final = 224
"""Side of an image at full scale (ImageNet)."""

_SMALL_PROMPT_TOKENS: Final = 16
_SMALL_IMAGE_PIXELS: Final = 32
_SMALL_VOCABULARY: Final = 512


@dataclass(frozen=True)
class Model:
    """A network and how it is fed.

    Attributes
    ----------
    size
        Pixels of an image's side, or tokens of a text.
    classes
        Labels that it is trained to tell apart; a decoder tells words apart.
    positions
        Tokens of prompt and answer together at most, where there is a limit.
    """

    name: str
    kind: Kind
    network: nn.Module
    size: int
    vocabulary: int
    classes: int
    positions: int | None

    def inputs(self, count: int) -> Tensor:
        """Return `count` random requests, on the network's device."""
        parameter = next(self.network.parameters())
        if self.kind == "image":
            shape = (count, 3, self.size, self.size)
            return torch.randn(shape, device=parameter.device, dtype=parameter.dtype)
        return torch.randint(self.vocabulary, (count, self.size), device=parameter.device)

    def answer(self, inputs: Tensor, iterations: int) -> Iterator[None]:
        """Serve a batch; it is advanced once an iteration.

        A decoder's first iteration reads the whole prompt, every other one the token that came out of the one
        before, over cached keys and values. The others answer in one, and in each again.
        """
        if self.kind != "decoder":
            for _ in range(iterations):
                self._logits(inputs)
                yield
            return
        if self.positions is not None and self.size + iterations > self.positions:
            most = self.positions - self.size
            raise RealGpuError(f"run: iterations: found {iterations}, {self.name} allows {most}")
        # Newer releases of transformers call it `cache`, older ones `past_key_values`.
        named = "cache" if "cache" in signature(self.network.forward).parameters else "past_key_values"
        cache: Any = None
        for _ in range(iterations):
            out = self.network(input_ids=inputs, use_cache=True, **{named: cache})
            inputs, cache = out.logits[:, -1:].argmax(dim=-1), getattr(out, named)
            yield

    def loss(self, inputs: Tensor) -> Tensor:
        """Return the loss of a batch with random labels, of a decoder that of its next tokens."""
        logits = self._logits(inputs)
        if self.kind == "decoder":
            ahead = logits[:, :-1].flatten(0, 1).float()
            return functional.cross_entropy(ahead, inputs[:, 1:].flatten())
        labels = torch.randint(self.classes, (len(inputs),), device=inputs.device)
        return functional.cross_entropy(logits.float(), labels)

    def _logits(self, inputs: Tensor) -> Tensor:
        if self.kind == "image":
            logits: Tensor = self.network(inputs)
        else:
            logits = self.network(input_ids=inputs).logits
        return logits


@dataclass(frozen=True)
class _Plan:
    """How to make a model at both scales. `full` is given transformers, where it is for text."""

    kind: Kind
    small: Callable[[], nn.Module]
    full: Callable[[Any], nn.Module]
    vocabulary: int = 0
    positions: int | None = None


def _bert_base(library: Any) -> nn.Module:
    network: nn.Module = library.BertForSequenceClassification(library.BertConfig())
    return network


def _roberta_large(library: Any) -> nn.Module:
    config = library.RobertaConfig(
        vocab_size=50265,
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        max_position_embeddings=514,
        type_vocab_size=1,
    )
    network: nn.Module = library.RobertaForSequenceClassification(config)
    return network


def _gpt2_large(library: Any) -> nn.Module:
    network: nn.Module = library.GPT2LMHeadModel(library.GPT2Config(n_embd=1280, n_layer=36, n_head=20))
    return network


def _llama2_7b(library: Any) -> nn.Module:
    network: nn.Module = library.LlamaForCausalLM(library.LlamaConfig())
    return network


def _chatglm3_6b(library: Any) -> nn.Module:
    """ChatGLM3 in the shape of a Llama, since transformers has not its code: 0.002 % more parameters."""
    config = library.LlamaConfig(
        vocab_size=65024,
        hidden_size=4096,
        num_hidden_layers=28,
        intermediate_size=13696,
        num_attention_heads=32,
        num_key_value_heads=2,
        attention_bias=True,
    )
    network: nn.Module = library.LlamaForCausalLM(config)
    return network


PLANS: Final[Mapping[str, _Plan]] = {
    "resnet152": _Plan("image", lambda: resnet((1, 2, 4), 8), lambda _: resnet()),
    "vgg19": _Plan("image", lambda: vgg19(16, 1), lambda _: vgg19()),
    "bert-base": _Plan("encoder", lambda: SmallEncoder(_SMALL_VOCABULARY, 64, 4, 4), _bert_base, 30522),
    "roberta-large": _Plan(
        "encoder", lambda: SmallEncoder(_SMALL_VOCABULARY, 96, 8, 4), _roberta_large, 50265
    ),
    "gpt2-large": _Plan(
        "decoder", lambda: SmallDecoder(_SMALL_VOCABULARY, 96, 6, 4), _gpt2_large, 50257, 1024
    ),
    "llama2-7b": _Plan("decoder", lambda: SmallDecoder(_SMALL_VOCABULARY, 128, 6, 4), _llama2_7b, 32000),
    "chatglm3-6b": _Plan("decoder", lambda: SmallDecoder(_SMALL_VOCABULARY, 128, 5, 4), _chatglm3_6b, 65024),
}
"""Shapes as published: https://huggingface.co, the config.json of each; the small ones are made up."""


def build(name: str, scale: Scale = "small", *, device: str = "cpu", precision: str = "float32") -> Model:
    """Return a model with random weights, made on the device in this precision.

    Raises
    ------
    RealGpuError
        If there is none of this name, or transformers is needed and not installed.
    """
    if name not in PLANS:
        nearest = difflib.get_close_matches(name, PLANS, n=1, cutoff=0.0)[0]
        raise RealGpuError(f"model: found {name!r}, nearest is {nearest!r} (allowed are {', '.join(PLANS)})")
    plan = PLANS[name]
    image, small = plan.kind == "image", scale == "small"
    library = None if image or small else _transformers(name)
    with torch.device(device), _default_precision(getattr(torch, precision)):
        network = plan.small() if small else plan.full(library)
    sizes = (_SMALL_IMAGE_PIXELS, IMAGE_PIXELS) if image else (_SMALL_PROMPT_TOKENS, PROMPT_TOKENS)
    return Model(
        name=name,
        kind=plan.kind,
        network=network,
        size=sizes[0] if small else sizes[1],
        vocabulary=_SMALL_VOCABULARY if small else plan.vocabulary,
        classes=1000 if image else 2,
        positions=None if small else plan.positions,
    )


@contextmanager
def _default_precision(wanted: torch.dtype) -> Iterator[None]:
    """Have new weights be of this type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(wanted)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _transformers(name: str) -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError:
        raise RealGpuError(
            f"model: {name} at full scale needs transformers: pip install transformers"
        ) from None
