"""What Prometheus and the status page see of the counters."""

import json
import re
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from smsfilter.exposition import SECONDS_BOUNDS, Histogram, present, quantile
from smsfilter.metrics import Metrics, render
from smsfilter.rules.verdict import ANSWERS, Kind, Reason

NAMES = {
    "messages_total",
    "shadow_total",
    "policy_bypassed_total",
    "batch_size",
    "lookup_seconds",
    "added_seconds",
    "sessions",
    "in_flight",
    "redis_up",
    "index_ready",
    "config_stale",
    "log_dropped_total",
    "loop_lag_seconds",
    "closes_total",
    "binds_total",
    "pdus_dropped_total",
    "trailing_nuls_total",
    "decision_records_total",
    "decision_octets_total",
    "decision_records_lost_total",
    "decision_segments_total",
    "decision_fsync_errors_total",
    "decisions_recorded",
    "policy_info",
    "registry_info",
}


def samples(metrics):
    text = render(metrics).decode()
    return {
        (sample.name.removeprefix("smsfilter_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(metrics, name, **labels):
    return samples(metrics)[name, tuple(sorted(labels.items()))]


@pytest.fixture
def metrics():
    return Metrics()


def test_the_names_are_the_documented_ones(metrics):
    for counter, key in (
        (metrics.shadow, ("blocked", Reason.BLOCKED_BY_REPORT)),
        (metrics.bypassed, "blocked"),
        (metrics.closes, ("esme", "fin")),
        (metrics.pdus_dropped, ("smsc", "unknown_command")),
    ):
        present(counter, [key])
    text = render(metrics).decode()
    named = set(re.findall(r"^smsfilter_(\w+?)(?:_bucket|_sum|_count)?(?:\{| )", text, re.M))
    assert named == NAMES


def test_every_reason_of_a_message_stands_at_zero_before_the_first_refusal(metrics):
    assert value(metrics, "messages_total", verdict="forward", reason="") == 0
    missing = [
        reason.value
        for reason, (kind, _) in ANSWERS.items()
        if ("messages_total", (("reason", reason.value), ("verdict", kind.value)))
        not in samples(metrics)
    ]
    # said of a bind, and so in binds_total
    for reason in missing:
        assert value(metrics, "binds_total", result=reason) == 0
    assert Reason.BLOCKED_BY_REPORT not in missing
    assert value(metrics, "sessions", state="bound_trx") == 0


def test_what_the_path_counts_is_shown(metrics):
    metrics.forwarded += 3
    metrics.refused[Kind.PERMANENT, Reason.BLOCKED_BY_REPORT] += 2
    metrics.shadow["approval", Reason.SENDER_NOT_APPROVED] += 1
    metrics.bypassed["blocked"] += 4
    metrics.closes["smsc", "stalled"] += 1
    metrics.binds["accepted"] += 5
    metrics.pdus_dropped["smsc", "unknown"] += 6
    metrics.trailing_nuls += 7
    metrics.redis_up = True
    metrics.loop_lag = 0.25
    metrics.policy_version = "abc"

    assert value(metrics, "messages_total", verdict="forward", reason="") == 3
    refused = {"verdict": "refuse_permanent", "reason": "blocked_by_report"}
    assert value(metrics, "messages_total", **refused) == 2
    assert value(metrics, "shadow_total", rule="approval", reason="sender_not_approved") == 1
    assert value(metrics, "policy_bypassed_total", rule="blocked") == 4
    assert value(metrics, "closes_total", leg="smsc", why="stalled") == 1
    assert value(metrics, "binds_total", result="accepted") == 5
    assert value(metrics, "pdus_dropped_total", leg="smsc", why="unknown") == 6
    assert value(metrics, "trailing_nuls_total") == 7
    assert value(metrics, "redis_up") == 1
    assert value(metrics, "index_ready") == 0
    assert value(metrics, "loop_lag_seconds") == 0.25
    assert value(metrics, "policy_info", version="abc") == 1


def test_gauges_may_be_asked_for(metrics):
    metrics.sessions = lambda: {"bound_tx": 2}
    metrics.in_flight = lambda: 9
    metrics.log_dropped = lambda: 11
    assert value(metrics, "sessions", state="bound_tx") == 2
    assert value(metrics, "sessions", state="open") == 0
    assert value(metrics, "in_flight") == 9
    assert value(metrics, "log_dropped_total") == 11


def test_the_process_is_shown_as_well(metrics):
    assert samples(metrics)["process_resident_memory_bytes", ()] > 0
    assert any(name == "python_info" for name, _ in samples(metrics))


def test_a_bucket_holds_its_bound_and_the_last_has_none(metrics):
    metrics.batch_size.observe(1)
    metrics.batch_size.observe(2, 3)
    metrics.batch_size.observe(5000)
    assert value(metrics, "batch_size_bucket", le="1") == 1
    assert value(metrics, "batch_size_bucket", le="2") == 4
    assert value(metrics, "batch_size_bucket", le="2048") == 4
    assert value(metrics, "batch_size_bucket", le="+Inf") == 5
    assert value(metrics, "batch_size_count") == 5
    assert value(metrics, "batch_size_sum") == 5007


def test_quantiles_lie_in_their_bucket():
    histogram = Histogram(SECONDS_BOUNDS)
    assert histogram.snapshot()["p99"] is None
    histogram.observe(0.0004, 980)
    histogram.observe(0.03, 20)
    found = histogram.snapshot()
    assert 0.0002 < found["p50"] <= 0.0005
    assert 0.02 < found["p99"] <= 0.05
    assert quantile([1, 2], [0, 0, 5], 0.5) == 2  # beyond the last bound: at least that


def test_the_snapshot_is_json_and_leaves_out_what_never_happened(metrics):
    metrics.forwarded = 8
    metrics.refused[Kind.TEMPORARY, Reason.PAUSED] += 1
    metrics.shadow["approval", Reason.SENDER_NOT_APPROVED] += 1
    found = json.loads(json.dumps(metrics.snapshot()))
    assert found["messages"] == {"forward": {"": 8}, "refuse_temporary": {"paused": 1}}
    assert found["shadow"] == {"approval": {"sender_not_approved": 1}}
    assert found["bypassed"] == {}
    assert found["sessions_by_state"]["open"] == 0


def test_reading_while_the_path_adds_series_does_not_disturb_it(metrics):
    stop = threading.Event()

    def count():
        n = 0
        while not stop.is_set():
            metrics.closes["esme", f"why{n % 500}"] += 1
            metrics.pdus_dropped["esme", f"why{n % 500}"] += 1
            n += 1

    thread = threading.Thread(target=count)
    thread.start()
    try:
        for _ in range(20):
            render(metrics)
            metrics.snapshot()
    finally:
        stop.set()
        thread.join()
