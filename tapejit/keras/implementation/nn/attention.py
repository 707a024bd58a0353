"""Attention: softmax(query key^T) value."""

from __future__ import annotations

import math
from typing import Any

from keras.src.backend.common.dtypes import result_type

import tapejit as tf
from tapejit.keras.implementation.core import cast
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor

__all__ = ["dot_product_attention"]

_MASKED = -0.7 * 3.4028235e38  # finite, so that a row that is masked throughout has no NaN


def dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    bias: Any = None,
    mask: Any = None,
    scale: float | None = None,
    is_causal: bool = False,
    flash_attention: bool | None = None,
    attn_logits_soft_cap: float | None = None,
) -> Any:
    """[batch, time, heads, depth] of queries [batch, time, heads, depth] and keys and values [batch, sources, groups, depth].

    `bias` is added to the logits, which `mask` lets through where it is true; both broadcast with [batch, heads, time, sources]. Several
    heads share a key where there are fewer groups than heads. Logits and softmax are float32 at least. `attn_logits_soft_cap` is for
    flash attention, which there is none of here: ValueError if it is demanded, and for tensors that are not of rank 4.
    """
    query, key, value = (convert_to_tensor(x) for x in (query, key, value))
    if any(len(x.dims) != 4 for x in (query, key, value)):
        raise ValueError(
            f"`dot_product_attention` only supports 4D inputs. Received: query.shape={query.shape}, key.shape={key.shape}, "
            f"value.shape={value.shape}."
        )
    if flash_attention:
        raise ValueError("Flash attention is not supported with the tapejit backend; leave `flash_attention` out")
    dtype = result_type(query.dtype.name, key.dtype.name, value.dtype.name)
    wide = result_type(dtype, "float32")
    query, key, value = (cast(x, dtype) for x in (query, key, value))
    heads, groups = query.dims[2], key.dims[2]
    if heads != groups:
        key, value = (tf.repeat(x, heads // groups, axis=2) for x in (key, value))
    scale = 1.0 / math.sqrt(query.dims[-1]) if scale is None else scale
    logits = tf.einsum("btnh,bsnh->bnts", cast(query, wide), cast(key, wide)) * cast(scale, wide)
    if bias is not None:
        logits = logits + _of_heads(cast(bias, wide))
    if mask is not None:
        logits = tf.where(_of_heads(cast(mask, "bool")), logits, cast(_MASKED, wide))
    if is_causal:
        here, there = tf.range(query.dims[1]), tf.range(key.dims[1])
        logits = tf.where(here[:, None] >= there[None, :], logits, cast(_MASKED, wide))
    return tf.einsum("bnts,bsnh->btnh", cast(tf.nn.softmax(logits), dtype), value)


def _of_heads(x: Any) -> Any:
    """[batch, time, sources] as [batch, 1, time, sources]."""
    return tf.expand_dims(x, 1) if len(x.dims) == 3 else x
