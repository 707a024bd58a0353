"""What every Keras layer is besides a layer: with tapejit nothing, as its variables are found by what they hold (`handle`)."""


class TapejitLayer:
    """The backend's part of `keras.layers.Layer`."""


NumpyLayer = TapejitLayer  # the name that is asked for in the seat
