"""A folder as PDR's export command writes it."""

from __future__ import annotations

import json

INTEGER, TEXT = "sql.sqltypes.INTEGER", "sql.sqltypes.VARCHAR(40)"
ORDERS = {"id": INTEGER, "customer": TEXT, "qty": INTEGER, "price": INTEGER}


class Export:
    """A folder as PDR's export command lays it out."""

    def __init__(self, folder):
        self.root = folder / "exported_pdr_data"
        for name in ("databases", "source_tables", "reflections"):
            (self.root / name).mkdir(parents=True)

    def write(self, place, **files):
        for name, content in files.items():
            path = self.root / place / name.replace("__", ".")
            path.parent.mkdir(exist_ok=True)
            path.write_text(content if isinstance(content, str) else json.dumps(content, indent=4))

    def database(self, pk, handle, source, **config):
        meta = {"source": source, "description": f"the {handle}", "pk": pk}
        self.write(f"databases/{handle}", meta__json=meta, config__json=config)

    def server(self, pk, handle, source=0, **more):
        config = {"dbname": handle, "user": "pdr", "password": "hunter2", "host": "db.local", "port": 5432}
        self.database(pk, handle, source, **(config | more))

    def table(self, pk, database, table):
        self.write(f"source_tables/{pk}", meta__json={"database": database, "table": table, "description": ""})

    def reflection(self, pk, table, database, destination, statement="", columns=ORDERS, there=None, **meta):
        binding = meta.pop("key_binding", {"id": "id"})
        key = next(iter(binding.values()), "id")
        told = {
            "description": "",
            "source_table": table,
            "destination_database": database,
            "destination_table": destination,
            "last_commit": 17,
            "active": True,
            "ignore_delete_events": True,
        }
        self.write(
            f"reflections/{pk}",
            meta__json=told | meta,
            source_fields__json={"columns": columns, "key": "id"},
            destination_fields__json={"columns": there or columns, "key": key}
            | ({"key_binding": binding} if binding else {}),
            reflection_statment__sql=statement or template(destination, columns),
        )


def template(table, columns, key="id"):
    """The UPDATE that PDR proposes."""
    path = ".".join(f'"{part}"' for part in table.split("."))
    listed = ",\n".join(f'\t"{name}" = :{name}' for name in columns)
    return f'UPDATE\n\t{path}\nSET\n{listed}\nWHERE\n\t"{key}" = :{key};'
