"""Language models: token ids in, token ids and their log-probabilities out."""

from agents.models.model import Completion, Model, Request, Sampling

__all__ = ["Completion", "Model", "Request", "Sampling"]
