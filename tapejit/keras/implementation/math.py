"""The functions of `keras.ops` on segments, sequences and spectra, on tapejit."""
