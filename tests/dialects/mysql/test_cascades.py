"""MariaDB's tests of cascades, on MySQL."""

from tests.dialects.mariadb.test_cascades import *  # noqa: F403 (all of them)
