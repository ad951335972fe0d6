"""The suite deletes and breaks things; a cluster that is not marked for it is left alone."""

import json

import pytest

from tests.cluster.cluster import MARK, NotDisposable, refuse_unless_disposable


def saying(metadata):
    return lambda *words: json.dumps({"metadata": metadata})


@pytest.mark.parametrize("metadata", [{}, {"labels": {}}, {"labels": {MARK: "false"}}])
def test_a_cluster_that_is_not_marked_is_refused_with_the_way_to_mark_it(metadata):
    with pytest.raises(NotDisposable, match=f"kubectl label namespace kube-system {MARK}=true"):
        refuse_unless_disposable(saying(metadata))


def test_a_marked_cluster_is_taken():
    refuse_unless_disposable(saying({"labels": {MARK: "true"}}))
