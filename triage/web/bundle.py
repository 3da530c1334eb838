"""The card of a model bundle: what cannot be claimed, what it learned from, and what was measured of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Self

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse

from triage.domain.errors import NotFound
from triage.inference.card import BundleCard, card_on_record
from triage.store import bundles
from triage.store.bundles import BundleOnRecord
from triage.web.access import Reader
from triage.web.desk import DeskDep
from triage.web.page import page

router = APIRouter()

Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, slots=True)
class ShownBundle:
    """A bundle on record as the pages speak of it; ``card`` is None where its manifest cannot be read here."""

    record: BundleOnRecord
    card: BundleCard | None

    @classmethod
    def of(cls, record: BundleOnRecord) -> Self:
        """The bundle with the card that its manifest holds."""
        return cls(record, card_on_record(record.manifest))


@router.get("/bundle/{digest}", response_class=HTMLResponse)
def bundle(request: Request, desk: DeskDep, person: Reader, digest: Digest) -> HTMLResponse:
    """Show the card of a bundle that is on record."""
    with desk.db.read() as tx:
        found = bundles.on_record(tx, digest=digest)
    if found is None:
        raise NotFound("No bundle of this digest is on record.")
    return page(request, "bundle.html", person, shown=ShownBundle.of(found))
