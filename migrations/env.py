"""How alembic runs: always on the connection that ``triage.store.db.upgrade`` has opened, in its transaction."""

from alembic import context

from triage.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
