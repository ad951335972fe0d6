"""A bank whose books balance in every committed state, and writers that keep it busy.

Transfers between accounts keep the sum of all balances. Every transaction also writes one row to the ledger: how much
went from where to where, and a number that is never used twice. So a copy of both tables is an image of one moment if
and only if each account's balance is what the ledger says it should be. A transaction that is lost, or half there,
breaks that equation, and keeps it broken.
"""

from __future__ import annotations

import collections
import contextlib
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Self

from tests.servers import TestDatabase
from tests.support.clients import Client

ACCOUNTS, LEDGER = "accounts", "ledger"
COLUMNS = {ACCOUNTS: ("id", "balance"), LEDGER: ("id", "origin", "target", "amount")}
START = 1000


def create(client: Client, accounts: int = 40) -> None:
    """The two tables; every account begins with the same balance."""
    client.run(f"create table {ACCOUNTS} (id int primary key, balance bigint not null)")
    client.run(
        f"create table {LEDGER} (id bigint primary key, origin int not null, target int not null, amount int not null)"
    )
    with client.transaction():
        for n in range(accounts):
            client.run(f"insert into {ACCOUNTS} values (?, ?)", n, START)


def torn(client: Client, read: str = "") -> str:
    """ "" when the tables, as one snapshot shows them, are an image of one moment; else what does not add up.

    Tables that are not there, or that have not been copied for the first time, are for the caller to wait for.
    """
    with client.snapshot():
        # The first SELECT makes the snapshot where BEGIN does not.
        balances = dict(client.run(f"select id, balance from {ACCOUNTS}"))
        moved: collections.Counter[int] = collections.Counter()
        for column, sign in (("origin", -1), ("target", 1)):
            for account, amount in client.run(f"select {column}, sum(amount) from {LEDGER} group by {column}"):
                moved[account] += sign * int(amount)
    sums = [(account, balance, START + moved[account]) for account, balance in balances.items()]
    wrong = [(row[0], int(row[1]), int(row[2])) for row in sums if int(row[1]) != int(row[2])]
    return (
        f"{len(wrong)} accounts differ from the ledger (account, balance, by the ledger): {wrong[:4]}" if wrong else ""
    )


@dataclass
class Bank:
    """Writers in threads, each with a connection and random numbers of its own."""

    source: TestDatabase
    writers: int = 4
    accounts: int = 40
    seed: int = 1
    pause: float = 0.002
    committed: int = 0
    rolled_back: int = 0
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.source.dialect == "sqlite":
            self.writers = 1
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._numbers = [0] * self.writers

    def __enter__(self) -> Self:
        self._stop.clear()
        self._threads = [threading.Thread(target=self._work, args=(n,), daemon=True) for n in range(self.writers)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.quiet()
        assert not self.failures, self.failures[:3]

    def quiet(self) -> None:
        """No more transactions; those under way end first."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _work(self, writer: int) -> None:
        rng = random.Random(f"{self.seed}.{writer}")
        client = Client(self.source)
        try:
            while not self._stop.is_set():
                try:
                    self._transaction(client, rng, writer)
                except Exception as error:
                    # Firebird lets whoever waited for a row begin again.
                    if "update conflicts" not in str(error):
                        raise
                self._stop.wait(rng.random() * 2 * self.pause)
        except Exception as error:  # whoever asks for the result wants to know, not the thread
            self.failures.append(f"{type(error).__name__}: {error}")
        finally:
            client.close()

    def _transaction(self, client: Client, rng: random.Random, writer: int) -> None:
        transfers = [rng.sample(range(self.accounts), 2) for _ in range(rng.choice((1, 1, 1, 3)))]
        # Locks in one order, so that writers wait for each other and do not die of it.
        touched = sorted({account for pair in transfers for account in pair})
        balance = dict.fromkeys(touched, 0)
        client.begin()
        try:
            for origin, target in transfers:
                amount = rng.randint(1, 20)
                balance[origin] -= amount
                balance[target] += amount
                self._numbers[writer] += 1
                client.run(
                    f"insert into {LEDGER} values (?, ?, ?, ?)",
                    self._numbers[writer] * 100 + writer, origin, target, amount,
                )  # fmt: skip
            if rng.random() < 0.05 and client.dialect != "sqlite":
                # Its ids are handed out by now; others commit before it does.
                time.sleep(rng.random() * 0.05)
            for account in touched:
                client.run(f"update {ACCOUNTS} set balance = balance + ? where id = ?", balance[account], account)
        except BaseException:
            with contextlib.suppress(Exception):
                client.rollback()
            raise
        if rng.random() < 0.1:
            client.rollback()
            with self._lock:
                self.rolled_back += 1
        else:
            client.commit()
            with self._lock:
                self.committed += 1


class Watcher:
    """Reads the destination in snapshots for as long as it is watched, and counts those that are no image."""

    def __init__(self, destination: TestDatabase, ready: threading.Event | None = None, pause: float = 0.005) -> None:
        self._destination, self._pause = destination, pause
        self._stop = threading.Event()
        self.reads = 0
        self.torn: list[str] = []
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        client = Client(self._destination, "superuser")
        while not self._stop.is_set():
            try:
                found = torn(client)
            except Exception as error:
                found = f"{type(error).__name__}: {error}"
            self.reads += 1
            if found:
                self.torn.append(found)
            self._stop.wait(self._pause)
        client.close()
