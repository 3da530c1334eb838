"""The stream of events that an open worklist listens to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from fastapi import APIRouter, HTTPException
from fastapi.responses import StreamingResponse

from triage.domain.account import Person
from triage.web.access import Reader
from triage.web.desk import Desk, DeskDep
from triage.web.streams import WORKLIST

router = APIRouter()

QUIET_SECONDS: Final = 15.0
"""A proxy closes what is silent for long: then a comment is sent."""


@router.get("/events", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}})
async def events(desk: DeskDep, person: Reader) -> StreamingResponse:
    """Stream ``worklist`` when rows have changed, ``suspected`` for new flags, ``beat`` while the database answers."""
    if not desk.streams.has_room(person.name):
        raise HTTPException(429, "You have too many pages open; this one asks for the list every few seconds.")
    return StreamingResponse(_stream(desk, person), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


async def _stream(desk: Desk, person: Person) -> AsyncIterator[str]:
    with desk.streams.listen(person.name, desk.db, desk.clock) as listener:
        # What changed between the making of the page and this stream is asked for at once.
        yield f"retry: 2000\n\n{WORKLIST}"
        loop = asyncio.get_running_loop()
        end = loop.time() + desk.streams.longest_seconds
        while (left := end - loop.time()) > 0:
            try:
                yield str(await asyncio.wait_for(listener.events.get(), min(QUIET_SECONDS, left)))
            except TimeoutError:
                yield ": quiet\n\n"
