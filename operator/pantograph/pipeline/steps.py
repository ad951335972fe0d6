"""The named steps of the data plane: between any two of them the process may die, and nothing is lost or half done.

Every statement is sent inside one of these. Tests kill the process before and after each.
"""

from __future__ import annotations

# at the source
OPEN_SNAPSHOT = "open snapshot"
READ_CONTROL = "read control"
COUNT_EVENTS = "count events"
READ_ROWS = "read rows"
CHECK_SHAPE = "check shape"
CLOSE_SNAPSHOT = "close snapshot"
LOOK = "look for news"
LISTEN = "listen for news"
WRITE_NONCE = "write nonce"
PURGE = "purge events"

# at the destination
BEGIN = "begin"
STAGE_ROWS = "stage rows"
MOVE_CHECKPOINT = "move checkpoint"
NOTE_KEYS = "note keys"
UPSERT = "upsert"
DELETE = "delete"
COMMIT = "commit"
LOAD_CHECKPOINTS = "load checkpoints"

# both, beside the data
PREPARE = "prepare"
INSPECT = "inspect"
COMPARE = "compare"

OF_A_TURN = (
    OPEN_SNAPSHOT,
    READ_CONTROL,
    COUNT_EVENTS,
    BEGIN,
    STAGE_ROWS,
    CHECK_SHAPE,
    CLOSE_SNAPSHOT,
    MOVE_CHECKPOINT,
    UPSERT,
    DELETE,
    COMMIT,
)
