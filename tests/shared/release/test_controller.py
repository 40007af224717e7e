"""The controller of releases against a small API of a cluster and a small Prometheus, over HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest

from shared.release.__main__ import criteria_of, run
from shared.release.cluster import Cluster, ClusterError
from shared.release.controller import CONFIRMATION, EMPTY_SECONDS, ORDER, READY_SECONDS, STATE, Controller
from shared.release.decision import Criteria
from shared.release.prometheus import Prometheus
from shared.release.state import COMPLETE, OBSERVED, PAUSED, ROLLED_BACK, RUNNING, SUPERSEDED, Release
from tests.shared.release.fake_cluster import FakeCluster, serving

FUNCTIONS = ("payments-create-payment", "ledger-post-transfer", "payments-settle")
OLD, NEW = "lastro@sha256:old", "lastro@sha256:new"


class Site:
    """A cluster with three functions, and the controller with a clock that a test moves."""

    def __init__(self, cluster: FakeCluster, url: str, token: Path) -> None:
        self.cluster, self.url, self.token = cluster, url, token
        self.now = datetime(2026, 11, 26, 12, tzinfo=UTC)
        self.restart()

    def restart(self, criteria: Criteria | None = None) -> None:
        client = Cluster(self.url, "lastro", "lastro-release", token_file=self.token)
        self.controller = Controller(client, Prometheus(self.url), lambda: self.now, Random(7), criteria)

    def release(self, revision: str = "00002", image: str = NEW, **state: bool) -> None:
        for name in FUNCTIONS:
            self.cluster.deploy(name, f"{name}-{revision}", image, **state)

    def step(self, minutes: float = 1.0, steps: int = 1) -> Release:
        """Move the clock and take a step, as often as given. The first step after a deployment begins nothing."""
        release = None
        for _ in range(steps):
            self.now += timedelta(minutes=minutes)
            release = self.controller.step()
        return cast("Release", release)

    def percent(self) -> int:
        """Return the share of the new revisions, which is the same for all functions."""
        (share,) = {self.cluster.traffic(name).get("green", 0) for name in FUNCTIONS}
        return share

    def until(self, percent: int) -> None:
        for _ in range(10):
            self.step()
            if self.percent() == percent:
                return
        raise AssertionError(f"{self.percent()} %")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    cluster = FakeCluster()
    token = tmp_path / "token"
    token.write_text("secret\n")
    with serving(cluster) as url:
        made = Site(cluster, url, token)
        made.release("00001", OLD)
        made.controller.step()
        cluster.good()
        yield made


def stored(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.cluster.maps[STATE]["release"])
    return found


def test_a_new_revision_gets_no_traffic_by_itself(site: Site) -> None:
    """The traffic of every function names its revision, so a new one waits until the controller has begun."""
    assert site.cluster.traffic("payments-settle") == {"blue": 100}
    site.release()
    assert site.cluster.services["payments-settle"]["spec"]["traffic"][0]["revisionName"] == "payments-settle-00001"
    assert site.controller.step() is None
    assert site.cluster.traffic("payments-settle") == {"blue": 100}
    site.step()
    assert site.cluster.traffic("payments-settle") == {"blue": 100, "green": 0}


def test_a_good_release_gets_all_traffic_in_four_steps(site: Site) -> None:
    """With every criterion met, the shares are 5, 25, 50 and 100 %, the last for half an hour; then it waits for its
    confirmation, which completes it."""
    site.release()
    shares = []
    site.step()
    for _ in range(40):
        site.step()
        shares.append(site.percent())
    assert list(dict.fromkeys(shares)) == [0, 5, 25, 50, 100]
    assert stored(site)["outcome"] == OBSERVED
    assert shares.count(100) >= 30
    site.cluster.maps[CONFIRMATION] = {"image": "lastro@sha256:other"}
    assert site.step().outcome == OBSERVED
    site.cluster.maps[CONFIRMATION] = {"image": NEW}
    assert site.step().outcome == COMPLETE
    assert site.step().outcome == COMPLETE
    assert site.percent() == 100


def test_the_record_has_commit_image_and_trace(site: Site) -> None:
    """Each release leaves a record with the commit, the image, the trace id, the outcome and what was done when."""
    site.release()
    site.until(5)
    site.cluster.values["errors"] = 0.05
    release = site.step()
    record = site.cluster.maps[f"release-{release.id}"]
    assert (record["image"], record["commit"], record["trace_id"]) == (NEW, f"commit-of-{NEW}", "ab" * 16)
    assert record["outcome"] == ROLLED_BACK
    log = json.loads(record["log"])
    assert [line["action"] for line in log] == ["begin", "promote", "roll back"]
    assert log[-1]["reasons"] == ["requests answered with 5xx: 5.000%, above 0.100%"]
    assert log[0]["at"] < log[-1]["at"]
    assert site.cluster.tokens == {"Bearer secret"}


@pytest.mark.parametrize("percent", [5, 25, 50, 100])
@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("errors", 0.02, "requests answered with 5xx: 2.000%, above 0.100%"),
        ("latency", 0.45, "time of a request: 0.45 s, above 0.3 s"),
        ("lag", 7.0, "age of the oldest event that consumers have not processed: 7 s, above 5 s"),
        ("payments_failed", 0.03, "payments that ended with an error: 3.000%, above 0.100%"),
    ],
)
def test_a_bad_release_goes_back_by_itself(site: Site, percent: int, key: str, value: float, reason: str) -> None:
    """In each phase, errors, latency, the lag of consumers and failed payments give all traffic back to the former
    revisions, those of the consumers of events as well, and the release does not begin again."""
    site.release()
    site.until(percent)
    site.cluster.values[key] = value
    release = site.step()
    assert release.outcome == ROLLED_BACK
    assert reason in release.reasons
    for name in FUNCTIONS:
        assert site.cluster.traffic(name) == {"blue": 100, "green": 0}
    site.cluster.good()
    assert site.step(steps=5).outcome == ROLLED_BACK
    assert site.percent() == 0


def test_a_revision_that_is_not_ready_goes_back(site: Site) -> None:
    """A new revision that fails, or is not ready in time, ends the release before it has any traffic; one that fails
    later takes it back."""
    site.release(ready=False)
    release = site.step(steps=3)
    assert (release.outcome, release.reasons) == (RUNNING, ["not all new revisions are ready"])
    release = site.step(READY_SECONDS / 60 + 1)
    assert release.outcome == ROLLED_BACK
    site.release("00003")
    site.until(25)
    site.cluster.services["ledger-post-transfer"]["status"]["conditions"][0]["status"] = "False"
    release = site.step()
    assert (release.outcome, site.percent()) == (ROLLED_BACK, 0)
    assert release.reasons == ["ledger-post-transfer: the new revision is not ready"]


def test_a_revision_whose_instances_fail_later_goes_back(site: Site) -> None:
    """A new revision with traffic of which no instance is ready for twenty seconds goes back, though Knative still
    calls it ready and no figure says so; one that is only starting stays."""
    site.release()
    site.until(5)
    site.cluster.instances["payments-settle-00002"] = (1, 0)
    assert site.step(minutes=0).outcome == RUNNING
    assert site.step(minutes=EMPTY_SECONDS / 60 - 0.01).outcome == RUNNING
    site.cluster.instances["payments-settle-00002"] = (1, 1)
    assert site.step(minutes=1).outcome == RUNNING
    site.cluster.instances["payments-settle-00002"] = (2, 0)
    assert site.step(minutes=0).outcome == RUNNING
    back = site.step(minutes=EMPTY_SECONDS / 60)
    assert back.outcome == ROLLED_BACK
    assert back.reasons == ["payments-settle: no instance of the new revision is ready"]
    assert site.percent() == 0


def test_a_function_that_is_scaled_to_zero_has_not_failed(site: Site) -> None:
    """A new revision that wants no instance stays in the release however long it has none."""
    site.release()
    site.until(5)
    site.cluster.instances["payments-settle-00002"] = (0, 0)
    assert [site.step().outcome for _ in range(3)] == [RUNNING] * 3


def test_a_cluster_with_little_traffic_has_criteria_of_its_own(site: Site) -> None:
    """With a shorter observation and fewer observations a release is promoted sooner, and its record says so."""
    site.restart(criteria_of({"LASTRO_RELEASE_OBSERVATION_MINUTES": "0.5", "LASTRO_RELEASE_OBSERVATIONS": "20"}))
    site.cluster.counts = dict.fromkeys(site.cluster.counts, 20)
    site.release()
    site.until(100)
    assert site.step().outcome == OBSERVED
    (record,) = [found for name, found in site.cluster.maps.items() if name.startswith("release-")]
    assert json.loads(record["log"])[0]["reasons"] == [
        "3 new revisions",
        "it is observed for 0.5 minutes, not 30",
        "20 observations are enough for any objective",
    ]


def test_dead_letters_pause_a_release_until_a_person_decides(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """More than 0.05 % dead letters pause the release with an alert; an operator resumes it or takes it back."""
    site.release()
    site.until(25)
    site.cluster.values["dead_letters"] = 0.002
    assert site.step().outcome == PAUSED
    assert "is paused" in caplog.text
    site.cluster.good()
    assert site.step(steps=3).outcome == PAUSED
    assert site.percent() == 25
    site.cluster.maps[ORDER] = {"order": "resume"}
    site.until(50)
    assert ORDER not in site.cluster.maps
    site.cluster.maps[ORDER] = {"order": "roll-back"}
    assert site.step().outcome == ROLLED_BACK
    assert site.percent() == 0


def test_too_few_observations_hold_a_release(site: Site) -> None:
    """A release with little traffic is not promoted, however long it lasts; neither is one without figures."""
    site.release()
    site.until(5)
    for key in site.cluster.counts:
        site.cluster.counts[key] = 20
    release = site.step(steps=20)
    assert (release.outcome, site.percent()) == (RUNNING, 5)
    assert "requests answered with 5xx: 20 of 3000 observations" in release.reasons
    site.cluster.values.clear()
    assert "requests answered with 5xx: there is no figure" in site.step().reasons
    site.cluster.prometheus_status = 503
    release = site.step()
    assert release.outcome == RUNNING
    assert "Prometheus answered 503" in release.reasons[0]


def test_figures_are_those_of_the_new_revisions(site: Site) -> None:
    """The queries name the new revisions only, and the time since the phase began."""
    site.release()
    site.until(5)
    site.cluster.queries.clear()
    site.step(2.0)
    of = "|".join(f"{name}-00002" for name in sorted(FUNCTIONS))
    errors = next(query for query in site.cluster.queries if '=~"5.."' in query)
    assert f'service_version=~"{of}"' in errors
    assert "[120s]" in errors


def test_a_failure_of_the_api_is_repeated(site: Site) -> None:
    """When the API fails in the middle of a step, the next step finds the state that is stored and does it again."""
    site.release()
    site.until(5)
    site.cluster.values["errors"] = 0.05
    site.cluster.broken.append(("PATCH", "services/payments-settle"))
    with pytest.raises(ClusterError, match="answered 500"):
        site.step()
    assert stored(site)["outcome"] == RUNNING
    site.restart()
    assert site.step().outcome == ROLLED_BACK
    assert site.percent() == 0


def test_a_newer_revision_takes_the_place_of_a_release(site: Site) -> None:
    """A revision that is created during a release takes it back and begins a release of its own."""
    site.release()
    site.until(25)
    site.release("00003", "lastro@sha256:newer")
    assert site.step().outcome == SUPERSEDED
    assert site.percent() == 0
    site.until(5)
    found = stored(site)
    assert (found["image"], found["outcome"]) == ("lastro@sha256:newer", RUNNING)
    assert found["stable"]["payments-settle"] == "payments-settle-00001"


def test_a_release_that_was_observed_is_the_base_of_the_next(site: Site) -> None:
    """A release that waits for its confirmation keeps its traffic when a newer one begins."""
    site.release()
    site.step(steps=50)
    assert stored(site)["outcome"] == OBSERVED
    site.release("00003", "lastro@sha256:newer")
    assert site.step().outcome == SUPERSEDED
    site.until(5)
    assert stored(site)["stable"]["payments-settle"] == "payments-settle-00002"


def test_manifests_that_are_still_being_applied_begin_nothing(site: Site) -> None:
    """While functions are applied one after another, no release begins; then it has all of them."""
    for name in FUNCTIONS:
        site.cluster.deploy(name, f"{name}-00002", NEW)
        assert site.controller.step() is None
    site.step()
    assert sorted(stored(site)["new"]) == sorted(FUNCTIONS)


def test_an_operator_of_a_release_that_has_ended_orders_nothing(site: Site) -> None:
    """An order that was given without a release does not hit the next one."""
    site.cluster.maps[ORDER] = {"order": "roll-back"}
    site.release()
    site.until(5)
    assert stored(site)["outcome"] == RUNNING


def test_it_runs_until_it_is_stopped(site: Site, tmp_path: Path) -> None:
    """Steps follow each other, failed ones as well, and each that worked touches the file of the liveness probe."""
    site.cluster.broken.append(("GET", "services"))
    site.release()
    stop, alive = threading.Event(), tmp_path / "alive"
    thread = threading.Thread(target=run, args=(site.controller, stop, alive, 0.001))
    thread.start()
    try:
        while not (alive.exists() and STATE in site.cluster.maps):
            assert thread.is_alive()
    finally:
        stop.set()
        thread.join()


def test_outside_a_cluster_it_says_so() -> None:
    """Without the variables of a pod there is no cluster, and an address of IPv6 is written with brackets."""
    with pytest.raises(ClusterError, match="KUBERNETES_SERVICE_HOST is not set"):
        Cluster.of_pod({}, "lastro", "lastro-release")


def test_criteria_come_from_the_environment() -> None:
    """Without settings a release is judged as the architecture document says; an invalid setting is named."""
    assert criteria_of({}) == Criteria()
    assert not Criteria().changes()
    assert criteria_of({"LASTRO_RELEASE_SLOWNESS": "4"}).changes() == ["the limits of times are multiplied by 4"]
    for name in ("OBSERVATION_MINUTES", "OBSERVATIONS", "SLOWNESS"):
        for text in ("0", "-1", "x", "nan"):
            with pytest.raises(ValueError, match=f"LASTRO_RELEASE_{name}='{text}' is not a "):
                criteria_of({f"LASTRO_RELEASE_{name}": text})
