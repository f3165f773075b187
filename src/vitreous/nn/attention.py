"""Transformer blocks with pre-normalisation."""

import torch
import torch.nn.functional as F  # noqa: N812  the name that torch's own documentation uses
from torch import Tensor, nn

from vitreous.nn.rotary import Rotary, turn
from vitreous.typing import Float


def attend(
    q: Float[Tensor, "b h q d"],
    k: Float[Tensor, "b h c d"],
    v: Float[Tensor, "b h c d"],
    bias: Float[Tensor, "b h q c"] | None = None,
) -> Float[Tensor, "b h q d"]:
    """Scaled dot-product attention, with an optional bias on the logits.

    On the CPU the two products and the softmax are written out while gradients are needed: the backward pass of
    torch's fused kernel takes half of a training step there in bfloat16.
    """
    if q.is_cuda or not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v, None if bias is None else bias.to(q.dtype))
    logits = (q * q.shape[-1] ** -0.5) @ k.mT
    return softmax(logits if bias is None else logits + bias) @ v


def softmax(logits: Float[Tensor, "*b c"]) -> Float[Tensor, "*b c"]:
    """Softmax over the last axis that stays in the precision it is given: autocast would write float32."""
    with torch.autocast(logits.device.type, enabled=False):
        return torch.softmax(logits, -1)


class Attention(nn.Module):
    """Multi-head attention of queries ``[b, q, width]`` to a context ``[b, c, width]``."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "b q w"],
        context: Float[Tensor, "b c w"],
        rotary: Rotary | None = None,
        bias: Float[Tensor, "b h q c"] | None = None,
    ) -> Float[Tensor, "b q w"]:
        """Attend; ``rotary`` turns queries and keys alike (self-attention), ``bias`` is added to the logits."""
        q = self._split(self.query(x))
        k, v = map(self._split, self.key_value(context).chunk(2, -1))
        if rotary is not None:
            q, k = turn(q, rotary), turn(k, rotary)
        return self.out(attend(q, k, v, bias).transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Sequential):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, expansion: int = 4) -> None:
        super().__init__(
            nn.Linear(width, expansion * width), nn.GELU(approximate="tanh"), nn.Linear(expansion * width, width)
        )


class SelfBlock(nn.Module):
    """Self-attention, and a feed-forward layer unless left out."""

    def __init__(self, width: int, heads: int, *, feed_forward: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed_forward = nn.Sequential(nn.LayerNorm(width), FeedForward(width)) if feed_forward else None

    def forward(self, x: Float[Tensor, "b t w"], rotary: Rotary | None = None) -> Float[Tensor, "b t w"]:
        """Refine the tokens of each sequence on their own."""
        normed = self.norm(x)
        x = x + self.attention(normed, normed, rotary)
        return x if self.feed_forward is None else x + self.feed_forward(x)


class CrossBlock(nn.Module):
    """Cross-attention to a context, then a feed-forward layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.norm_context = nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.feed_forward = nn.Sequential(nn.LayerNorm(width), FeedForward(width))

    def forward(
        self, x: Float[Tensor, "b t w"], context: Float[Tensor, "b c w"], bias: Float[Tensor, "b h t c"] | None = None
    ) -> Float[Tensor, "b t w"]:
        """Add what the context tells each token."""
        x = x + self.attention(self.norm(x), self.norm_context(context), bias=bias)
        return x + self.feed_forward(x)
