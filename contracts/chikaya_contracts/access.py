"""The access code that opens a case with its reference, and the verifier that messages carry in its place.

The code is derived from intake's secret, so that an idempotent retry can give it again and no store holds it.
"""

import hashlib
import hmac

from .writing import plain

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base32: no I, L, O, U
LENGTH = 12  # x 5 bits


def code(secret: bytes, complaint_id: str) -> str:
    """The access code of a complaint: 60 bits, shown as `XXXX-XXXX-XXXX`."""
    number = int.from_bytes(hmac.digest(secret, complaint_id.encode(), hashlib.sha256)[:8]) >> 4
    letters = "".join(ALPHABET[number >> 5 * i & 31] for i in reversed(range(LENGTH)))
    return f"{letters[:4]}-{letters[4:8]}-{letters[8:]}"


def normalised(written: str) -> str:
    """A code as people type it, brought to one form: upper case, no separators, O as 0, I and L as 1."""
    return plain(written).upper().translate(str.maketrans("OIL", "011"))


def verifier(key: bytes, complaint_id: str, written: str) -> str:
    """What tracking keeps in place of the code (hex HMAC-SHA256)."""
    return hmac.new(key, f"{complaint_id}:{normalised(written)}".encode(), hashlib.sha256).hexdigest()


def opens(key: bytes, complaint_id: str, written: str, expected_verifier: str) -> bool:
    """Whether a code opens the case; in constant time."""
    return hmac.compare_digest(verifier(key, complaint_id, written), expected_verifier)
