"""The request of one lead as a curl command, in which every secret is a placeholder (1.5, 8.8)."""

import re
from shlex import quote

from zbl_provider.delivery.destination import Destination

_NO_WORD = re.compile(r"[^A-Z0-9]+")
# Linux takes 128 KiB for one argument of a program; a shell's own printf takes any length.
_LONGEST_ARGUMENT = 100_000


def command(destination: Destination, webhook_id: str, payload: str) -> str:
    """
    Return a command for a POSIX shell.

    The URL's path and query, the values of headers and the signature are shell variables, for
    whoever runs it to set.

    :param destination: where the lead is sent
    :param webhook_id: of the lead
    :param payload: the body that was sent
    """
    lines = [
        # Without -g curl takes brackets and braces of a URL for a pattern of its own.
        f'curl -g -X POST "{destination.origin}$ZBL_PATH"',
        "-H 'Content-Type: application/json'",
        f"-H {quote(f'webhook-id: {webhook_id}')}",
        f"-H {quote(f'Idempotency-Key: {webhook_id}')}",
        '-H "webhook-timestamp: $(date +%s)"',
    ]
    if destination.signing_secrets:
        lines.append('-H "webhook-signature: $ZBL_SIGNATURE"')
    taken: set[str] = set()
    for name, _ in destination.headers:
        variable = f"ZBL_HEADER_{_NO_WORD.sub('_', name.upper())}"
        while variable in taken:  # X-A and X_A are two headers
            variable += "_"
        taken.add(variable)
        lines.append(f'-H {quote(f"{name}: ")}"${variable}"')
    if len(payload.encode()) > _LONGEST_ARGUMENT:
        lines[0] = f"printf '%s' {quote(payload)} | {lines[0]}"
        lines.append("--data-binary @-")
    else:
        lines.append(f"--data-raw {quote(payload)}")
    return " \\\n  ".join(lines)
