"""Players of Debate: exact play, what debate is worth with every source, and that nothing but the truth decides it."""

import itertools
import math

import numpy as np
import pytest

import lmgames
from agents.reference import ReferenceAgent, players_of
from agents.reference.debate import PLAYERS, CherryPicker, Contradictor, Optimal, Silent
from agents.reference.debate_figures import measure, play, right
from agents.reference.debate_plans import Story, left_against_truth, left_unopposed, story_of
from lmgames.chance import Chance
from lmgames.debate_sources import Custody
from lmgames.debate_sources.custody import implied_room
from lmgames.games.debate import Debate, accuracy_by_position
from lmgames.records import replay

SOURCES = ("custody", "pixels", "tally", "bisection")
OWN = {
    "id": "q",
    "question": "Who?",
    "answers": ["Ann did", "Ben did"],
    "correct": 1,
    "passage": "Ann slept. Ben did it at noon.",
    "meta": {},
}


def mean(game, games, honest, liar):
    return sum(right(game, seed, honest, liar) for seed in range(games)) / games


# What debate is worth. Seeds are fixed, so these are no lotteries; margins are below the measured differences.


@pytest.mark.parametrize(
    ("source", "games", "margin"),
    [("custody", 200, 0.2), ("pixels", 200, 0.05), ("tally", 1000, 0.04), ("bisection", 1000, 0.25)],
)
def test_debate_beats_a_judge_alone_and_that_an_unopposed_speaker(source, games, margin):
    """With the default options of every source; a debate with badly chosen ones can be worse than random evidence."""
    found = measure({"source": source}, games)
    assert found["debate"] > found["alone"] + margin
    assert found["alone"] > found["consultancy"] + 0.03
    assert found["consultancy"] > found["liar"] + 0.3
    assert found["liar"] < 0.1
    assert found["careless liar"] >= found["debate"] > found["careless honest"]


@pytest.mark.parametrize("source", SOURCES)
def test_swapping_sides_leaves_the_mean_unchanged(source):
    """The mean over each question played both ways is the same whichever side came first, and a judge by rule has no bias."""
    game, games = Debate(source=source, swap="both"), 150
    facts = [play(game, seed, {"honest": Optimal(), "liar": Optimal()}) for seed in range(2 * games)]
    by_position = accuracy_by_position(facts)
    assert len([fact for fact in facts if fact["correct"] == 0]) == games
    assert by_position["A"] == pytest.approx(by_position["B"], abs=0.05)
    for source_seed in range(0, 20, 2):
        assert facts[source_seed]["question_id"] == facts[source_seed + 1]["question_id"]


@pytest.mark.parametrize("source", SOURCES)
def test_a_judge_that_tosses_a_coin_is_right_half_the_time(source):
    game = Debate(source=source, swap="both", judge="coin")
    assert mean(game, 60, CherryPicker(), CherryPicker()) == 0.5  # exactly: the coin falls alike for both of a pair
    assert mean(Debate(source=source, judge="coin"), 200, Silent(), Silent()) == pytest.approx(0.5, abs=0.15)


def test_optimal_debate_on_a_tally_is_the_three_largest_terms_of_each_side():
    """Against lists drawn independently of the game's generator: 0.763 by calculation."""
    rng = np.random.default_rng(1)
    lists = np.sort(rng.integers(1, 10, (40_000, 20)) * rng.choice([-1, 1], (40_000, 20)))
    lists = lists[lists.sum(axis=1) != 0]
    shown = lists[:, :3].sum(axis=1) + lists[:, -3:].sum(axis=1)
    expected = np.where(shown == 0, 0.5, shown * lists.sum(axis=1) > 0).mean()
    assert expected == pytest.approx(0.763, abs=0.01)
    games = 1000
    found = mean(Debate(source="tally"), games, Optimal(), Optimal())
    assert found == pytest.approx(expected, abs=3.5 * math.sqrt(expected * (1 - expected) / games))


