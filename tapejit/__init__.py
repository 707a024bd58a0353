"""tapejit: TensorFlow 2's custom training loops, recorded as readable graphs and run as one native call. `import tapejit as tf`."""

from tapejit.version import __version__  # noqa: F401

from tapejit import ops as _ops  # noqa: F401
from tapejit.tensor import EagerTensor, Tensor, constant, convert_to_tensor, is_tensor  # noqa: F401
from tapejit.variable import Variable  # noqa: F401
from tapejit.tape import GradientTape, UnconnectedGradients  # noqa: F401
from tapejit import bitwise, math  # noqa: F401
from tapejit.math import abs, acos, acosh, add, add_n, argmax, argmin, asin, asinh, atan, atan2, atanh, complex, cos, cosh, cumsum, divide, equal, exp, floor  # noqa: A004, F401
from tapejit.math import greater, greater_equal, less, less_equal, logical_and, logical_not, logical_or, maximum, minimum, multiply, negative, not_equal, pow  # noqa: A004, F401
from tapejit.math import reduce_all, reduce_any, reduce_logsumexp, reduce_max, reduce_mean, reduce_min, reduce_prod, reduce_sum, round, scalar_mul, sigmoid  # noqa: A004, F401
from tapejit.math import sign, sin, sinh, sqrt, square, subtract, tan, tanh, truediv, truncatediv, truncatemod  # noqa: F401
from tapejit.creation import *  # noqa: A004, F401, F403
from tapejit.arrays import *  # noqa: F401, F403
from tapejit.selection import *  # noqa: A004, F401, F403
from tapejit.ordering import argsort, histogram_fixed_width, histogram_fixed_width_bins, searchsorted, sort  # noqa: F401
from tapejit.indexed_slices import IndexedSlices  # noqa: F401
from tapejit.core.dtypes import DType, as_dtype, bfloat16, bool_ as bool, complex64, complex128, float16, float32, float64, int8, int16, int32, int64  # noqa: A004, F401
from tapejit.core.dtypes import float16 as half, float64 as double, uint8, uint16, uint32, uint64  # noqa: F401
from tapejit.core.shape import TensorShape  # noqa: F401
from tapejit import errors  # noqa: F401
from tapejit.casting import *  # noqa: F401, F403
from tapejit.clipping import clip_by_global_norm, clip_by_norm, clip_by_value  # noqa: F401
from tapejit import image, linalg, nn, signal  # noqa: F401


from tapejit.linalg import einsum, matmul, norm, tensordot  # noqa: F401

newaxis = None
from tapejit import debugging, nest  # noqa: F401
from tapejit.debugging import Assert  # noqa: F401
from tapejit.host import numpy_function, py_function  # noqa: F401
from tapejit.output import print  # noqa: A004, F401
from tapejit import config  # noqa: F401
from tapejit.comparison import compare  # noqa: F401
from tapejit.function import function  # noqa: F401
from tapejit.spec import TensorSpec  # noqa: F401
from tapejit.gradients import custom_gradient, grad_pass_through, recompute_grad  # noqa: F401
from tapejit.control import case, cond, switch_case, while_loop  # noqa: F401
from tapejit.tensor_array import TensorArray  # noqa: F401
from tapejit.functional import *  # noqa: F401, F403
