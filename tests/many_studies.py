"""Many SYNTHETIC studies at once: rows as the daemon leaves them after months at a site, put in without the daemon.

``python -m tests.many_studies --database sqlite:///triage.db --storage files --count 100000`` fills a database that
is migrated already. The same seed, count and moment make the same rows.
"""

from __future__ import annotations

import argparse
import random
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Table, func, select, text

from tests.builders import ct_series, part10
from tests.stores import header
from triage.domain.finding import SUBTYPES, DecisionRule, ReasonCode, Subtype, SubtypeFinding, Urgency, WorklistStatus
from triage.domain.lifecycle import DeliveryState, JobState, SeriesState
from triage.domain.reading import Verdict
from triage.store import schema
from triage.store.codec import header_json, subtypes_json
from triage.store.db import Database, Transaction
from triage.store.folder_area import FolderArea

SCANNERS = (
    ("SIEMENS", "SOMATOM Definition Edge", 5.0),
    ("SIEMENS", "SOMATOM go.Top", 1.0),
    ("GE MEDICAL SYSTEMS", "Revolution CT", 2.5),
    ("GE MEDICAL SYSTEMS", "LightSpeed VCT", 5.0),
    ("Philips", "IQon - Spectral CT", 0.9),
    ("Canon Medical Systems", "Aquilion ONE", 0.5),
)
NAMES = ("Avery^Robin", "Berger^Anna", "Chen^Wei", "D'Souza^Maria", "Eriksson^Lars", "Fofana^Awa", "García^José")
RULE = DecisionRule(suspected_at=0.5, emergent_at=0.9)
BUNDLE, DIGEST = "made-up 1.0", "5a" * 32
DESTINATION = "pacs"
READERS = ("r.adler", "s.brandt", "t.costa")
_AT_ONCE = 2000

Rows = defaultdict[str, list[dict[str, Any]]]


@dataclass
class _Site:
    """What the studies are drawn from. Numbers of rows go on from those that are in the database."""

    chance: random.Random
    now: datetime
    blob_keys: Sequence[str]
    first: dict[str, int]
    given: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    def number(self, table: str) -> int:
        self.given[table] += 1
        return self.first[table] + self.given[table]

    def uid(self) -> str:
        return f"2.25.{uuid.UUID(int=self.chance.getrandbits(128), version=4).int}"


def insert(db: Database, blobs: FolderArea, count: int, *, now: datetime, days: float = 90.0, seed: int = 1) -> None:
    """Put in ``count`` studies that came in during the ``days`` before ``now``, evenly spread."""
    chance = random.Random(seed)
    blob_keys = [blobs.put(content) for content in _patients(chance)]
    with db.transaction() as tx:
        site = _Site(chance, now, blob_keys, {name: _last(tx, table) for name, table in _numbered()})
        for rows in _batches(site, count, days):
            for table in schema.metadata.sorted_tables:
                if rows[table.name]:
                    tx.connection.execute(table.insert(), rows[table.name])
        for name, table in _numbered():
            if not db.is_sqlite and site.given[name]:
                after = f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {table.name}"
                tx.connection.execute(text(after))
    if not db.is_sqlite:
        with db.transaction() as tx:
            tx.connection.execute(text("ANALYZE"))


def _numbered() -> list[tuple[str, Table]]:
    names = ("series", "instances", "jobs", "results", "result_objects", "deliveries", "readings")
    return [(name, schema.metadata.tables[name]) for name in names]


def _last(tx: Transaction, table: Table) -> int:
    return int(tx.connection.execute(select(func.coalesce(func.max(table.c.id), 0))).scalar_one())


def _patients(chance: random.Random) -> Iterator[bytes]:
    """One slice of each of some patients, small and without a likeness to anybody."""
    for number in range(40):
        (ds,) = ct_series(1, 16, 16)
        ds.PatientName = NAMES[number % len(NAMES)]
        ds.SpecificCharacterSet = "ISO_IR 192"
        ds.PatientID = f"MANY{number:05d}"
        ds.PatientSex = chance.choice("FMO")
        ds.PatientBirthDate = f"{chance.randint(1930, 2015)}0{chance.randint(1, 9)}1{chance.randint(0, 9)}"
        ds.StudyDate = "20261121"
        yield part10(ds)


def _batches(site: _Site, count: int, days: float) -> Iterator[Rows]:
    step = timedelta(days=days) / count
    first: Rows = defaultdict(list)
    first["associations"].append(
        {
            "id": f"many-{site.uid()}",
            "listener": "many",
            "calling_ae_title": "MANY",
            "called_ae_title": "ICHTRIAGE",
            "address": "127.0.0.1",
            "opened_at": site.now,
            "ended_at": site.now,
            "ended_how": "released",
        }
    )
    association = first["associations"][0]["id"]
    yield first
    for begin in range(0, count, _AT_ONCE):
        rows: Rows = defaultdict(list)
        for number in range(begin, min(begin + _AT_ONCE, count)):
            came = site.now - step * (number + site.chance.random())
            _study(rows, site, number, came, association)
        yield rows


