"""DPoP at the token endpoint (RFC 9449 §5): a token that is bound to the key that its client shows.

Offered, not imposed: SMART's clients show bearer tokens. A proof counts once, in every process. What the
resource server makes of a bound token is chassis/proof.py's subject.
"""

from __future__ import annotations

from authlib.oauth2.base import OAuth2Error

from auth.accounts import Visit
from auth.authority import Authority
from chassis.call import Caller
from chassis.caller import dpop_challenge
from chassis.proof import NoProofError, judge
from standards.outcome import TOKEN, Issue, Refused


class InvalidProofError(OAuth2Error):
    """The proof proves nothing (RFC 9449 §5)."""

    error = "invalid_dpop_proof"


async def thumbprint(visit: Visit, authority: Authority) -> str:
    """The thumbprint of the key that the request proves; "" when it shows no proof. Raises
    `InvalidProofError`."""
    if not visit.dpop:
        return ""
    try:
        proof = judge(
            visit.dpop, token=None, method="POST", url=authority.token_endpoint,
            now=authority.clock(), skew=authority.settings.clock_skew,
        )  # fmt: skip
        if not await authority.proofs.use(proof):
            raise NoProofError("The proof was used before.")
    except NoProofError as fault:
        raise InvalidProofError(str(fault)) from None
    return proof.jkt


async def bearer(token: str, authority: Authority) -> Caller:
    """The caller behind a bearer token. Raises `Refused` (401), also when the token is bound to a key:
    the doors of this service take no proofs."""
    caller = await authority.verifier.caller(token)
    if caller.jkt:
        words = "The token is bound to a key, and this endpoint takes bearer tokens only."
        raise Refused(Issue(TOKEN, words), headers=dpop_challenge("invalid_token", words))
    return caller
