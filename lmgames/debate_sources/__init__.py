"""Where debates get their questions from: each source with its evidence, its rule judge and its generator.

custody      who took the thing where: short stories, quoted sentence by sentence (the default)
pixels       which digit is it: single pixels of a noisy glyph
tally        is the sum above or below zero: single numbers of a list
bisection    what is the total: two claims, halved until one digit settles them
text         questions of your own about texts, from a JSONL file or a list; no rule judge (quality.py)
"""

from lmgames.debate_sources.bisection import Bisection
from lmgames.debate_sources.custody import Custody
from lmgames.debate_sources.pixels import Pixels
from lmgames.debate_sources.quality import TextQuestions, load_quality
from lmgames.debate_sources.source import DebateState, Part, Question, RevealSource, Ruling, Source, Speech
from lmgames.debate_sources.tally import Tally

__all__ = [
    "Bisection",
    "Custody",
    "DebateState",
    "Part",
    "Pixels",
    "Question",
    "RevealSource",
    "Ruling",
    "Source",
    "Speech",
    "Tally",
    "TextQuestions",
    "load_quality",
]
