"""Another version of operator, reflector and triggers, while somebody writes: there and back, and nothing is lost.

With the release before this one, and with its chart, test_chart does so.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pytest

from tests.cluster import images, releases
from tests.cluster.cluster import Cluster
from tests.cluster.mirrors import Load, Mirror, Watch
from tests.servers import TestDatabase
from tests.support.comparison import wait_until

pytestmark = pytest.mark.night

DEPLOYMENT = ("deployment/pantograph", "--namespace", "pantograph")


@pytest.fixture
def another(operator: Cluster, tmp_path: pathlib.Path) -> Iterator[str]:
    """The image of a version with another number, and other words in its triggers."""
    if operator.node is None:
        pytest.skip("the cluster is not ours, and has no image of another version")
    releases.changed(tmp_path)
    name, archive = images.of(tmp_path)
    operator.node.add_image(archive)
    yield name
    run(operator, operator.image)


def run(cluster: Cluster, image: str) -> None:
    """Have the operator be of an image, and the reflectors too."""
    cluster.kubectl("set", "image", *DEPLOYMENT, f"operator={image}")
    cluster.kubectl("set", "env", *DEPLOYMENT, f"PANTOGRAPH_REFLECTOR_IMAGE={image}")
    cluster.kubectl("rollout", "status", *DEPLOYMENT, "--timeout=120s", timeout=150)


def other_words(mirror: Mirror) -> bool:
    """Whether the triggers are of the other version."""
    texts = mirror.source.execute("select prosrc from pg_proc where proname like 'note%'", "superuser")
    assert texts
    (told,) = {releases.WORDS in text for (text,) in texts}
    return told


def test_another_version_comes_and_goes_under_load(
    operator: Cluster, another: str, mirrors: Callable[..., Mirror], pg_db: Callable[..., TestDatabase]
) -> None:
    mirror = mirrors(pg_db(), pg_db())
    mirror.apply()
    copied = mirror.condition("reflection", "orders", "SnapshotComplete")
    assert not other_words(mirror)
    with Load(mirror.source) as load, Watch(mirror, load) as watch:
        for image, words in ((another, True), (operator.image, False)):
            run(operator, image)
            wait_until(lambda image=image: mirror.runs(image), "a reflector of the other version", 90)
            wait_until(lambda words=words: other_words(mirror) is words, "triggers of the other version", 90)
            mirror.ready()
            mirror.follows()
    wait_until(mirror.equal, "both tables to be equal")
    print(f"\n{watch.told()}; {load.transactions} transactions, {load.cut_off} times cut off")
    assert watch.lies == []
    assert load.cut_off == 0
    # Nothing was copied again.
    assert mirror.condition("reflection", "orders", "SnapshotComplete") == copied
