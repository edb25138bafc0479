"""Passkeys (WebAuthn level 3): options, and what an authenticator answers. PURE, by the library `webauthn`.

User verification is always required, so a passkey is two factors in one. No attestation is asked for: any
authenticator will do, and none is told from another.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    CredentialDeviceType,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from auth.people.person import Passkey, Person

_VERIFIED = UserVerificationRequirement.REQUIRED
_LONGEST_NAME = 60
_MOST = 20


class PasskeyRefused(ValueError):  # noqa: N818  says what happened
    """The answer of an authenticator does not hold; the text says which way, in our words."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where passkeys are for: the host of the public origin, and the origin itself."""

    host: str
    origin: str
    name: str

    @classmethod
    def of(cls, origin: str, name: str) -> Place:
        """The place of this public origin."""
        return cls(urlsplit(origin).hostname or "", origin, name)


def registration(place: Place, person: Person) -> tuple[str, bytes]:
    """The options to make a passkey with, as JSON, and their challenge."""
    options = generate_registration_options(
        rp_id=place.host,
        rp_name=place.name,
        user_name=person.username,
        user_id=person.handle,
        user_display_name=person.name,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=_VERIFIED
        ),
        exclude_credentials=_descriptors(person.passkeys),
    )
    return options_to_json(options), options.challenge


def registered(place: Place, answer: str, challenge: bytes, name: str, now: float) -> Passkey:
    """The new passkey. Raises `PasskeyRefused`."""
    credential = _credential(answer)
    try:
        made = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=place.host,
            expected_origin=place.origin,
            require_user_verification=True,
        )
    except WebAuthnException as fault:
        raise PasskeyRefused(
            f"The passkey was not made as it should be ({_kind(fault)})."
        ) from None
    told = credential.get("response", {}).get("transports") or []
    known = {t.value for t in AuthenticatorTransport}
    return Passkey(
        id=bytes_to_base64url(made.credential_id),
        key=made.credential_public_key,
        count=made.sign_count,
        name=" ".join(name.split())[:_LONGEST_NAME] or "Passkey",
        made=now,
        used=None,
        transports=tuple(t for t in told if t in known),
        synced=made.credential_device_type is CredentialDeviceType.MULTI_DEVICE,
    )


def room_for_more(person: Person) -> bool:
    """May the person have another passkey?"""
    return len(person.passkeys) < _MOST


def authentication(place: Place, passkeys: Sequence[Passkey] = ()) -> tuple[str, bytes]:
    """The options to sign in with, as JSON, and their challenge. Without passkeys the authenticator
    itself says whose it is."""
    options = generate_authentication_options(
        rp_id=place.host, allow_credentials=_descriptors(passkeys), user_verification=_VERIFIED
    )
    return options_to_json(options), options.challenge


def credential_id(answer: str) -> str:
    """The id of the passkey that an answer is from. Raises `PasskeyRefused`."""
    return str(_credential(answer)["id"])


def used(place: Place, answer: str, challenge: bytes, passkey: Passkey, person: Person) -> int:
    """The new counter of the passkey that was used. Raises `PasskeyRefused`."""
    credential = _credential(answer)
    handle = credential.get("response", {}).get("userHandle")
    if handle and not _same(handle, person.handle):
        raise PasskeyRefused("The passkey names another person than the one it was made for.")
    try:
        made = verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=place.host,
            expected_origin=place.origin,
            credential_public_key=passkey.key,
            credential_current_sign_count=passkey.count,
            require_user_verification=True,
        )
    except WebAuthnException as fault:
        raise PasskeyRefused(f"The passkey's answer does not hold ({_kind(fault)}).") from None
    return made.new_sign_count


def amr(passkey: Passkey) -> tuple[str, ...]:
    """How a sign-in with this passkey is told (RFC 8176)."""
    return ("swk" if passkey.synced else "hwk", "user", "mfa")


def _credential(answer: str) -> dict[str, Any]:
    try:
        read = json.loads(answer)
    except ValueError:
        read = None
    whole = isinstance(read, dict) and isinstance(read.get("id"), str)
    if not whole or not isinstance(read.get("response"), dict):
        raise PasskeyRefused("The browser sent no passkey.")
    return cast("dict[str, Any]", read)


def _same(handle: object, own: bytes) -> bool:
    if not isinstance(handle, str) or not handle.isascii():
        return False
    try:
        return base64url_to_bytes(handle) == own
    except ValueError:
        return False


def _descriptors(passkeys: Sequence[Passkey]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(
            id=base64url_to_bytes(p.id),
            transports=[AuthenticatorTransport(t) for t in p.transports] or None,
        )
        for p in passkeys
    ]


def _kind(fault: WebAuthnException) -> str:
    # The library's own words may quote what was sent.
    return type(fault).__name__
