"""Writes docs/grafana.json, a dashboard of the server's metrics: make_dashboard.py > docs/grafana.json"""

import json

PANELS = [
    ("Tokens per second", "ops", [("generated", "rate(llamacpp:tokens_predicted_total[1m])"),
                                  ("prompt, computed", "rate(llamacpp:prompt_tokens_total[1m])"),
                                  ("prompt, cached", "rate(llamacpp:prompt_tokens_cached_total[1m])")]),
    ("Requests", "short", [("running", "llamacpp:requests_processing"), ("waiting", "llamacpp:requests_deferred")]),
    ("Time to first token", "s", [
        (f"p{q}", f"histogram_quantile(0.{q}, sum by (le) (rate(vllm:time_to_first_token_seconds_bucket[5m])))")
        for q in (50, 95)]),
    ("Between tokens", "s", [
        (f"p{q}", f"histogram_quantile(0.{q}, sum by (le) (rate(vllm:inter_token_latency_seconds_bucket[5m])))")
        for q in (50, 95)]),
    ("Expert hit rate", "percentunit", [
        ("hits", "rate(flashmoe_expert_hits_total[1m]) / "
                 "(rate(flashmoe_expert_hits_total[1m]) + rate(flashmoe_expert_misses_total[1m]))")]),
    ("Read from disk", "Bps", [("read", "rate(flashmoe_read_bytes_total[1m])")]),
    ("Waiting for disk", "percentunit", [("share of time", "rate(flashmoe_expert_wait_seconds_total[1m])")]),
    ("Memory", "bytes", [("in use", "flashmoe_memory_resident_bytes"), ("budget", "flashmoe_memory_budget_bytes"),
                         ("prompts seen before", "flashmoe_prefix_bytes")]),
    ("Prompt tokens from the cache", "percentunit", [
        ("cached", "rate(vllm:prefix_cache_hits_total[5m]) / rate(vllm:prefix_cache_queries_total[5m])")]),
    ("Responses by status", "ops", [("{{endpoint}} {{status}}", "rate(flashmoe_http_responses_total[1m])")]),
]


def panel(index, title, unit, queries):
    return {
        "id": index + 1, "type": "timeseries", "title": title,
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "gridPos": {"h": 8, "w": 12, "x": 12 * (index % 2), "y": 8 * (index // 2)},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [{"refId": chr(65 + i), "expr": query, "legendFormat": name} for i, (name, query) in enumerate(queries)],
    }


print(json.dumps({
    "title": "flash-moe", "uid": "flash-moe", "schemaVersion": 39, "refresh": "10s", "time": {"from": "now-1h", "to": "now"},
    "templating": {"list": [{"name": "source", "type": "datasource", "query": "prometheus"}]},
    "panels": [panel(i, *entry) for i, entry in enumerate(PANELS)],
}, indent=1))
