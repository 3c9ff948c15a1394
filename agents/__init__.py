"""Who replies: reference players, language models, people; and games between them.

from agents.play import play                    many games at once
from agents.model_agent import ModelAgent       a language model in a seat
from agents.models.hf import HFModel            a transformers model, also one in training
from agents.models.fake import FakeModel        a model without weights, for tests
"""

from agents.agent import Agent, Observation, Reply
from agents.specs import make_agent

__all__ = ["Agent", "Observation", "Reply", "make_agent"]