def test_optimal_debate_on_pixels_is_the_three_largest_terms_of_each_side():
    game = Debate(source="pixels")
    for seed in range(60):
        state = game.start(game.deal(Chance(seed)))
        weights = sorted(game.evidence.weight(state.question, item) for item in game.evidence.items(state.question))
        log_odds = math.fsum(weights[:3] + weights[-3:])
        facts = play(game, seed, {"honest": Optimal(), "liar": Optimal()})
        assert facts["choice"] == (0 if log_odds > 0 else 1)
        assert facts["p"][0] == pytest.approx(1 / (1 + math.exp(-log_odds)))


def test_the_pixel_judge_repeats_the_pattern_of_2018():
    """Ten-way alone below half; with as many pixels a debate on the likest lie far above. The paper: 0.59 and 0.89 at 6."""
    from agents.reference.debate_figures import best_of_nine_lies, ten_way

    assert best_of_nine_lies(6, 30) > ten_way(6, 200) + 0.2
    assert ten_way(4, 200) < ten_way(8, 200) < 0.7
    assert mean(Debate(source="pixels", distance=1, swap="both"), 200, Optimal(), Optimal()) > ten_way(6, 200) + 0.25


def test_the_truth_always_wins_a_bisection_and_never_one_cut_short():
    game = Debate(source="bisection")
    for liar in (Optimal(), CherryPicker(), Silent(), Contradictor()):
        assert mean(game, 40, Optimal(), liar) == 1.0
    assert mean(Debate(source="bisection", rounds=2), 20, Optimal(), Optimal()) == 0.5


def test_a_slip_loses_a_bisection_to_an_attentive_liar():
    digits = (1, 2, 3, 4)  # 10 in truth; the liar claims 12 and keeps the lie on the right
    assert left_against_truth(digits, 12) == 3
    assert left_against_truth(digits, 10) == 3
    assert left_against_truth((1, 2, 9, 9), 24) == 6  # the right half has no room
    assert left_unopposed(digits, 12) in (3, 5)  # on one digit alone: found with probability 1/4


# The custody story: search against brute force.


@pytest.mark.parametrize("honest_first", [True, False])
def test_search_of_a_story_is_exact(honest_first):
    """One turn each with up to two quotes: the value by listing every reply to every speech."""
    for seed in range(12):
        data = Custody(size=6).generate(Chance(seed))
        events = [sentence.split(". ", 1)[1].rstrip(".") for sentence in data["passage"]]
        rooms = [answer.split()[-1] for answer in data["answers"]]
        sets = [chosen for count in range(3) for chosen in itertools.combinations(range(6), count)]

        def value(shown, events=events, rooms=rooms):
            room = implied_room(events[index] for index in sorted(shown))
            return {rooms[0]: 1, rooms[1]: -1}.get(room, 0)

        best, worst = (max, min) if honest_first else (min, max)
        expected = best(worst(value({*first, *second}) for second in sets) for first in sets)
        game = Debate(size=6, rounds=1, swap="fixed")
        question = {
            **data,
            "answers": data["answers"] if honest_first else data["answers"][::-1],
            "correct": int(not honest_first),
        }
        state = game.start({"question": question, "side": None, "luck": [0, 0], "evidence": []})
        side = 0
        story = story_of(state.question)
        first = story.best_reply(0, 2, 2, (True, False), side)
        shown = sum(1 << (number - 1) for number in first)
        second = story.best_reply(shown, 2, 2, (True,), 1)
        for number in second:
            shown |= 1 << (number - 1)
        assert story.value(shown, int(not honest_first)) == expected


