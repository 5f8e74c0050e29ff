"""The headers of Standard Webhooks, for given bytes."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode
from binascii import b2a_base64
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
    keys = []
    for place, secret in enumerate((text or "").split(), start=1):
        # Some services print their secrets without the padding.
        encoded = secret.removeprefix(_PREFIX).rstrip("=")
        try:
            key = b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        except (binascii.Error, ValueError):
            key = None
        if not secret.startswith(_PREFIX):
            problem = f"does not begin with {_PREFIX}"
        elif key is None:
            problem = "is not base64"
        elif not _MIN_BYTES <= len(key) <= _MAX_BYTES:
            problem = f"has {len(key)} bytes, not {_MIN_BYTES} to {_MAX_BYTES}"
        else:
            keys.append(key)
            continue
        raise SigningSecretError(
            "signing_secret",
            f"secret {place} {problem}",
            "Give Standard Webhooks secrets (whsec_ and base64), separated by blanks",
        )
    return tuple(keys)


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
        headers = {
            "webhook-id": webhook_id,
            "webhook-timestamp": str(timestamp),
            "Idempotency-Key": webhook_id,
        }
        if self._keys:
            signed = f"{webhook_id}.{timestamp}.".encode() + body
            signatures = []
            for key in self._keys:
                mine = key.copy()
                mine.update(signed)
                signatures.append("v1," + b2a_base64(mine.digest(), newline=False).decode("ascii"))
            headers["webhook-signature"] = " ".join(signatures)
        return headers
