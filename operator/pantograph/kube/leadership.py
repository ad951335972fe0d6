"""One operator leads: who holds the Lease. Another one waits, and leads within some seconds when that one is gone."""

from __future__ import annotations

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
        if self.lease_reference is None:
            return False
        try:
            self.lease_reference.spec = self.get_lease_spec(updated_record, self.lease_reference.spec)
            self.lease_reference = self.api_instance.replace_namespaced_lease(
                name, namespace, self.lease_reference, _request_timeout=TIMEOUT
            )
        except (ApiException, urllib3.exceptions.HTTPError, OSError):
            return False
        return True


class Leadership:
    """Tries for the Lease in a thread. `leads` is set while it is ours; `lost` is called when it is not any more."""

    def __init__(self, cluster: Cluster, name: str, namespace: str, identity: str, lost: Callable[[], None]) -> None:
        logging.getLogger("leaderelection").setLevel(logging.ERROR)  # it tells of every renewal
        self.leads = threading.Event()
        self._lost = lost
        lock = _Lock(name, namespace, identity, cluster.api)
        self._election = leaderelection.LeaderElection(
            electionconfig.Config(lock, LASTS, RENEW_WITHIN, EVERY, self.leads.set, lambda: None)
        )

    def start(self) -> None:
        """Begin to try."""
        threading.Thread(target=self._run, name="leadership", daemon=True).start()

    def _run(self) -> None:
        try:
            self._election.run()
        finally:
            self._lost()
