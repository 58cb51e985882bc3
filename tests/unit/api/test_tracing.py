import logging
from collections.abc import Sequence

import structlog
from inventory_api.metrics import Metrics
from inventory_api.tracing import WatchedExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from structlog.testing import capture_logs


class Collector(SpanExporter):
    takes = True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS if self.takes else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        pass


def test_lost_traces_are_counted_and_told_once_and_once_that_it_is_over() -> None:
    collector, metrics = Collector(), Metrics("1", "r1", "7")
    exporter = WatchedExporter(collector, metrics)
    spans = [ReadableSpan("one"), ReadableSpan("two")]
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    with capture_logs() as lines:
        for collector.takes in (True, False, False, False, True, True):
            exporter.export(spans)
    structlog.configure(**before)

    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("warning", "traces are lost: the collector does not take them"),
        ("info", "traces are delivered again"),
    ]
    figures = metrics.exposition()[0].decode()
    assert 'inventory_trace_spans_total{result="delivered"} 6.0' in figures
    assert 'inventory_trace_spans_total{result="lost"} 6.0' in figures