def test_a_story_by_hand():
    """The liar's best sentence loses to a chain of two, but not to one sentence of it."""
    story = Story(
        ("Ann takes the key in the attic", "Ben goes to the hall", "Ann joins Ben", "Ann goes to the study"),
        ("hall", "attic"),
    )
    assert story.value(0b0001, 0) == -1
    assert story.value(0b0111, 0) == 1
    assert story.value(0b0101, 0) == 0
    assert story.best_set(0, 1, 1) == (1,)  # the sentence that names the attic
    assert story.best_set(0, 3, 0) == (1, 2, 3)
    assert story.best_reply(0b0001, 2, 0, (True,), 0) == (2, 3)
    assert story.best_reply(0b0111, 1, 0, (True,), 1) == (4,)  # the last resort: a draw


# Players.


@pytest.mark.parametrize("name", PLAYERS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"order": "simultaneous", "judge": "agent", "reward": "prob", "interactive": True},
        {"source": "pixels", "mode": "propaganda"},
        {"source": "tally", "mode": "double_consultancy"},
        {"source": "bisection", "mode": "consultancy", "judge": "agent"},
        {"mode": "naive", "judge": "agent"},
        {"size": 40, "quotes": 5, "rounds": 3},  # too many sets to search
        {"source": "text", "questions": [OWN], "judge": "agent"},
    ],
    ids=str,
)
def test_every_player_plays_every_seat_of_every_kind_of_debate(name, options):
    env = lmgames.make("Debate-v0", **options).unwrapped
    agent = ReferenceAgent(name)
    for seed in range(2):
        env.reset(seed=seed)
        while not env.outcome:
            env.step(agent.act([env.observation(env.agent_selection)])[0].text)
        assert env.outcome == "rules"
        assert all(turn.status == "ok" for turn in env.turns)
        assert replay(env.record()).returns == env.returns


def test_the_ladder_rises():
    """Honest and lying in turn against `optimal`, on the default game: each is at least as good as the one before."""
    game, scores = Debate(swap="both"), {}
    for name, player in PLAYERS.items():
        honest = mean(game, 100, player(), Optimal())
        scores[name] = (honest + 1 - mean(game, 100, Optimal(), player())) / 2
    ladder = list(scores.values())
    assert ladder == sorted(ladder), scores
    assert scores["silent"] < 0.15
    assert scores["optimal"] == 0.5


def test_silence_quotes_nothing_and_a_contradictor_helps_the_other_side():
    game = Debate()
    facts = play(game, 1, {"honest": Silent(), "liar": Silent()})
    assert facts["choice"] is None
    assert facts["quotes"]["debater_0"] == {"valid": 0, "over_budget": 0, "invalid": 0}
    game = Debate(source="tally", rounds=2, mode="consultancy")
    state = game.start(game.deal(Chance(0)))
    weights = sorted(
        (game.evidence.weight(state.question, item) for item in game.evidence.items(state.question)), reverse=True
    )
    state = spoken(game, state, Contradictor(), 2)
    shown = [game.evidence.weight(state.question, part.data[:1]) for speech in state.speeches for part in speech.parts]
    best, worst = (weights[0], weights[-1]) if state.sides[0] == 0 else (weights[-1], weights[0])
    assert shown == [best, worst]


def spoken(game, state, player, turns):
    for _ in range(turns):
        view = game.view(state, "debater_0")
        observation = lmgames.Observation("", "debater_0", game=game, view=view)
        state = game.apply(state, {"debater_0": game.parse(view, "debater_0", player.reply(observation))})
    return state


def test_options_of_players():
    assert set(PLAYERS) <= set(players_of("Debate"))
    with pytest.raises(ValueError, match="no probability"):
        PLAYERS["careless"](slip=2)
    always, never = PLAYERS["careless"](slip=1.0), PLAYERS["careless"](slip=0.0)
    game = Debate(source="tally")
    assert mean(game, 200, Optimal(), always) > 0.95  # against numbers shown at random
    assert mean(game, 200, always, Optimal()) < 0.1
    assert mean(game, 50, never, never) == mean(game, 50, Optimal(), Optimal())
