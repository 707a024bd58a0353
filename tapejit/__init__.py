"""tapejit: TensorFlow 2's custom training loops, recorded as readable graphs and run as one native call. `import tapejit as tf`."""

from tapejit.version import __version__  # noqa: F401

from tapejit import ops as _ops  # noqa: F401
from tapejit.tensor import EagerTensor, Tensor, constant, convert_to_tensor, is_tensor  # noqa: F401
from tapejit.variable import Variable  # noqa: F401
from tapejit.tape import GradientTape, UnconnectedGradients  # noqa: F401
