"""The providers of this service, opened: what pages and stories of other rooms ask of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from affinity.pack import Pack
from auth.upstream.identities import Identities
from auth.upstream.journeys import Journeys
from auth.upstream.party import Party
from auth.upstream.providers import load
from chassis.mongo import Mongo
from chassis.settings import Settings


@dataclass(frozen=True, slots=True)
class Federation:
    """Every provider by its id, and the stores that signing in with one needs."""

    parties: Mapping[str, Party]
    journeys: Journeys
    identities: Identities

    def providers(self) -> list[tuple[str, str]]:
        """Id and label of each provider, in the order of the file: what the sign-in page lists."""
        return [(id_, party.provider.label or id_) for id_, party in self.parties.items()]

    def party(self, id_: str) -> Party | None:
        """The provider of this id, or None."""
        return self.parties.get(id_)


async def opened(
    settings: Settings, mongo: Mongo, http: httpx.AsyncClient, pack: Pack
) -> Federation:
    """The providers of the settings, ready. Raises `ProvidersInvalid`."""
    found = load(settings.sign_in_providers, pack)
    made = Federation(
        parties={id_: Party(provider, proof, http) for id_, (provider, proof) in found.items()},
        journeys=Journeys(mongo),
        identities=Identities(mongo),
    )
    await made.journeys.prepare()
    await made.identities.prepare()
    return made
