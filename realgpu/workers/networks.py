"""Networks in plain torch: the two for images at any width, and small ones for text.

Those for text are called as the ones of transformers are, so that they can stand in for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

VGG19_CHANNELS = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512, 512, 512, 512, 0)
"""Channels of its convolutions; 0 is a pooling (Simonyan and Zisserman, ICLR 2015, table 1, column E)."""

RESNET152_BLOCKS = (3, 8, 36, 3)
"""Bottlenecks of its stages (He et al., CVPR 2016, table 1)."""

_EXPANSION = 4
_CLASSES = 1000
_PLACES = 1024
"""Places of a small network for text; they begin anew after the last, so that there is no longest text."""


def vgg19(thinner: int = 1, pooled: int = 7) -> nn.Module:
    """Return VGG-19 without batch normalisation, its channels divided by `thinner`."""
    layers: list[nn.Module] = []
    channels = 3
    for wanted in VGG19_CHANNELS:
        if wanted:
            layers += [nn.Conv2d(channels, wanted // thinner, 3, padding=1), nn.ReLU()]
            channels = wanted // thinner
        else:
            layers.append(nn.MaxPool2d(2))
    hidden = 4096 // thinner
    layers += [
        nn.AdaptiveAvgPool2d(pooled),
        nn.Flatten(),
        nn.Linear(channels * pooled * pooled, hidden),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(hidden, _CLASSES),
    ]
    return nn.Sequential(*layers)


def resnet(blocks: Sequence[int] = RESNET152_BLOCKS, width: int = 64) -> nn.Module:
    """Return a residual network of bottlenecks; `width` is that of its first stage."""
    layers: list[nn.Module] = [*_normed(3, width, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]
    channels = width
    for stage, count in enumerate(blocks):
        inner = width << stage
        for block in range(count):
            stride = 2 if stage and not block else 1
            layers.append(_Bottleneck(channels, inner, stride))
            channels = inner * _EXPANSION
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, _CLASSES)]
    return nn.Sequential(*layers)


def _normed(channels: int, wanted: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """Return a convolution and its batch normalisation."""
    convolution = nn.Conv2d(channels, wanted, kernel, stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(wanted)]


class _Bottleneck(nn.Module):
    """Three convolutions beside a shortcut."""

    def __init__(self, channels: int, inner: int, stride: int) -> None:
        super().__init__()
        wanted = inner * _EXPANSION
        self.path = nn.Sequential(
            *_normed(channels, inner, 1),
            nn.ReLU(),
            *_normed(inner, inner, 3, stride),
            nn.ReLU(),
            *_normed(inner, wanted, 1),
        )
        same = channels == wanted and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*_normed(channels, wanted, 1, stride))
        self.out = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y: Tensor = self.out(self.path(x) + self.shortcut(x))
        return y


class _Block(nn.Module):
    """A transformer's layer, normalised first; with `past` it looks back on the keys and values of before."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.norm_attention = nn.LayerNorm(width)
        self.project = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.norm_feed = nn.LayerNorm(width)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the layer's output, and keys and values up to here."""
        batch, length, width = x.shape
        projected: Tensor = self.project(self.norm_attention(x))
        shape = (batch, length, 3, self.heads, width // self.heads)
        query, key, value = projected.view(shape).permute(2, 0, 3, 1, 4)
        if past is not None:
            key, value = torch.cat((past[0], key), dim=2), torch.cat((past[1], value), dim=2)
        causal = self.causal and past is None  # a single new token looks back on everything
        seen = functional.scaled_dot_product_attention(query, key, value, is_causal=causal)
        x = x + self.merge(seen.transpose(1, 2).reshape(batch, length, width))
        return x + self.feed(self.norm_feed(x)), (key, value)


class _Text(nn.Module):
    """Embeddings and layers, which encoder and decoder share."""

    def __init__(
        self, vocabulary: int, width: int, layers: int, heads: int, out: int, *, causal: bool
    ) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(_PLACES, width)
        self.blocks = nn.ModuleList(_Block(width, heads, causal=causal) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, out)

    def hidden(self, tokens: Tensor, past: Sequence[Any] | None) -> tuple[Tensor, list[Any]]:
        """Return what the layers make of tokens, and the keys and values of each."""
        before = 0 if past is None else past[0][0].shape[2]
        places = torch.arange(before, before + tokens.shape[1], device=tokens.device)
        x: Tensor = self.words(tokens) + self.places(places % _PLACES)
        present = []
        for number, block in enumerate(self.blocks):
            x, kept = block(x, None if past is None else past[number])
            present.append(kept)
        normed: Tensor = self.norm(x)
        return normed, present


class SmallEncoder(_Text):
    """A classifier of texts, in the manner of BERT."""

    def __init__(self, vocabulary: int, width: int, layers: int, heads: int) -> None:
        super().__init__(vocabulary, width, layers, heads, 2, causal=False)

    def forward(self, input_ids: Tensor) -> Any:
        """Return an object with `logits`, one row a text."""
        x, _ = self.hidden(input_ids, None)
        return SimpleNamespace(logits=self.head(x[:, 0]))


class SmallDecoder(_Text):
    """A language model, in the manner of GPT."""

    def __init__(self, vocabulary: int, width: int, layers: int, heads: int) -> None:
        super().__init__(vocabulary, width, layers, heads, vocabulary, causal=True)

    def forward(self, input_ids: Tensor, cache: Any = None, use_cache: bool = False) -> Any:
        """Return an object with `logits`, one row a token, and `cache` if asked for."""
        x, present = self.hidden(input_ids, cache)
        return SimpleNamespace(logits=self.head(x), cache=present if use_cache else None)
