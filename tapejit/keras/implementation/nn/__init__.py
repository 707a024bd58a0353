"""The functions of `keras.ops.nn` on tapejit, under the names and with the arguments that `keras.src.backend.*.nn` have."""

from tapejit.keras.implementation.nn.activations import *
from tapejit.keras.implementation.nn.attention import *
from tapejit.keras.implementation.nn.classes import *
from tapejit.keras.implementation.nn.ctc import *
from tapejit.keras.implementation.nn.normalization import *
from tapejit.keras.implementation.nn.patches import *
from tapejit.keras.implementation.nn.windows import *
