"""The functions of `keras.ops.numpy` on tapejit, under the names and with the arguments that `keras.src.backend.*.numpy` have."""

from tapejit.keras.implementation.numpy.creation import *
from tapejit.keras.implementation.numpy.elementwise import *
from tapejit.keras.implementation.numpy.ordering import *
from tapejit.keras.implementation.numpy.parts import *
from tapejit.keras.implementation.numpy.products import *
from tapejit.keras.implementation.numpy.reductions import *
from tapejit.keras.implementation.numpy.shapes import *
