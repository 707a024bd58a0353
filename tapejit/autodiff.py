"""`tf.autodiff`: forward mode and reverse mode under TensorFlow's namespace for both."""

from tapejit.forward import ForwardAccumulator
from tapejit.tape import GradientTape

__all__ = ["ForwardAccumulator", "GradientTape"]
