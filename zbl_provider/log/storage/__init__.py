"""Where the delivery log rests: engine, tables, migrations, encryption, bulk statements."""
