"""The functions of `keras.ops.image`, on tapejit."""
