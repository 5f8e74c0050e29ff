"""The headers of Standard Webhooks, for given bytes."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from typing import TYPE_CHECKING, Final

from zbl_provider.exceptions import SigningSecretError

if TYPE_CHECKING:
    from collections.abc import Sequence

_PREFIX: Final = "whsec_"
_MIN_BYTES: Final = 24
_MAX_BYTES: Final = 64


def parse_secrets(text: str | None) -> tuple[bytes, ...]:
    """
    Read the connection's ``signing_secret`` (Contract 1.2 and 2.3).

    :param text: one or more ``whsec_…`` secrets, separated by blanks; the first signs first
    :returns: the keys, none if no secret is given
    :raises SigningSecretError: if one is not a Standard Webhooks secret; it is not shown
    """
    return tuple(_key(place, secret) for place, secret in enumerate((text or "").split(), start=1))


class Signer:
    """
    Names, dates and signs requests (Contract 2.3).

    :param secrets: the keys; without any, requests are not signed
    """

    __slots__ = ("_keys",)

    def __init__(self, secrets: Sequence[bytes]) -> None:
        # Copies of a begun one cost half of what `hmac.digest` does, and never let go of the GIL.
        self._keys = [hmac.new(secret, digestmod="sha256") for secret in secrets]

    def headers(self, webhook_id: str, timestamp: int, body: bytes) -> dict[str, str]:
        """
        Return the headers of one request.

        :param webhook_id: the lead's id towards this integration
        :param timestamp: when this attempt starts, in seconds since 1970
        :param body: the exact bytes that are sent
        """
        named = {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
            "Idempotency-Key": webhook_id,
        }
        if self._keys:
            signed = f"{webhook_id}.{timestamp}.".encode() + body
            named["webhook-signature"] = " ".join([_signature(key, signed) for key in self._keys])
        return named


def _signature(key: hmac.HMAC, signed: bytes) -> str:
    mine = key.copy()
    mine.update(signed)
    return "v1," + binascii.b2a_base64(mine.digest(), newline=False).decode("ascii")


def _key(place: int, secret: str) -> bytes:
    if not secret.startswith(_PREFIX):
        raise _refusal(place, f"does not begin with {_PREFIX}")
    try:
        # Some services print their secrets without the padding.
        encoded = secret.removeprefix(_PREFIX).rstrip("=")
        key = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _refusal(place, "is not base64") from None
    if not _MIN_BYTES <= len(key) <= _MAX_BYTES:
        raise _refusal(place, f"has {len(key)} bytes, not {_MIN_BYTES} to {_MAX_BYTES}")
    return key


def _refusal(place: int, problem: str) -> SigningSecretError:
    return SigningSecretError(
        field="signing_secret",
        problem=f"secret {place} {problem}",
        remedy="Give Standard Webhooks secrets (whsec_ and base64), separated by blanks",
    )
