"""The functions of `keras.ops.linalg`, on tapejit."""
