"""Sending a message to the endpoint that a subscriber named (PIX digest §3.2).

Where it may go is the operators' list (wire.py). An endpoint that wants to see who calls sees our
certificate, and the token of its own authorisation server where the operators say how to get one
(tokens.py).
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from chassis.destinations import Allowed, Resolve, looked_up
from pix.tokens import Credential, Tokens, credential_of
from pix.wire import Received, Wire


class Sender:
    """Sends one body to one endpoint; `deadline` is for all of it, the token included."""

    def __init__(
        self,
        allowed_: Allowed,
        context: ssl.SSLContext,
        *,
        credentials: Sequence[Credential] = (),
        deadline: float = 20.0,
        resolve: Resolve = looked_up,
    ) -> None:
        self.wire = Wire(allowed_, context, deadline, resolve)
        self.credentials, self.tokens = credentials, Tokens(self.wire)

    async def send(self, url: str, body: bytes, media: str) -> Received:
        """POST the body and hand back the answer, whatever its status.

        An endpoint that no longer takes a token (401) is asked again once, with a new one. Raises
        `Unsent` when the endpoint is not allowed, cannot be reached, or does not answer in time, and
        when its authorisation server gives no token.
        """
        until = self.wire.until()
        headers = {"Content-Type": media, "Accept": media}
        credential = credential_of(self.credentials, url)
        if credential is None or self.wire.allowed.fault(url):
            return await self.wire.post(url, body, headers, until=until)
        token = await self.tokens.get(credential, until)
        received = await self._with(token, url, body, headers, until)
        if received.status != 401:
            return received
        token = await self.tokens.get(credential, until, stale=token)
        return await self._with(token, url, body, headers, until)

    async def _with(
        self, token: str, url: str, body: bytes, headers: dict[str, str], until: float
    ) -> Received:
        bearing = {**headers, "Authorization": f"Bearer {token}"}
        return await self.wire.post(url, body, bearing, until=until)
