"""One operator leads: who holds the Lease. Another one waits, and leads within some seconds when that one is gone."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any

import urllib3
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock import leaselock

from pantograph.kube.objects import Cluster

LASTS, RENEW_WITHIN, EVERY = 15, 10, 2
"""Seconds: a Lease that is not renewed for so long is another's; the leader gives up before that."""
TIMEOUT = (2.0, 3.0)


class _Lock(leaselock.LeaseLock):
    """The library's Lease, with time limits, and with an API server that is away taken for one that says no."""

    def __init__(self, name: str, namespace: str, identity: str, api: client.ApiClient) -> None:
        super().__init__(name, namespace, identity)
        self.api_instance = client.CoordinationV1Api(api)
        self._writing = threading.Lock()
        self.released = False

    def get(self, name: str, namespace: str) -> tuple[bool, Any]:
        try:
            lease = self.api_instance.read_namespaced_lease(name, namespace, _request_timeout=TIMEOUT)
        except ApiException as error:
            return False, error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return False, ApiException(status=0, reason=type(error).__name__)
        self.lease_reference = lease
        return True, self.get_lock_object(lease)

    def create(self, name: str, namespace: str, election_record: Any) -> bool:
        body = client.V1Lease(metadata=client.V1ObjectMeta(name=name), spec=self.get_lease_spec(election_record))
        try:
            self.lease_reference = self.api_instance.create_namespaced_lease(namespace, body, _request_timeout=TIMEOUT)
        except (ApiException, urllib3.exceptions.HTTPError, OSError):
            return False
        return True

    def update(self, name: str, namespace: str, updated_record: Any) -> bool:
        with self._writing:
            if self.lease_reference is None or self.released:
                return False
            try:
                self.lease_reference.spec = self.get_lease_spec(updated_record, self.lease_reference.spec)
                self.lease_reference = self.api_instance.replace_namespaced_lease(
                    name, namespace, self.lease_reference, _request_timeout=TIMEOUT
                )
            except (ApiException, urllib3.exceptions.HTTPError, OSError):
                return False
            return True

    def release(self) -> None:
        """Give the Lease up, if it is ours, and never take it again; without an API server it runs out by itself."""
        with self._writing:
            self.released = True
            lease = self.lease_reference
            if lease is None or lease.spec.holder_identity != self.identity:
                return
            lease.spec.holder_identity = ""
            # Another one's Lease by now has another resourceVersion, and is left as it is.
            with contextlib.suppress(ApiException, urllib3.exceptions.HTTPError, OSError):
                self.api_instance.replace_namespaced_lease(self.name, self.namespace, lease, _request_timeout=TIMEOUT)


class Leadership:
    """Tries for the Lease in a thread. `leads` is set while it is ours; `lost` is called when it was taken from us."""

    def __init__(self, cluster: Cluster, name: str, namespace: str, identity: str, lost: Callable[[], None]) -> None:
        logging.getLogger("leaderelection").setLevel(logging.ERROR)  # it tells of every renewal
        self.leads = threading.Event()
        self._lost = lost
        self._lock = _Lock(name, namespace, identity, cluster.api)
        self._election = leaderelection.LeaderElection(
            electionconfig.Config(self._lock, LASTS, RENEW_WITHIN, EVERY, self.leads.set, lambda: None)
        )

    def start(self) -> None:
        """Begin to try."""
        threading.Thread(target=self._run, name="leadership", daemon=True).start()

    def release(self) -> None:
        """Let another one lead at once: only for who does nothing any more, for it may have begun when this returns."""
        self.leads.clear()
        self._lock.release()

    def _run(self) -> None:
        try:
            self._election.run()
        finally:
            if not self._lock.released:
                self._lost()
