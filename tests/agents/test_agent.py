import pytest

from agents.agent import Agent, Observation, Reply


class Echo(Agent):
    """Raises at texts that say so."""

    def __init__(self):  # without super().__init__, as users write it
        self.batches = []

    def act(self, observations):
        self.batches.append(len(observations))
        for observation in observations:
            if "raise" in observation.text:
                raise LookupError(observation.text)
        return [Reply(observation.text.upper()) for observation in observations]


def test_requests_are_answered_in_one_batch_under_their_keys():
    agent = Echo()
    assert agent.poll() == []
    for key, text in ((("a", 1), "x"), ("b", "y")):
        agent.submit(key, Observation(text, "player_0"))
    assert agent.poll() == [(("a", 1), Reply("X")), ("b", Reply("Y"))]
    assert agent.poll() == []
    assert agent.batches == [2]


def test_one_failing_request_does_not_take_its_batch_with_it():
    agent = Echo()
    for text in ("x", "raise 1", "y", "raise 2"):
        agent.submit(text, Observation(text, "player_0"))
    replies = dict(agent.poll())
    assert (replies["x"].text, replies["y"].text) == ("X", "Y")
    assert [(replies[key].finish_reason, str(replies[key].error)) for key in ("raise 1", "raise 2")] == [
        ("error", "raise 1"),
        ("error", "raise 2"),
    ]


def test_too_few_replies_are_an_error():
    class Lazy(Agent):
        def act(self, observations):
            return [Reply("x")] if len(observations) == 1 else []

    agent = Lazy()
    agent.submit(0, Observation("a", "player_0"))
    agent.submit(1, Observation("b", "player_0"))
    assert [reply.text for _, reply in agent.poll()] == ["x", "x"]  # asked again one by one

    class Mute(Agent):
        def act(self, observations):
            return []

    agent = Mute()
    agent.submit(0, Observation("a", "player_0"))
    ((_, reply),) = agent.poll()
    assert "given 1 observations and returned 0 replies" in str(reply.error)


def test_an_agent_must_act():
    with pytest.raises(TypeError, match="act"):
        Agent()