def _study(rows: Rows, site: _Site, number: int, came: datetime, association: str) -> None:
    chance = site.chance
    waited = site.now - came
    status = _status(chance, waited)
    result = _result(chance, status)
    study, series_uid = site.uid(), site.uid()
    accession = f"A{26000000 + number * 7}"
    maker, model, thickness = chance.choice(SCANNERS)
    ended = came + timedelta(seconds=chance.uniform(20, 200))
    flagged = ended if status is WorklistStatus.SUSPECTED else None
    reason = chance.choice(list(ReasonCode)) if status is WorklistStatus.NOT_ANALYSED else None
    provisional = bool(flagged) and waited < timedelta(minutes=5)
    opened = _opened(chance, status, ended, site.now)
    verdict = _verdict(chance, status) if opened else None
    reader = chance.choice(READERS) if opened else None
    rows["studies"].append(
        {"study_instance_uid": study, "accession_number": accession, "received_at": came, "flagged_at": flagged}
    )
    series_id = site.number("series")
    state = {
        WorklistStatus.PENDING: SeriesState.STABLE,
        WorklistStatus.NOT_ANALYSED: SeriesState.UNUSABLE,
    }.get(status, SeriesState.ANALYSED)
    rows["series"].append(
        {
            "id": series_id,
            "study_instance_uid": study,
            "series_instance_uid": series_uid,
            "state": state,
            "revision": 0,
            "reason": reason,
            "detail": None,
            "candidate": True,
            "received_at": came,
            "first_received_at": came,
            "last_received_at": came + timedelta(seconds=chance.uniform(2, 15)),
            "assemble_at": None,
            "report_at": None,
        }
    )
    blob_key = site.blob_keys[number % len(site.blob_keys)]
    for slice_number in (1, 2):
        head = header(
            slice_number,
            study=study,
            series_uid=series_uid,
            manufacturer=maker,
            model_name=model,
            accession_number=accession,
        )
        rows["instances"].append(
            {
                "id": site.number("instances"),
                "sop_instance_uid": head.sop_instance_uid,
                "series_id": series_id,
                "revision": 0,
                "digest": head.sop_instance_uid,
                "blob_key": blob_key,
                "size_bytes": 5000,
                "header": header_json(head),
                "association_id": association,
                "received_at": came,
            }
        )
    key_slice = None
    if result is not None:
        key_slice = {"sop_instance_uid": f"{series_uid}.1", "frame_number": 1, "index": 0}
        _analysed(rows, site, series_id, status, result, key_slice, (came, ended, flagged))
    if verdict is not None and opened is not None:
        rows["readings"].append(
            {
                "id": site.number("readings"),
                "study_instance_uid": study,
                "verdict": verdict,
                "note": "",
                "reader": reader,
                "at": opened + timedelta(minutes=3),
            }
        )
    rows["worklist"].append(
        {
            "study_instance_uid": study,
            "series_instance_uid": series_uid,
            "accession_number": accession,
            "status": status,
            "provisional": provisional,
            "reason": reason,
            "urgency": _urgency(status, result),
            "score": result[0] if result else None,
            "subtypes": subtypes_json(result[1]) if result else {},
            "total_volume_ml": sum(f.volume_ml for f in result[1].values()) if result else None,
            "key_slice": key_slice,
            "received_at": came,
            "flagged_at": flagged,
            "bundle": BUNDLE if result else None,
            "updated_at": max(moment for moment in (ended, opened) if moment is not None),
            "scanner": f"{maker} {model}",
            "slice_thickness_mm": thickness,
            "opened_at": opened,
            "opened_by": reader,
            "verdict": verdict,
            "escalated_at": None,
        }
    )


def _status(chance: random.Random, waited: timedelta) -> WorklistStatus:
    """About one suspicion in eight. What has just come in is mostly pending, and one in ten thousand is stuck."""
    if chance.random() < (0.7 if waited < timedelta(minutes=4) else 0.0001):
        return WorklistStatus.PENDING
    drawn = chance.random()
    if drawn < 0.12:
        return WorklistStatus.SUSPECTED
    return WorklistStatus.NOT_ANALYSED if drawn < 0.20 else WorklistStatus.NOT_SUSPECTED


Result = tuple[float, dict[Subtype, SubtypeFinding]]


def _result(chance: random.Random, status: WorklistStatus) -> Result | None:
    if status is WorklistStatus.SUSPECTED:
        score = chance.betavariate(4, 1) * 0.5 + 0.5
        found = set(chance.sample(SUBTYPES, chance.choice((1, 1, 1, 2, 3))))
    elif status is WorklistStatus.NOT_SUSPECTED:
        score, found = chance.betavariate(1, 12) * 0.499, set()
    else:
        return None
    subtypes = {
        name: SubtypeFinding(round(chance.uniform(0.6, 0.99), 4), round(chance.lognormvariate(2, 1), 2))
        if name in found
        else SubtypeFinding(round(chance.uniform(0.0, 0.2), 4), 0.0)
        for name in SUBTYPES
    }
    return round(score, 4), subtypes


