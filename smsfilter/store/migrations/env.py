"""Runs a migration over the connection that Records.migrate hands over."""

from alembic import context

from smsfilter.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
context.run_migrations()
