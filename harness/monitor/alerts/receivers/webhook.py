"""A POST of JSON, signed as the Standard Webhooks specification says, so that its libraries can verify it.

Signed are the id, the time and the body: https://www.standardwebhooks.com. The id is the same for each repetition.
"""

import base64
import binascii
import hashlib
import hmac

from streamgauge.harness.config.alerts import Webhook
from streamgauge.harness.monitor.alerts.receivers.attempt import Attempt
from streamgauge.harness.monitor.alerts.receivers.document import body
from streamgauge.harness.monitor.alerts.receivers.http import post

_PREFIX = "whsec_"  # of a secret that is written in base64


def send(table: Webhook, attempt: Attempt) -> None:
    content = body(attempt)
    moment = str(int(attempt.at))
    headers = {"idempotency-key": attempt.id, "webhook-id": attempt.id, "webhook-timestamp": moment, **table.headers}
    if table.secret is not None:
        headers["webhook-signature"] = f"v1,{signature(table.secret, attempt.id, moment, content)}"
    post(table.url, content, headers, seconds=table.timeout / 1e9, verify=table.verify)


def signature(secret: str, message: str, moment: str, content: bytes) -> str:
    signed = f"{message}.{moment}.".encode() + content
    return base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()


def _key(secret: str) -> bytes:
    """The bytes of a secret: those that `whsec_…` encodes, or else its text."""
    if secret.startswith(_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            pass
    return secret.encode()
