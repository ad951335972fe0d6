"""MariaDB's tests of windows, on MySQL."""

from tests.dialects.mariadb.test_windows import *  # noqa: F403 (all of them)
