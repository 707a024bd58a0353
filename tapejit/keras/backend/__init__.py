"""tapejit as a backend of Keras 3.15: what `keras.src.backend` imports of a backend, under the names it imports."""
