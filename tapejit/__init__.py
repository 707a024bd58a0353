"""tapejit: TensorFlow 2's custom training loops, recorded as readable graphs and run as one native call. `import tapejit as tf`."""

from tapejit.version import __version__

from tapejit import ops as _ops  # fills the table of ops
from tapejit.core.dtypes import (
    DType,
    as_dtype,
    bfloat16,
    bool_ as bool,
    complex64,
    complex128,
    float16,
    float16 as half,
    float32,
    float64,
    float64 as double,
)
from tapejit.core.dtypes import int8, int16, int32, int64, uint8, uint16, uint32, uint64
from tapejit.core.shape import TensorShape
from tapejit.spec import TensorSpec, TypeSpec, type_spec_from_value
from tapejit.tensor import EagerTensor, Tensor, constant, convert_to_tensor, is_symbolic_tensor, is_tensor
from tapejit.variable import Variable, VariableAggregation, VariableSynchronization
from tapejit.module import Module
from tapejit.scope import get_current_name_scope, name_scope
from tapejit.indexed_slices import IndexedSlices
from tapejit.tensor_array import TensorArray

# recording, differentiating, compiling
from tapejit.tape import GradientTape
from tapejit.targets import UnconnectedGradients
from tapejit.gradients import *
from tapejit.graph_gradients import *
from tapejit.from_text import from_text as _from_text
from tapejit.function import function
from tapejit.comparison import compare
from tapejit.context import *
from tapejit.control import *
from tapejit.functional import *
from tapejit.host import *

# namespaces
from tapejit import (
    autodiff,
    autograph,
    bitwise,
    config,
    debugging,
    dtypes,
    errors,
    explain,
    image,
    linalg,
    math,
    nest,
    nn,
    random,
    signal,
    sparse,
    types,
)

# what TensorFlow has at the top as well
from tapejit.arrays import *
from tapejit.casting import *
from tapejit.clipping import clip_by_global_norm, clip_by_norm, clip_by_value
from tapejit.creation import *
from tapejit.devices import device
from tapejit.initial_values import *
from tapejit.debugging import Assert, assert_equal, assert_greater, assert_less, assert_rank
from tapejit.linalg import einsum, matmul, norm, tensordot
from tapejit.math import (
    abs,
    acos,
    acosh,
    add,
    add_n,
    argmax,
    argmin,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    complex,
    cos,
    cosh,
    cumsum,
    divide,
    equal,
    exp,
    floor,
)
from tapejit.math import (
    greater,
    greater_equal,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    maximum,
    minimum,
    multiply,
    negative,
    not_equal,
    pow,
)
from tapejit.math import (
    reduce_all,
    reduce_any,
    reduce_logsumexp,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_prod,
    reduce_sum,
    round,
    scalar_mul,
    sigmoid,
)
from tapejit.math import sign, sin, sinh, sqrt, square, subtract, tan, tanh, truediv, truediv as realdiv, truncatediv, truncatemod
from tapejit.ordering import argsort, histogram_fixed_width, histogram_fixed_width_bins, searchsorted, sort
from tapejit.output import print
from tapejit.selection import *
from tapejit.sparse_tensor import SparseTensor
from tapejit.unknown import guard as _guard

newaxis = None
function.from_text = _from_text  # type: ignore[attr-defined]
_guard(  # the namespaces that not every program needs are loaded at the first use
    __name__,
    later=("data", "experimental", "keras", "test", "train"),
    within=dict.fromkeys(("initializers", "losses", "metrics", "optimizers"), "keras"),
)
