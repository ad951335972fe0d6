"""Real servers for tests and benchmarks, started here, with roles that hold exactly the grants of the reference page.

    with PostgreSQL.start() as server:
        shop = server.make_database("shop")
        shop.app().cursor().execute("create table orders (id int primary key)")
        shop.connect("source")      # Pantograph's role at a source, with the least grants

Nothing here knows pytest, nor the package: a benchmark uses it as the suites do.
"""

from tests.servers.base import Server, TestDatabase
from tests.servers.firebird import Firebird
from tests.servers.mariadb import MariaDB
from tests.servers.mssql import SQLServer
from tests.servers.mysql import MySQL
from tests.servers.postgresql import PostgreSQL
from tests.servers.sqlite import SQLite

__all__ = ["Firebird", "MariaDB", "MySQL", "PostgreSQL", "SQLServer", "SQLite", "Server", "TestDatabase"]
