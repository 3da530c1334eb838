"""The migrations make exactly the schema that the code is written for, on both databases."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_mock_engine, inspect, text
from sqlalchemy.schema import CheckConstraint

from tests.stores import analysed
from triage.domain.errors import ConfigurationError
from triage.store.db import Database, current, migrations_path, require_current, upgrade
from triage.store.schema import metadata

HEAD = "0005"


@pytest.fixture
def empty(empty_database_url: str):
    """A database without tables."""
    opened = Database(empty_database_url)
    yield opened
    opened.dispose()


def test_an_empty_database_says_which_command_helps(empty: Database) -> None:
    assert current(empty) is None
    with pytest.raises(ConfigurationError, match="no tables yet: run triage db upgrade"):
        require_current(empty)


def test_upgrading_makes_the_schema_of_the_code(empty: Database, empty_database_url: str) -> None:
    assert upgrade(empty_database_url) == HEAD
    assert current(empty) == HEAD
    require_current(empty)
    with empty.read() as tx:
        assert compare_metadata(MigrationContext.configure(tx.connection), metadata) == []


def test_constraints_and_partial_indexes_are_those_of_the_code(empty: Database, empty_database_url: str) -> None:
    """What alembic does not compare: checks, and the conditions of partial indexes."""
    upgrade(empty_database_url)
    with empty.read() as tx:
        made = inspect(tx.connection)
        for table in metadata.tables.values():
            checks = {check["name"] for check in made.get_check_constraints(table.name)}
            wanted = {constraint.name for constraint in table.constraints if isinstance(constraint, CheckConstraint)}
            assert checks == wanted
            assert made.get_pk_constraint(table.name)["name"] == f"pk_{table.name}"
            option = f"{tx.connection.dialect.name}_where"
            found = {
                index["name"]: option in index.get("dialect_options", {}) for index in made.get_indexes(table.name)
            }
            dialect = tx.connection.dialect.name
            named = {index.name: index.dialect_options[dialect]["where"] is not None for index in table.indexes}
            assert {name: partial for name, partial in found.items() if name in named} == named


def test_upgrading_again_changes_nothing(database: Database, database_url: str) -> None:
    analysed(database)
    before = _counts(database)
    assert upgrade(database_url) == HEAD
    assert _counts(database) == before
    assert before["audit_head"] == 1


def _counts(db: Database) -> dict[str, int]:
    with db.read() as tx:
        return {
            name: tx.connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in metadata.tables
        }


def test_many_machines_may_upgrade_at_once(empty: Database, empty_database_url: str) -> None:
    done: list[str] = []
    threads = [threading.Thread(target=lambda: done.append(upgrade(empty_database_url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [HEAD] * 4


def test_a_schema_of_a_later_release_is_good_for_this_one(database: Database, database_url: str) -> None:
    with database.transaction() as tx:
        tx.connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    require_current(database)
    assert upgrade(database_url) == "9999"


def test_a_migration_that_fails_leaves_the_database_as_it_was(empty: Database, empty_database_url: str) -> None:
    with empty.transaction() as tx:
        tx.connection.execute(text("CREATE TABLE settings_of_record (x INTEGER)"))
    with pytest.raises(Exception, match="settings_of_record"):
        upgrade(empty_database_url)
    with empty.read() as tx:
        assert inspect(tx.connection).get_table_names() == ["settings_of_record"]


def test_the_migrations_are_one_line_with_one_end() -> None:
    scripts = ScriptDirectory(str(migrations_path()))
    assert scripts.get_heads() == [HEAD]
    assert len(scripts.get_bases()) == 1


def test_the_migrations_lie_beside_the_package_in_a_checkout() -> None:
    assert migrations_path() == Path(__file__).resolve().parents[2] / "migrations"


def test_no_column_is_made_for_a_patient() -> None:
    columns = {column.name for table in metadata.tables.values() for column in table.columns}
    assert not {name for name in columns if "patient" in name or "birth" in name}


def test_ddl_stands_in_the_migrations_alone() -> None:
    """The metadata could make its tables itself; nothing in the package asks it to."""
    created: list[str] = []
    engine = create_mock_engine("sqlite://", lambda statement, *_: created.append(str(statement)))
    metadata.create_all(engine, checkfirst=False)
    assert len(created) > len(metadata.tables)
    package = migrations_path().parent / "triage"
    assert not [file for file in package.rglob("*.py") if "create_all" in file.read_text()]
