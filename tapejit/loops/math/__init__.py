"""Source texts of the scalar mathematics, in the language that `tapejit.loops.scalar_math` reads; no code runs from here.

Literature: J.-M. Muller, "Elementary Functions"; W. Cody and W. Waite, "Software Manual for the Elementary Functions" (argument
reduction); N. Higham's and W. Kahan's formulas for the hyperbolic functions. The polynomials are weighted minimax fits made for
this package unless a comment names another source; each one's error relative to the function is below a quarter of an ulp.
"""

from tapejit.loops.math.exponential import EXPONENTIAL
from tapejit.loops.math.special import SPECIAL
from tapejit.loops.math.trigonometric import TRIGONOMETRIC

SOURCES: tuple[str, ...] = (EXPONENTIAL, TRIGONOMETRIC, SPECIAL)
