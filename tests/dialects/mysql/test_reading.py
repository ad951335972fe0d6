"""MariaDB's tests of reading, on MySQL."""

from tests.dialects.mariadb.test_reading import *  # noqa: F403 (all of them)
