"""Run by Alembic: migrates over the connection, and inside the transaction, of its caller."""

from __future__ import annotations

from alembic import context

from zbl_provider.log.storage.tables import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
