"""`tf.experimental`: what of it programs use without distribution or SavedModel."""

from __future__ import annotations

from tapejit.data.iterators import Optional

__all__ = ["Optional"]