def _urgency(status: WorklistStatus, result: Result | None) -> Urgency:
    if status is not WorklistStatus.SUSPECTED or result is None:
        return Urgency.NONE
    return Urgency.EMERGENT if result[0] >= RULE.emergent_at else Urgency.URGENT


def _opened(chance: random.Random, status: WorklistStatus, ended: datetime, now: datetime) -> datetime | None:
    """Suspicions are opened sooner, and nearly all of them."""
    suspected = status is WorklistStatus.SUSPECTED
    if status is WorklistStatus.PENDING or chance.random() > (0.999 if suspected else 0.8):
        return None
    opened = ended + timedelta(minutes=chance.expovariate(1 / (12 if suspected else 60)))
    return opened if opened <= now else None


def _verdict(chance: random.Random, status: WorklistStatus) -> Verdict | None:
    if status is WorklistStatus.NOT_ANALYSED or chance.random() > (0.8 if status is WorklistStatus.SUSPECTED else 0.3):
        return None
    weights = (80, 5, 15) if status is WorklistStatus.SUSPECTED else (985, 5, 10)
    return chance.choices((Verdict.AGREE, Verdict.PARTLY, Verdict.DISAGREE), weights)[0]


def _analysed(
    rows: Rows,
    site: _Site,
    series_id: int,
    status: WorklistStatus,
    result: Result,
    key_slice: dict[str, Any],
    moments: tuple[datetime, datetime, datetime | None],
) -> None:
    """The job, its result, and two objects in the archive."""
    came, ended, _ = moments
    result_id = site.number("results")
    rows["jobs"].append(
        {
            "id": site.number("jobs"),
            "series_id": series_id,
            "revision": 0,
            "state": JobState.SUCCEEDED,
            "priority": 1,
            "deadline_at": came + timedelta(minutes=5),
            "attempt": 1,
            "created_at": came + timedelta(seconds=15),
            "started_at": came + timedelta(seconds=16),
            "finished_at": ended,
        }
    )
    rows["results"].append(
        {
            "id": result_id,
            "series_id": series_id,
            "revision": 0,
            "bundle_digest": DIGEST,
            "bundle": BUNDLE,
            "provisional": False,
            "status": status,
            "reason": None,
            "score": result[0],
            "rule": {"suspected_at": RULE.suspected_at, "emergent_at": RULE.emergent_at},
            "subtypes": subtypes_json(result[1]),
            "total_volume_ml": sum(finding.volume_ml for finding in result[1].values()),
            "key_slice": key_slice,
            "created_at": ended,
            "finished_at": ended,
            "slice_scores": [round(result[0] * part / 30, 3) for part in range(30)],
            "shadow": False,
        }
    )
    failed = site.chance.random() < 0.002
    for kind in ("SEG", "SR") if status is WorklistStatus.SUSPECTED else ("SR",):
        object_id, uid = site.number("result_objects"), site.uid()
        rows["result_objects"].append(
            {
                "id": object_id,
                "result_id": result_id,
                "kind": kind,
                "sop_class_uid": "1.2.840.10008.5.1.4.1.1.88.34",
                "sop_instance_uid": uid,
                "series_instance_uid": f"{uid}.1",
                "transfer_syntax_uid": "1.2.840.10008.1.2.1",
                "blob_key": site.blob_keys[0],
                "digest": DIGEST,
                "created_at": ended,
            }
        )
        rows["deliveries"].append(
            {
                "id": site.number("deliveries"),
                "object_id": object_id,
                "destination": DESTINATION,
                "state": DeliveryState.FAILED if failed else DeliveryState.DELIVERED,
                "attempt": 1,
                "next_attempt_at": ended,
                "status": 0xA700 if failed else 0,
                "error": "Out of resources." if failed else None,
                "commit_attempt": 0,
                "updated_at": ended + timedelta(seconds=2),
            }
        )


def main(arguments: Sequence[str] | None = None, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
    """Fill a database."""
    parser = argparse.ArgumentParser(prog="python -m tests.many_studies", description=__doc__)
    parser.add_argument("--database", required=True, help="URL of a migrated database")
    parser.add_argument("--storage", type=Path, required=True, help="folder of the file area")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--days", type=float, default=90.0, help="over how many days they came in (default 90)")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(arguments)
    db = Database(chosen.database)
    insert(db, FolderArea(chosen.storage), chosen.count, now=clock(), days=chosen.days, seed=chosen.seed)
    db.dispose()


if __name__ == "__main__":
    main()
