"""The functions of `keras.ops.image` on tapejit, under the names and with the arguments that `keras.src.backend.*.image` have."""

from tapejit.keras.implementation.image.colours import *
from tapejit.keras.implementation.image.filters import *
from tapejit.keras.implementation.image.scaling import *
from tapejit.keras.implementation.image.transforms import *
