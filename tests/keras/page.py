"""The page of the documentation that says how Keras' own tests come out: counts by group, and what we do not pass, each with its reason.

In: how the tests came out on tapejit (`suite.Found`) and what other backends pass (`peers`). Out: Markdown.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from tests.keras import peers

HEAD = """# Keras' own tests on tapejit

Written by `python -m tests.keras.suite --page docs/keras_tests.md`, which runs the tests that are installed with Keras {version}; [keras.md](keras.md) says more.
A count is passed/failed/skipped. The share is that of the tests which Keras passes on JAX or on NumPy; the counts of those two are kept in `tests/keras/peers`.
"""
REASONS = (  # what is known of a test by its id or by what it said, and the reason in words; the first that fits
    (r"float8", "float8 is no dtype of tapejit"),
    (r"lora.*int4|int4.*lora", "sets an attribute on a tensor, which tensors of tapejit do not take"),
    (r"Sparse sparse matmul unsupported", "multiplies two sparse matrices of a dtype that TensorFlow does not multiply"),
    (r"indexed_slices", "divides tf.IndexedSlices by a tensor with zeros; the rows that are not there stay so"),
    (r"sparse_correctness_scatter_update", "has an optimizer assign tf.IndexedSlices, which changes their rows alone, as in TensorFlow"),
    (r"local variable 'it'", "goes through the data in the way of TensorFlow, JAX or PyTorch, which it asks for by name"),
    (r"does(n't| not) support sparse", "there are no such sparse tensors"),
    (r"[Rr]agged", "there are no ragged tensors"),
    (r"JaxLayer and FlaxLayer", "wraps functions of JAX or modules of Flax in a layer, which takes JAX"),
    (r"[Ff]lash attention", "asks for flash attention, a kernel of GPUs, and runs on the JAX and PyTorch backends alone"),
    (r"specific to numpy backend", "asks for the NumPy backend by name"),
    (r"(?i)skipped: .*jax", "asks for the JAX backend by name"),
    (r"center_crop_test.*dynamic_spatial", "feeds images of several sizes: with sizes left open, Keras crops smaller ones where it else resizes"),
    (r"feature_space_test.*saving", "a lookup layer of Keras, which computes with TensorFlow, in a compiled step"),
)  # fmt: skip


def reason(test: str, said: str) -> str:
    """Why a test is not passed, in words; what it said itself where nothing more is known."""
    return next((words for pattern, words in REASONS if re.search(pattern, f"{test} {said}")), f"`{said}`")


def page(
    version: str,
    columns: Mapping[str, Mapping[str, str]],
    shares: Mapping[str, peers.Share],
    reasons: Mapping[str, str],
) -> str:
    """The page. `columns` has the outcomes by backend, ours first; `shares` are by group and of "all"; `reasons` is what tests said."""
    lines = [HEAD.format(version=version), f"| group | {' | '.join(columns)} | others pass | of those we pass | share |"]
    lines.append("|---" * (len(columns) + 4) + "|")
    for name, share in shares.items():
        counts = []
        for outcomes in columns.values():
            found = Counter(outcome for test, outcome in outcomes.items() if name in ("all", peers.group(test)))
            counts.append("/".join(str(found[o]) for o in peers.OUTCOMES) if found else "")
        lines.append(f"| {name} | {' | '.join(counts)} | {share.wanted} | {share.wanted - len(share.missing)} | {share} |")
    lines += ["", "## What we do not pass"]
    by_reason: dict[str, list[str]] = {}
    for test in shares["all"].missing:
        by_reason.setdefault(reason(test, reasons.get(test, "not run")), []).append(test)
    for words, tests in sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0])):
        lines += ["", f"{len(tests)}: {words}", "", *(f"- `{test}`" for test in tests)]
    return "\n".join(lines) + "\n"
