"""MariaDB's tests of capture, on MySQL."""

from tests.dialects.mariadb.test_capture import *  # noqa: F403 (all of them)
