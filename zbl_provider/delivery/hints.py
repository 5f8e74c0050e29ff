"""What the answers of some servers mean, where the status alone would send a person astray."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

_APPS_SCRIPT_HOST: Final = "script.googleusercontent.com"
_APPS_SCRIPT: Final = (
    "the Google Apps Script has run, and its answer is a redirect: have doPost return "
    "HtmlService.createHtmlOutput('ok') in place of ContentService's output, before the lead is "
    "sent again"
)
CERTIFICATE_WANTED: Final = (
    "the server wants a client certificate: name it in cert in the connection's Extra"
)
CERTIFICATE_REFUSED: Final = (
    "the server does not accept the client certificate: check cert in the connection's Extra"
)


def hint(status: int, location: str | None, body: bytes) -> str | None:
    """
    Recognise an answer by what its server is known to say.

    :param status: the HTTP status code
    :param location: the Location header; only its host is looked at
    :param body: the start of the body; nothing of it is repeated
    :returns: what it means and what to change, free of secrets; None if it is not recognised
    """
    if location and HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        try:
            host = urlsplit(location).hostname
        except ValueError:
            return None
        return _APPS_SCRIPT if host == _APPS_SCRIPT_HOST else None
    if status == HTTPStatus.BAD_REQUEST:  # as nginx answers
        if b"No required SSL certificate was sent" in body:
            return CERTIFICATE_WANTED
        if b"The SSL certificate error" in body:
            return CERTIFICATE_REFUSED
    return None
