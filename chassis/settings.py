"""Every setting, once: flag, environment variable, default, help, secret or not.

`Settings` reads `THROUGHLINE_*` variables; the command line overrides them. `rows()` is what
`throughline doctor` and docs/settings.md are made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


def _f(default: Any, help_: str, *, secret: bool = False) -> Any:
    return Field(default=default, description=help_, json_schema_extra={"secret": secret})


class Settings(BaseSettings):
    """The effective settings of one process."""

    model_config = SettingsConfigDict(env_prefix="THROUGHLINE_", extra="forbid", frozen=True)

    host: str = _f("127.0.0.1", "Address to listen on")
    port: int = _f(8080, "Port to listen on; 0 picks a free one")
    admin_port: int = _f(0, "Port of /livez, /readyz and /metrics; 0 picks a free one")
    data: Path = _f(Path("data"), "Folder of the embedded mongod, keys and spooled bytes")
    mongodb: SecretStr = _f(
        SecretStr(""), "MongoDB URI; empty starts the embedded mongod", secret=True
    )
    database_prefix: str = _f(
        "", "Put before every database name, so that several exchanges share a MongoDB"
    )
    public_url: str = _f(
        "", "Public origin, e.g. https://exchange.example; empty: http://host:port"
    )
    workers: int = _f(1, "Server processes")
    codes: Literal["strict", "lenient"] = _f(
        "strict",
        "Refuse (strict) or mark as unclassified (lenient) codes outside the pack's value sets",
    )
    affinity: str = _f(
        "greater_manchester", "Affinity pack: a folder name under affinity/ or a path"
    )
    matching_model: str = _f(
        "",
        "What records are matched by: the version of a model that comes with the product, or a JSON file "
        "that `people train` wrote; empty: the newest version (docs/identity.md)",
    )
    home_community: str = _f(
        "",
        "This community's id (urn:oid:…), as targetCommunityIdList of ITI-66 and ITI-67 names it",
    )
    max_body: int = _f(
        16 * 1024 * 1024, "Largest request body in bytes, document bytes not counted"
    )
    max_document: int = _f(200 * 1024 * 1024, "Largest single document in bytes")
    pool: int = _f(
        32, "Connections to MongoDB per process, and the width of the fair gate before them"
    )
    retrieval_credentials: str = _f(
        "",
        "JSON file that says how to sign in to each organisation that keeps documents outside; "
        "empty: nowhere (docs/decisions/0021-locator.md)",
    )
    retrieval_wait: int = _f(
        10, "Longest silence of a source that keeps a document outside, in seconds"
    )
    retrieval_seconds: int = _f(
        120, "Longest time that one document may take to come from outside, in seconds"
    )
    token_seconds: int = _f(300, "Life of a backend-services access token, in seconds")
    app_token_seconds: int = _f(
        900, "Life of the access token of an app that a person uses, in seconds"
    )
    offline_days: int = _f(
        90, "Longest time that an app may keep access when its user has signed out, in days"
    )
    refresh_idle_days: int = _f(30, "Access that an app does not refresh for so many days ends")
    session_idle_seconds: int = _f(1800, "A sign-in that is not used for so many seconds ends")
    session_seconds: int = _f(43_200, "Longest time that a person stays signed in, in seconds")
    second_factor: Literal["optional", "required"] = _f(
        "optional", "Whether everyone needs a second factor or a passkey to sign in"
    )
    second_factor_roles: str = _f(
        "", "Roles (codes, commas between) that need a second factor even where it is optional"
    )
    sign_in_providers: str = _f(
        "",
        "JSON file of other providers that people may sign in with (OpenID Connect; NHS CIS2, NHS login); "
        "empty: none (docs/upstream.md)",
    )
    trusted_proxies: str = _f(
        "",
        "Addresses or networks of the proxies in front, commas between: what they say of where a browser "
        "is (X-Forwarded-For) is believed; empty: nobody is",
    )
    password_memory: int = _f(
        64, "Memory that one check of a password takes, in MiB (RFC 9106: 64; never less than 19)"
    )
    breached_passwords_url: str = _f(
        "",
        "Service that knows breached passwords by the first five hex digits of their SHA-1, e.g. "
        "https://passwords.example/range; empty: only the list that comes with the product",
    )
    clock_skew: int = _f(60, "Tolerated difference between clocks, in seconds")
    keys_allow: str = _f(
        "",
        "Where clients may publish their keys (JWK Set URLs), written like --notify-allow; "
        "empty: any https host with public addresses",
    )
    iua_401: str = _f(
        "",
        "Transactions that answer 401 instead of 403 when a token does not reach, as IUA wants: codes "
        "with commas between, e.g. ITI-65,ITI-66,ITI-67,ITI-68; empty: none",
    )
    find_limit: int = _f(1000, "Largest page of a search")
    log_level: Literal["debug", "info", "warning", "error"] = _f(
        "info", "Least severe event logged"
    )
    pix_url: str = _f("", "Apart: origin of the pix service, as its neighbours reach it")
    registry_url: str = _f("", "Apart: origin of the registry service")
    repository_url: str = _f("", "Apart: origin of the repository service")
    auth_url: str = _f("", "Apart: origin of the auth service")
    audit_url: str = _f("", "Apart: origin of the audit service")
    service_key: SecretStr = _f(
        SecretStr(""), "Apart: path of this service's private JWK", secret=True
    )
    notify_allow: str = _f(
        "",
        "Where subscribers may have messages sent: origins (https://a.example, https://*.b.example; "
        "http only when listed as such) and private networks that names may lead to (10.0.0.0/8)",
    )
    notify_trust: str = _f(
        "", "PEM file of the authorities that endpoints are authenticated by; empty: the system's"
    )
    notify_certificate: str = _f(
        "", "PEM file with the certificate and key that messages are sent under (mutual TLS)"
    )
    notify_credentials: str = _f(
        "",
        "JSON file that says where to get a token (OAuth 2.0 client credentials) for each endpoint that "
        "wants one; empty: no tokens (docs/subscriptions.md)",
    )
    notify_at_once: int = _f(
        8, "Endpoints that this process sends messages to at once; 0 leaves all to other processes"
    )
    notify_patience: int = _f(
        86_400, "Seconds of failed messages after which a subscription is in error"
    )
    master_keys: Path = _f(
        Path(""),
        "Key ring of the document repository: a JSON file with the keys that wrap every document's own; "
        "empty: master-keys.json in the data folder, made at the first start. Keep it apart from backups",
    )
    master_key: SecretStr = _f(
        SecretStr(""),
        "The key ring itself instead of a file: id:base64 of 32 bytes, the current one first, commas between",
        secret=True,
    )
    kms_url: str = _f(
        "",
        "Key management service instead of a key ring: a transit engine of OpenBao or Vault, e.g. "
        "https://bao.example/v1/transit",
    )
    kms_key: str = _f("throughline", "Name of the key in the key management service")
    kms_token: SecretStr = _f(
        SecretStr(""), "Path of the file with the token for the key management service", secret=True
    )
    scanner: str = _f(
        "",
        "Where clamd scans documents before they are given out: tcp://host:3310 or unix:/run/clamd.ctl; "
        "empty: documents are not scanned",
    )
    scanner_away: Literal["refuse", "hold"] = _f(
        "refuse",
        "When the scanner does not answer: refuse the submission (503), or take it and hold its documents "
        "back until they are scanned",
    )

    hl7v2_host: str = _f("127.0.0.1", "Address of the HL7 v2 door (MLLP)")
    hl7v2_port: int = _f(0, "Port of the HL7 v2 door, usually 2575; 0 keeps it shut")
    hl7v2_certificate: str = _f("", "HL7 v2: file of this side's TLS certificate chain (PEM)")
    hl7v2_key: SecretStr = _f(
        SecretStr(""), "HL7 v2: file of the private key of that certificate (PEM)", secret=True
    )
    hl7v2_authority: str = _f(
        "", "HL7 v2: file of the authority whose certificates the other side must show (PEM)"
    )
    hl7v2_senders: str = _f("", "HL7 v2: CSV file of who may send; empty: that of the pack")
    hl7v2_consumers: str = _f(
        "", "HL7 v2: CSV file of who is told of changed numbers (ITI-10); empty: that of the pack"
    )
    hl7v2_application: str = _f("THROUGHLINE", "HL7 v2: our name in MSH-3 of notices")
    hl7v2_facility: str = _f("EXCHANGE", "HL7 v2: our facility in MSH-4 of notices")
    hl7v2_processing: str = _f(
        "P", "HL7 v2: processing ids that are taken (MSH-11): P production, T training, D debugging"
    )
    hl7v2_max_message: int = _f(1024 * 1024, "HL7 v2: largest message in bytes")
    hl7v2_lines: int = _f(200, "HL7 v2: most connections at a time")
    hl7v2_parallel: int = _f(16, "HL7 v2: most messages worked on at a time")

    @property
    def origin(self) -> str:
        """The public origin without a trailing slash; never taken from a request."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def fhir_base(self) -> str:
        """The public FHIR base, which is also the audience of every access token."""
        return f"{self.origin}/fhir"

    @property
    def issuer(self) -> str:
        """The authorization server's issuer identifier."""
        return f"{self.origin}/auth"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as documentation and `doctor` show it."""

    name: str
    flag: str
    variable: str
    default: str
    help: str
    secret: bool


@cache
def rows() -> tuple[Setting, ...]:
    """Every setting as a row, in the order of `Settings`."""
    made = []
    for name, field in Settings.model_fields.items():
        extra = field.json_schema_extra
        secret = bool(extra.get("secret")) if isinstance(extra, dict) else False
        shown = (
            field.default.get_secret_value()
            if isinstance(field.default, SecretStr)
            else field.default
        )
        made.append(
            Setting(
                name,
                "--" + name.replace("_", "-"),
                "THROUGHLINE_" + name.upper(),
                str(shown),
                field.description or "",
                secret,
            )
        )
    return tuple(made)
