from mbats.local import topology
from mbats.local.topology import Subscription, Topic


def made(monkeypatch, *topics):
    monkeypatch.setattr(topology, "TOPICS", topics)
    return list(topology.requests("fx"))


def test_every_topic_of_the_design_has_a_dead_letter_topic_with_a_subscription():
    made = {path: body for _, path, body in topology.requests("fx")}
    for name in ("ticks", "order-events", "risk-events", "control"):
        assert f"/v1/projects/fx/topics/{name}" in made
        dead = f"{name}-dead-letter"
        assert f"/v1/projects/fx/topics/{dead}" in made
        subscription = made[f"/v1/projects/fx/subscriptions/{dead}"]
        assert subscription["topic"] == f"projects/fx/topics/{dead}"
        assert subscription["expirationPolicy"] == {}


def test_what_a_request_names_was_made_before(monkeypatch):
    ticks = Topic("ticks", avro="{}", subscriptions=(Subscription("archive", ordered=True),))
    requests = made(monkeypatch, ticks)
    paths = [path.split("?schemaId=")[0] for _, path, _ in requests]
    assert paths == [
        "/v1/projects/fx/topics/ticks-dead-letter",
        "/v1/projects/fx/subscriptions/ticks-dead-letter",
        "/v1/projects/fx/schemas",
        "/v1/projects/fx/topics/ticks",
        "/v1/projects/fx/subscriptions/archive",
    ]
    assert requests[3][2]["schemaSettings"]["schema"] == "projects/fx/schemas/ticks"
    archive = requests[4][2]
    assert archive["enableMessageOrdering"] is True
    assert archive["deadLetterPolicy"] == {
        "deadLetterTopic": "projects/fx/topics/ticks-dead-letter",
        "maxDeliveryAttempts": 5,
    }
