"""Reference numbers: digits only, since they are spoken and typed on a telephone.

Year (4), sequence (8), two check digits by ISO 7064 MOD 97-10, which catch every single wrong digit and
every swap of two neighbours.
"""

from stdnum.exceptions import ValidationError
from stdnum.iso7064 import mod_97_10

from .writing import plain


def make(year: int, sequence: int) -> str:
    """The reference of the `sequence`-th complaint of `year`, 14 digits.

    Raises:
        ValueError: year or sequence has too many digits.
    """
    if not (1000 <= year <= 9999 and 0 < sequence < 10**8):
        raise ValueError(f"no reference for year {year}, sequence {sequence}")
    stem = f"{year}{sequence:08d}"
    return stem + mod_97_10.calc_check_digits(stem)


def parse(written: str) -> str:
    """The 14 digits of a reference as people write it: spaces, dashes, marks of direction, Arabic-Indic digits.

    Raises:
        ValueError: not a reference, or its check digits do not fit.
    """
    digits = plain(written)
    if len(digits) != 14 or not digits.isascii() or not digits.isdecimal():
        raise ValueError("a reference has 14 digits")
    try:
        mod_97_10.validate(digits)
    except ValidationError:
        raise ValueError("a digit of this reference is wrong") from None
    return digits


def spoken(reference: str) -> str:
    """The reference in groups, to be read aloud: `2026 0000 0123 45`."""
    return " ".join(reference[i : i + 4] for i in range(0, len(reference), 4))
