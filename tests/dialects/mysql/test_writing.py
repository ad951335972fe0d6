"""MariaDB's tests of writing, on MySQL."""

from tests.dialects.mariadb.test_writing import *  # noqa: F403 (all of them)
