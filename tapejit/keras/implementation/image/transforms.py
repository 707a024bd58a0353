"""Images seen through a map of their coordinates: affine, in perspective, elastic, or any. Formulas: `jax.scipy.ndimage.map_coordinates`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import tapejit as tf
from tapejit.keras.implementation.core import cast
from tapejit.keras.implementation.core import dense_tensor as convert_to_tensor
from tapejit.keras.implementation.image.filters import gaussian_blur
from tapejit.keras.implementation.image.layout import batched, images_of, one_of
from tapejit.keras.implementation.numpy.promotion import floating
from tapejit.keras.implementation.random import _seed as seed_of

__all__ = ["affine_transform", "compute_homography_matrix", "elastic_transform", "map_coordinates", "perspective_transform"]

AFFINE_TRANSFORM_INTERPOLATIONS = {"nearest": 0, "bilinear": 1}  # and their order


# ---------------------------------------------------------------------------------------------------- samples
def _reflected(index: Any, size: Any) -> Any:
    """Indices folded back at 0 and size - 1."""
    last = size - 1
    turn = tf.maximum(2 * cast(last, "int32"), 1)
    return tf.abs(tf.math.floormod(index + last, turn) - last)


# where an index beyond the edge is read
_FOLDED: dict[str, Callable[[Any, Any], Any]] = {
    "constant": lambda index, size: tf.clip_by_value(index, 0, size - 1),
    "nearest": lambda index, size: tf.clip_by_value(index, 0, size - 1),
    "wrap": lambda index, size: tf.math.floormod(index, size),
    "mirror": _reflected,
    "reflect": lambda index, size: tf.math.floordiv(_reflected(2 * index + 1, 2 * size + 1) - 1, 2),
}


def _sampled(x: Any, coordinates: list[Any], order: int, fill_mode: str, fill_value: Any, batch_dims: int = 0) -> Any:
    """[batch..., points..., rest...] of [batch..., sizes..., rest...] and, for each size, coordinates [batch..., points...].

    `order` 0 takes the nearest element, 1 interpolates. Integers are rounded.
    """
    count = len(coordinates)
    sizes = x.dims[batch_dims : batch_dims + count]
    value = x if x.dtype.is_floating else cast(x, "float32")
    rest = [1] * (len(x.dims) - batch_dims - count)
    sides = []  # for each axis what is read: (index, weight)
    for c in coordinates:
        c = floating(c)
        if order == 0:
            sides.append([(cast(tf.floor(c + 0.5), "int32"), None)])
        else:
            low = tf.floor(c)
            index = cast(low, "int32")
            sides.append([(index, 1 - (c - low)), (index + 1, c - low)])
    total: Any = None
    for corner in product(*sides):
        index = tf.stack([_FOLDED[fill_mode](i, n) for (i, _), n in zip(corner, sizes, strict=True)], -1)
        part = tf.gather_nd(value, index, batch_dims=batch_dims)
        if fill_mode == "constant":
            inside: Any = None
            for (i, _), n in zip(corner, sizes, strict=True):
                fits = tf.logical_and(i >= 0, i < n)
                inside = fits if inside is None else tf.logical_and(inside, fits)
            part = tf.where(tf.reshape(inside, [*inside.dims, *rest]), part, cast(fill_value, part.dtype))
        for _, weight in corner:
            if weight is not None:
                part = part * tf.reshape(cast(weight, part.dtype), [*weight.dims, *rest])
        total = part if total is None else total + part
    if not x.dtype.is_floating:
        total = tf.where(total >= 0, tf.floor(total + 0.5), -tf.floor(0.5 - total))
    return cast(total, x.dtype)


def map_coordinates(inputs: Any, coordinates: Any, order: int, fill_mode: str = "constant", fill_value: Any = 0.0) -> Any:
    """`inputs` at coordinates [rank, ...], between elements interpolated (`order` 1) or the nearest one (0)."""
    inputs = convert_to_tensor(inputs)
    coordinates = tf.stack([floating(c) for c in coordinates]) if isinstance(coordinates, list | tuple) else floating(coordinates)
    if coordinates.dims[0] != len(inputs.dims):
        raise ValueError(
            "First dim of `coordinates` must be the same as the rank of `inputs`. "
            f"Received inputs with shape: {inputs.shape} and coordinate leading dim of {coordinates.dims[0]}"
        )
    if len(coordinates.dims) < 2:
        raise ValueError(f"Invalid coordinates rank: expected at least rank 2. Received input with shape: {coordinates.shape}")
    one_of("fill_mode", fill_mode, _FOLDED)
    one_of("order", order, (0, 1))
    return _sampled(inputs, tf.unstack(coordinates), order, fill_mode, fill_value)


def _grid(height: Any, width: Any) -> tuple[Any, Any]:
    """float32 rows and columns of all pixels, [height, width] each."""
    rows, columns = tf.meshgrid(cast(tf.range(height), "float32"), cast(tf.range(width), "float32"), indexing="ij")
    return rows, columns


# ---------------------------------------------------------------------------------------------------- maps
def affine_transform(
    images: Any,
    transform: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: Any = 0,
    data_format: str | None = None,
) -> Any:
    """The pixel at column x, row y is read at (a0 x + a1 y + a2, b0 x + b1 y + b2); `transform` is [8] or [batch, 8]: a0 a1 a2 b0 b1 b2 0 0."""
    one_of("interpolation", interpolation, AFFINE_TRANSFORM_INTERPOLATIONS)
    one_of("fill_mode", fill_mode, _FOLDED)
    images, transform = images_of(images), floating(transform)
    if len(transform.dims) not in (1, 2):
        raise ValueError(
            "Invalid transform rank: expected rank 1 (single transform) or rank 2 (batch of transforms). Received input with shape: "
            f"transform.shape={transform.shape}"
        )
    transform = tf.reshape(transform, [-1, 8]) if len(transform.dims) == 1 else transform

    def mapped(x: Any) -> Any:
        batch, height, width, _ = x.dims
        rows, columns = _grid(height, width)
        a0, a1, a2, b0, b1, b2 = (cast(transform[:, k], "float32")[:, None, None] for k in range(6))
        at = [tf.broadcast_to(c, [batch, height, width]) for c in (b0 * columns + b1 * rows + b2, a0 * columns + a1 * rows + a2)]
        return _sampled(x, at, AFFINE_TRANSFORM_INTERPOLATIONS[interpolation], fill_mode, fill_value, 1)

    return batched(images, data_format, mapped)


def compute_homography_matrix(start_points: Any, end_points: Any) -> Any:
    """[batch, 8]: the map in perspective that takes four end points [batch, 4, 2] to the start points."""
    start_points, end_points = convert_to_tensor(start_points), convert_to_tensor(end_points)
    x, y = start_points[..., 0], start_points[..., 1]
    to_x, to_y = end_points[..., 0], end_points[..., 1]
    one, zero = tf.ones_like(to_x), tf.zeros_like(to_x)
    rows = [
        tf.stack([to_x, to_y, one, zero, zero, zero, -x * to_x, -x * to_y], -1),
        tf.stack([zero, zero, zero, to_x, to_y, one, -y * to_x, -y * to_y], -1),
    ]
    return tf.squeeze(tf.linalg.solve(tf.concat(rows, 1), tf.concat([x, y], -1)[..., None]), -1)


def _corners(name: str, points: Any) -> Any:
    points = convert_to_tensor(points)
    if len(points.dims) not in (2, 3) or tuple(points.dims[-2:]) != (4, 2):
        raise ValueError(
            f"Invalid {name} shape: expected (4,2) for a single image or (N,4,2) for a batch. Received shape: {tuple(points.shape)}"
        )
    return points


def perspective_transform(
    images: Any,
    start_points: Any,
    end_points: Any,
    interpolation: str = "bilinear",
    fill_value: Any = 0,
    data_format: str | None = None,
) -> Any:
    """Images whose four points [4, 2] (or [batch, 4, 2]; columns, rows) come to lie at other four."""
    one_of("interpolation", interpolation, AFFINE_TRANSFORM_INTERPOLATIONS)
    images = images_of(images)
    start_points, end_points = _corners("start_points", start_points), _corners("end_points", end_points)
    if start_points.shape.as_list() != end_points.shape.as_list():
        raise ValueError(
            "start_points and end_points must have the same shape."
            f" Received start_points.shape={start_points.shape}, end_points.shape={end_points.shape}"
        )
    points = [cast(p[None] if len(p.dims) == 2 else p, "float32") for p in (start_points, end_points)]
    transform = compute_homography_matrix(*points)

    def mapped(x: Any) -> Any:
        batch, height, width, _ = x.dims
        rows, columns = _grid(height, width)
        a0, a1, a2, b0, b1, b2, c0, c1 = (transform[:, k][:, None, None] for k in range(8))
        depth = c0 * columns + c1 * rows + 1
        at = [(b0 * columns + b1 * rows + b2) / depth, (a0 * columns + a1 * rows + a2) / depth]
        at = [tf.broadcast_to(c, [batch, height, width]) for c in at]
        return _sampled(x, at, AFFINE_TRANSFORM_INTERPOLATIONS[interpolation], "constant", fill_value, 1)

    return batched(images, data_format, mapped)


def elastic_transform(
    images: Any,
    alpha: Any = 20.0,
    sigma: Any = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: Any = 0.0,
    seed: Any = None,
    data_format: str | None = None,
) -> Any:
    """Images whose pixels are moved by `alpha` times a random field that is smooth over `sigma` pixels (Simard et al. 2003)."""
    one_of("interpolation", interpolation, AFFINE_TRANSFORM_INTERPOLATIONS)
    one_of("fill_mode", fill_mode, _FOLDED)
    images = images_of(images)
    size = int(6 * sigma) | 1
    draws = tf.unstack(tf.random.split(seed_of(seed)))
    dtype = images.dtype if images.dtype.is_floating else tf.float32

    def mapped(x: Any) -> Any:
        batch, height, width, _ = x.dims
        at = []
        for grid, draw in zip(_grid(height, width), draws, strict=True):
            noise = tf.random.stateless_normal((batch, height, width, 1), draw, dtype=dtype) * cast(sigma, dtype)
            smooth = gaussian_blur(noise, (size, size), (sigma, sigma), "channels_last")[..., 0]
            at.append(grid + cast(alpha, "float32") * cast(smooth, "float32"))
        return _sampled(x, at, AFFINE_TRANSFORM_INTERPOLATIONS[interpolation], fill_mode, fill_value, 1)

    return batched(images, data_format, mapped)
